"""What is still to be run of a grid, and the disk that it takes: ``print_plan(grid, Path("runs"), {})``.

Nothing is trained and nothing written. Disk is counted, not measured: the weights, a checkpoint and the rows
of `cases.csv` of each run; the slices kept as examples and the logs are small beside them.
"""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.build import build_backbone
from benchmark.conditions import run_split
from benchmark.config import RunConfig
from benchmark.execute import check_store_names, run_folder
from benchmark.grid import Grid
from benchmark.record import STATES
from datasets.store import Store
from datasets.vocabulary import Description, table_subsets

WEIGHT_BYTES = 4
COPIES = 5
"""Of the weights: those tested, and in the checkpoint those trained and AdamW's three moments (amsgrad)."""
ROW_BYTES = 60
"""A row of `cases.csv`, about."""
METRICS = 2


@dataclass(frozen=True)
class Plan:
    """The runs of a grid by state, and the bytes that those take that have not begun.

    `without_store`: datasets whose store is not there, so that the rows of their test cases are not counted.
    """

    states: dict[str, int]
    bytes: int
    without_store: tuple[str, ...]


def plan_grid(grid: Grid, runs: Path, stores: dict[str, Path]) -> Plan:
    """Count the runs of a grid by state and the disk of those that are not there.

    `stores`: store folders by dataset name; others are looked for where `execute_grid` does. Raises
    `InputError` for a network that cannot be built, and a store of a dataset that no run uses.
    """
    check_store_names(grid, stores)
    opened = {name: _store(grid, name, runs, stores) for name in grid.datasets}
    states = [run_folder(grid, config, runs).state() for config in grid.configs]
    weights: dict[tuple[str, str, int], int] = {}
    total = 0
    for config, state in zip(grid.configs, states, strict=True):
        if state != "absent":
            continue
        network = (str(config.backbone), config.dataset, config.train.crop)
        if network not in weights:
            weights[network] = _weights(config, grid.datasets[config.dataset])
        best = config.test.select == "best"
        total += weights[network] * WEIGHT_BYTES * (COPIES + best)
        if store := opened[config.dataset]:
            description = store.description
            subsets, regions = len(table_subsets(description)), len(description.regions)
            total += len(run_split(config, store).test) * subsets * regions * METRICS * ROW_BYTES
    return Plan(
        {name: states.count(name) for name in STATES if name in states},
        total,
        tuple(name for name, store in opened.items() if store is None),
    )


def print_plan(grid: Grid, runs: Path, stores: dict[str, Path]) -> None:
    """Print the plan of a grid on standard output."""
    plan = plan_grid(grid, runs, stores)
    console = Console(width=None if Console().is_terminal else 200)
    table = Table("state", "runs")
    for state, count in plan.states.items():
        table.add_row(state, str(count))
    console.print(table)
    size = f"{plan.bytes / 1e9:.2f} GB" if plan.bytes >= 1e8 else f"{plan.bytes / 1e6:.1f} MB"
    console.print(f"{len(grid.configs)} runs of grid {grid.name}; those that are absent take {size}")
    for name in plan.without_store:
        console.print(f"no store of {name} yet: the scores of its test cases are not in this figure")


def _store(grid: Grid, name: str, runs: Path, stores: dict[str, Path]) -> Store | None:
    made = runs / grid.name / "data" / name
    path = stores.get(name) or (made if name in grid.data else Path("data") / name)
    return Store.open(path) if (path / "store.json").exists() else None


def _weights(config: RunConfig, description: Description) -> int:
    return sum(p.numel() for p in build_backbone(config, description).parameters())
