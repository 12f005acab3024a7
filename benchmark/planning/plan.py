"""What is still to be run of a grid, and the disk that it needs: ``plan_grid(grid, Path("runs"), {})``.

Nothing is trained and nothing written. Disk is counted, not measured: the weights, two checkpoints and the
rows of `cases.csv` of each run; the slices kept as examples and the logs are small beside them.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench_errors import InputError
from benchmark.config.grid import Grid
from benchmark.config.grid_file import PhantomOptions
from benchmark.config.run_config import RunConfig, TrainConfig
from benchmark.launch.execute_grid import missing_points, run_folder
from benchmark.launch.stores import check_store_names
from benchmark.planning.work import Shape, Work, work_of
from benchmark.run_folder.folder import STATES, RunFolder
from benchmark.training.build import initial_backbone
from datasets.batches.split import published_cases
from datasets.preparation.expected import expected_store
from datasets.store.store import Store
from datasets.vocabulary import Description, table_subsets

WEIGHT_BYTES = 4
CHECKPOINTS = 2
"""Which a run keeps."""
ROW_BYTES = 60
"""A row of `cases.csv`, about."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that is not done, of a study whose cases are known or expected.

    `points`: the tests of its training that are not done.
    """

    points: tuple[RunConfig, ...]
    folder: RunFolder
    shape: Shape
    work: Work

    @property
    def config(self) -> RunConfig:
        """The first of the points."""
        return self.points[0]


@dataclass(frozen=True)
class Plan:
    """The points of a grid by state, and the bytes that those take that have not begun.

    Attributes:
        states: how many tests of runs there are in each.
        runs: how many there are in all; each is trained once, for all of its tests.
        bytes: of the trainings and tests that have not begun.
        left: the runs that are not done, whose network can be built and of whose dataset something is known.
        expected: dataset without a store -> what is expected of it; None where nothing is known.
        refused: why networks cannot be built -> how many runs have them.
    """

    states: dict[str, int]
    runs: int
    bytes: int
    left: tuple[PlannedRun, ...]
    expected: dict[str, Store | None]
    refused: dict[str, int]


def plan_grid(grid: Grid, runs: Path, stores: dict[str, Path]) -> Plan:
    """Count the runs of a grid and their tests by state, and the disk of what is not there.

    `stores`: store folders by dataset name; others are looked for where `execute_grid` does. Raises
    `InputError` for a store of a dataset that no run uses.
    """
    check_store_names(grid, stores)
    opened = {name: _store(grid, name, runs, stores) for name in grid.datasets}
    expected = {name: _expected(grid, name) for name, store in opened.items() if store is None}
    folders = {config: run_folder(grid, config, runs) for config in grid.configs}
    states = [folder.state(config.test_name) for config, folder in folders.items()]
    refused, left, total = Counter[str](), [], 0
    weights, works = dict[object, int | str](), dict[object, Work]()
    for folder, points in missing_points(grid, runs).items():
        config, description = points[0], grid.datasets[points[0].dataset]
        network = (str(config.backbone), config.dataset, config.train.crop, config.train.init)
        if network not in weights:
            weights[network] = _weights(config, description)
        size = weights[network]
        if isinstance(size, str):
            refused[size] += 1
            continue
        if folder.state() == "absent":
            total += size * WEIGHT_BYTES * _copies(config.train)
        if store := opened[config.dataset] or expected[config.dataset]:
            windows = (config.train.crop, *(point.window for point in points))
            only = config.train.subset
            key = (config.dataset, config.profile, config.split, config.objective.policy, only, windows)
            if key not in works:
                works[key] = work_of(points, store)
            subsets = 1 if only else len(table_subsets(description))
            values = works[key].tested * subsets * len(description.regions)
            names = [(point, point.test_name) for point in points]
            new = [point for point, name in names if name and not folder.test(name).path.exists()]
            total += sum(len(point.test.metrics) for point in new) * values * ROW_BYTES
            left.append(PlannedRun(tuple(points), folder, Shape.of(points, description), works[key]))
    counts = {state: states.count(state) for state in STATES if state in states}
    return Plan(counts, len(set(folders.values())), total, tuple(left), expected, dict(refused))


def _store(grid: Grid, name: str, runs: Path, stores: dict[str, Path]) -> Store | None:
    made = runs / grid.name / "data" / name
    path = stores.get(name) or (made if name in grid.data else Path("data") / name)
    return Store.open(path) if (path / "store.json").exists() else None


def _expected(grid: Grid, name: str) -> Store | None:
    """What a store will be that is not there: a phantom study of the grid, or one with a published split."""
    description = grid.datasets[name]
    if name in grid.data:
        from datasets.phantom.study import case_columns, study_shape, study_size

        options = PhantomOptions.model_validate(grid.data[name])
        shape = study_shape(study_size(str(options.size)), options.layout)
        columns = case_columns(options.cases, options.seed, options.layout)
        return expected_store(description, list(columns), shape, columns)
    published = published_cases(name)
    return expected_store(description, *published) if published else None


def _copies(train: TrainConfig) -> int:
    """How many times a run writes its weights: those tested, and what each checkpoint holds.

    That is those trained, the optimiser's moments, and with `select: best` the best so far.
    """
    moments = {"sgd": 1, "radam": 2}.get(train.optimiser, 2 + train.amsgrad)
    return 1 + CHECKPOINTS * (1 + moments + (train.select == "best"))


def _weights(config: RunConfig, description: Description) -> int | str:
    """How many weights a run's network has, or why it cannot be built or start from `train.init`."""
    try:
        return sum(p.numel() for p in initial_backbone(config, description).parameters())
    except InputError as error:
        return str(error)
