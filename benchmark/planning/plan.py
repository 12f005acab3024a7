"""What is still to be run of a grid, and the disk that it needs: ``plan_grid(grid, Path("runs"), {})``.

Nothing is trained and nothing written, apart from measured times in the user's cache folder. Disk is
counted, not measured: the weights, two checkpoints and the rows of `cases.csv` of each run; the slices kept
as examples and the logs are small beside them. Times are those of `benchmark.planning.estimate`.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench_errors import InputError
from benchmark.config.grid import Grid, PhantomOptions
from benchmark.config.run_config import RunConfig
from benchmark.launch.execute_grid import run_folder
from benchmark.launch.stores import check_store_names
from benchmark.run_folder.folder import STATES
from benchmark.training.build import build_backbone
from benchmark.training.inputs import run_split
from datasets.batches.split import published_cases
from datasets.preparation.expected import expected_store
from datasets.store.store import Store
from datasets.vocabulary import Description, table_subsets

WEIGHT_BYTES = 4
COPIES = 9
"""Of the weights: those tested, and in each of two checkpoints those trained and AdamW's three moments
(amsgrad)."""
BEST_COPIES = 2
"""More of them with `select: best`: in each checkpoint the best so far."""
ROW_BYTES = 60
"""A row of `cases.csv`, about."""
METRICS = 2


@dataclass(frozen=True)
class Plan:
    """The runs of a grid by state, and the bytes that those take that have not begun.

    Attributes:
        states: how many runs there are in each.
        bytes: of the absent runs.
        left: the runs that are not done and whose network can be built.
        stores: dataset -> its store, or what is expected of it; None where nothing is known.
        expected: datasets that have no store yet.
        refused: why networks cannot be built -> how many runs have them.
    """

    states: dict[str, int]
    bytes: int
    left: tuple[RunConfig, ...]
    stores: dict[str, Store | None]
    expected: tuple[str, ...]
    refused: dict[str, int]


def plan_grid(grid: Grid, runs: Path, stores: dict[str, Path]) -> Plan:
    """Count the runs of a grid by state and the disk of those that are not there.

    `stores`: store folders by dataset name; others are looked for where `execute_grid` does. Raises
    `InputError` for a store of a dataset that no run uses.
    """
    check_store_names(grid, stores)
    opened = {name: _store(grid, name, runs, stores) for name in grid.datasets}
    expected = tuple(name for name, store in opened.items() if store is None)
    known = {name: store or _expected(grid, name) for name, store in opened.items()}
    states = [run_folder(grid, config, runs).state() for config in grid.configs]
    weights: dict[tuple[str, str, int], int | str] = {}
    left, refused, total = [], Counter[str](), 0
    for config, state in zip(grid.configs, states, strict=True):
        if state == "done":
            continue
        network = (str(config.backbone), config.dataset, config.train.crop)
        if network not in weights:
            weights[network] = _weights(config, grid.datasets[config.dataset])
        size = weights[network]
        if isinstance(size, str):
            refused[size] += 1
            continue
        left.append(config)
        if state == "absent":
            best = BEST_COPIES if config.train.select == "best" else 0
            total += size * WEIGHT_BYTES * (COPIES + best) + _row_bytes(config, known[config.dataset])
    counts = {name: states.count(name) for name in STATES if name in states}
    return Plan(counts, total, tuple(left), known, expected, dict(refused))


def _store(grid: Grid, name: str, runs: Path, stores: dict[str, Path]) -> Store | None:
    made = runs / grid.name / "data" / name
    path = stores.get(name) or (made if name in grid.data else Path("data") / name)
    return Store.open(path) if (path / "store.json").exists() else None


def _expected(grid: Grid, name: str) -> Store | None:
    """What a store will be that is not there: a phantom study of the grid, or one with a published split."""
    description = grid.datasets[name]
    if name in grid.data:
        from datasets.phantom.study import case_names, study_shape, study_size

        options = PhantomOptions.model_validate(grid.data[name])
        shape = study_shape(study_size(str(options.size)), options.layout)
        return expected_store(description, case_names(options.cases, options.layout), shape)
    published = published_cases(name)
    return expected_store(description, *published) if published else None


def _weights(config: RunConfig, description: Description) -> int | str:
    """How many weights a run's network has, or why it cannot be built."""
    try:
        return sum(p.numel() for p in build_backbone(config, description).parameters())
    except InputError as error:
        return str(error)


def _row_bytes(config: RunConfig, store: Store | None) -> int:
    if store is None:
        return 0
    subsets, regions = len(table_subsets(store.description)), len(store.description.regions)
    return len(run_split(config, store).test) * subsets * regions * METRICS * ROW_BYTES
