"""What `bench plan` prints: what is missing of a grid, its disk and its hours.

print_plan(load_grid("demo"), Path("runs"), {}, available_slots("auto", 2, None, None, None), [1, 8, 64])
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench_errors import InputError
from benchmark.config.grid import Grid
from benchmark.launch.devices import Slot
from benchmark.planning.plan import plan_grid
from benchmark.planning.times import plan_times, print_times
from datasets.store.store import Store


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


def _assumed(store: Store | None) -> str:
    if store is None:
        return "its runs are in no figure of rows or times, as nothing is known of its cases"
    shape = "x".join(map(str, next(iter(store.records.values())).shape))
    return f"counted with {len(store.cases)} cases of {shape} voxels"
