"""What `bench plan` prints: what is missing of a grid, its disk, its hours and how sure they are.

slots = available_slots("auto", 2, None, None, None)
print_plan(load_grid("demo"), Path("runs"), {}, slots, [1, 8], time.monotonic() + 60)
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from rich.console import Console
from rich.table import Table

from bench_console import output
from bench_errors import InputError
from benchmark.config.grid import Grid
from benchmark.launch.devices import Slot
from benchmark.launch.execute_grid import run_folder
from benchmark.launch.schedule import wall_time
from benchmark.launch.view import duration
from benchmark.launch.worker_command import Job
from benchmark.planning.estimate import Bounds, case_seconds, rates_of, run_seconds, step_seconds
from benchmark.planning.plan import Plan, PlannedRun, plan_grid
from benchmark.planning.probe import Timed, probe, start
from benchmark.planning.work import Shape, labels
from benchmark.training.device import device_text
from benchmark.training.provenance import environment
from datasets.store.store import Store

NOTES = (
    "on noise, one process at a time; (at 48 of 80): at crops of 48 voxels, and taken to grow with the "
    "voxels; (as others): not timed, and taken to be as fast for its size. More --probe-seconds make it "
    "surer. The bounds know nothing of a machine that is busier later, of runs that slow each other down, of "
    "waiting for data, or of the seconds that a process takes to start."
)


def print_plan(
    grid: Grid,
    runs: Path,
    stores: dict[str, Path],
    slots: Sequence[Slot],
    numbers: Sequence[int],
    end: float | None,
) -> None:
    """Print the plan of a grid on standard output, having timed what it needs to know.

    Args:
        grid: the grid.
        runs: where its folder is or will be.
        stores: as in `plan_grid`.
        slots: places for runs on this machine; times are those of the first.
        numbers: of such places, whose wall times are compared.
        end: when timing has to end, by `time.monotonic`; None: nothing is timed.
    """
    console = output()
    if end:
        start(slots[0])
    plan = plan_grid(grid, runs, stores)
    _print_counts(grid, plan, console)
    if not (end and plan.left):
        return
    shapes = list(dict.fromkeys(run.shape for run in plan.left))
    timed = probe(shapes, slots[0], end - time.monotonic())
    if lengths := _print_hours(plan.left, timed, slots[0], console):
        _print_wall_times(grid, runs, lengths, slots[0], numbers, console)


def parse_numbers(text: str, option: str = "--gpus") -> list[int]:
    """Read ``1,8,64``; raise `InputError` for anything else."""
    numbers = [part.strip() for part in text.split(",")]
    if not all(n.isascii() and n.isdigit() and int(n) for n in numbers):
        raise InputError(f"{option} {text}: expected how many, each at least 1, such as 8 or 1,8,64")
    return list(dict.fromkeys(map(int, numbers)))


def _print_counts(grid: Grid, plan: Plan, console: Console) -> None:
    tests = sum(plan.states.values())
    table = Table("state", "tests" if tests > plan.runs else "runs")
    for state, count in plan.states.items():
        table.add_row(state, str(count))
    console.print(table)
    size = f"{plan.bytes / 1e9:.2f} GB" if plan.bytes >= 1e8 else f"{plan.bytes / 1e6:.1f} MB"
    several = f" with {tests} tests" if tests > plan.runs else ""
    console.print(f"{plan.runs} runs{several} of grid {grid.name}; what has not begun takes {size} of disk")
    for name, store in plan.expected.items():
        console.print(f"no store of {name} yet: {_assumed(store)}")
    for reason, count in plan.refused.items():
        console.print(f"{count} runs are in no figure, they cannot run: {reason}")


def _assumed(store: Store | None) -> str:
    if store is None:
        return "its runs are in no figure of rows or times, as nothing is known of its cases"
    shape = "x".join(map(str, next(iter(store.records.values())).shape))
    return f"counted with {len(store.cases)} cases of {shape} voxels"


def _print_hours(
    runs: Sequence[PlannedRun], timed: Mapping[Shape, Timed], slot: Slot, console: Console
) -> dict[PlannedRun, Bounds]:
    """Print how long the runs of each shape take, and all; return how long each does, where that is known."""
    rates, names = rates_of(timed), labels(list(timed))
    alike = defaultdict[Shape, list[PlannedRun]](list)
    for run in runs:
        alike[run.shape].append(run)
    unit = "GPU-hours" if slot.device == "cuda" else "CPU-hours"
    table = Table("runs of", "runs", "a step", "test of a case", "memory", unit, "likely")
    lengths: dict[PlannedRun, Bounds] = {}
    for shape, group in alike.items():
        if not (rate := rates.get(shape)):
            reason = timed[shape].reason
            why = f"cannot run here: {reason}" if reason else "nothing was timed: give more --probe-seconds"
            console.print(f"{names[shape]}: {len(group)} runs are in no figure of time, {why}")
            continue
        lengths |= {run: run_seconds(run, rate) for run in group}
        step, case = (mean(f(run, rate) for run in group) for f in (step_seconds, case_seconds))
        peak = "" if rate.note else f"{timed[shape].points[-1].peak_bytes / 2**30:.1f} GiB"
        hours = _hours([lengths[run] for run in group], slot)
        table.add_row(
            names[shape], str(len(group)), f"{step:.3g} s{rate.note}", f"{case:.3g} s", peak, *hours
        )
    if lengths:
        console.print(table)
        likely, bounds = _hours(list(lengths.values()), slot)
        console.print(f"{likely} {unit} for {len(lengths)} runs, likely {bounds}")
    return lengths


def _print_wall_times(
    grid: Grid,
    runs: Path,
    lengths: Mapping[PlannedRun, Bounds],
    slot: Slot,
    numbers: Sequence[int],
    console: Console,
) -> None:
    """Print when the runs would be done in so many slots."""
    threads = f"{slot.threads} thread{'s' * (slot.threads > 1)}"
    table = Table("GPUs" if slot.device == "cuda" else f"workers of {threads}", "wall time", "likely")
    needs = {run: tuple(run_folder(grid, need, runs) for need in run.config.needs) for run in lengths}
    jobs = [
        [Job(run.folder, Path(), 0, 0, needs[run], float(times[bound])) for run, times in lengths.items()]
        for bound in range(3)
    ]
    for number in numbers:
        likely, least, most = (duration(wall_time(of, number)) for of in jobs)
        table.add_row(str(number), likely, f"{least} to {most}")
    console.print(table)
    here = environment(device_text(slot.device), slot.threads, "")
    machine = here["cpu" if slot.device == "cpu" else "device"]
    console.print(f"Timed on this machine ({machine}, {threads}), {NOTES}")


def _hours(lengths: Sequence[Bounds], slot: Slot) -> tuple[str, str]:
    """Return the hours of a GPU, or of all threads of a CPU, and their bounds."""
    hours = np.sum(lengths, axis=0) * (1 if slot.device == "cuda" else slot.threads) / 3600
    likely, least, most = (f"{value:,.0f}" if value >= 10 else f"{value:.2g}" for value in hours)
    return likely, f"{least} to {most}"
