"""What is still to be run of a grid, how long it takes and the disk that it needs: `print_plan`.

    print_plan(load_grid("demo"), Path("runs"), {}, available_slots("auto", 2, None, None, None), [1, 8, 64])

Nothing is trained and nothing written, apart from measured times in the user's cache folder. Disk is
counted, not measured: the weights, two checkpoints and the rows of `cases.csv` of each run; the slices kept
as examples and the logs are small beside them. Times are those of `benchmark.estimate`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench_errors import InputError
from benchmark.build import build_backbone
from benchmark.conditions import run_split
from benchmark.config import RunConfig
from benchmark.execute import check_store_names, run_folder
from benchmark.grid import Grid, PhantomOptions
from benchmark.launch.slots import Slot
from benchmark.record import STATES
from datasets.expected import expected_store
from datasets.split import published_cases
from datasets.store import Store
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
            best = BEST_COPIES if config.test.select == "best" else 0
            total += size * WEIGHT_BYTES * (COPIES + best) + _row_bytes(config, known[config.dataset])
    counts = {name: states.count(name) for name in STATES if name in states}
    return Plan(counts, total, tuple(left), known, expected, dict(refused))


def print_plan(
    grid: Grid,
    runs: Path,
    stores: dict[str, Path],
    slots: Sequence[Slot],
    numbers: Sequence[int],
    steps: int | None,
) -> None:
    """Print the plan of a grid on standard output, having timed what it needs to know.

    Args:
        grid: the grid.
        runs: where its folder is or will be.
        stores: as in `plan_grid`.
        slots: places for runs on this machine; times are those of the first.
        numbers: of such places, whose wall times are compared.
        steps: how many training steps to time of each setting; None: only what was timed before is used.
    """
    from benchmark.plan_times import plan_times, print_times

    plan = plan_grid(grid, runs, stores)
    console = Console(width=None if Console().is_terminal else 200)
    table = Table("state", "runs")
    for state, count in plan.states.items():
        table.add_row(state, str(count))
    console.print(table)
    size = f"{plan.bytes / 1e9:.2f} GB" if plan.bytes >= 1e8 else f"{plan.bytes / 1e6:.1f} MB"
    console.print(f"{len(grid.configs)} runs of grid {grid.name}; those that are absent take {size}")
    for name in plan.expected:
        console.print(f"no store of {name} yet: {_assumed(plan.stores[name])}", soft_wrap=True)
    for reason, count in plan.refused.items():
        console.print(f"{count} runs are in no figure, they cannot run: {reason}", soft_wrap=True)
    if plan.left:
        print_times(plan_times(grid, runs, plan, slots[0], steps), slots[0], numbers, console)


def parse_numbers(text: str) -> list[int]:
    """Read ``1,8,64``; raise `InputError` for anything else."""
    numbers = [part.strip() for part in text.split(",")]
    if not all(n.isascii() and n.isdigit() and int(n) for n in numbers):
        raise InputError(f"--gpus {text}: expected how many, each at least 1, such as 8 or 1,8,64")
    return list(dict.fromkeys(map(int, numbers)))


def _store(grid: Grid, name: str, runs: Path, stores: dict[str, Path]) -> Store | None:
    made = runs / grid.name / "data" / name
    path = stores.get(name) or (made if name in grid.data else Path("data") / name)
    return Store.open(path) if (path / "store.json").exists() else None


def _expected(grid: Grid, name: str) -> Store | None:
    """What a store will be that is not there: a phantom study of the grid, or one with a published split."""
    description = grid.datasets[name]
    if name in grid.data:
        from benchmark.studies import study_size
        from datasets.phantom import case_names, study_shape

        options = PhantomOptions.model_validate(grid.data[name])
        shape = study_shape(study_size(str(options.size)), options.layout)
        return expected_store(description, case_names(options.cases, options.layout), shape)
    published = published_cases(name)
    return expected_store(description, *published) if published else None


def _assumed(store: Store | None) -> str:
    if store is None:
        return "its runs are in no figure of rows or times, as nothing is known of its cases"
    shape = "x".join(map(str, next(iter(store.records.values())).shape))
    return f"counted with {len(store.cases)} cases of {shape} voxels"


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
