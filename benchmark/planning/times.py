"""How long what is left of a grid takes on so many GPUs: the part of `bench plan` that measures.

times = plan_times(grid, Path("runs"), plan_grid(grid, Path("runs"), {}), Slot("cuda", 8), steps=20)
print_times(times, Slot("cuda", 8), [1, 8, 64], console)
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmark.config.grid import Grid
from benchmark.config.run_config import RunConfig
from benchmark.launch.devices import Slot
from benchmark.launch.execute_grid import run_folder
from benchmark.launch.schedule import wall_time
from benchmark.launch.view import duration
from benchmark.launch.worker import Job
from benchmark.planning.estimate import Duration, Estimator
from benchmark.planning.plan import Plan
from benchmark.speed.bench import device_name
from benchmark.speed.measured import Setting, cache_folder, machine
from benchmark.training.inputs import run_split
from datasets.store.store import Store

NAMES = ("dataset", "backbone.name", "objective.name")
Settings = tuple[Setting, Setting]
"""Of a run: that of its steps, and that of its test."""


@dataclass(frozen=True)
class Timed:
    """A run, how long it takes, the mean of its steps and the test of a case in seconds, and its memory."""

    job: Job
    duration: Duration
    step: float
    case: float
    peak_bytes: int


@dataclass(frozen=True)
class Times:
    """How long runs take.

    Attributes:
        timed: label of a setting -> its runs.
        unknown: label of a setting -> how many runs of it are in no figure, and why.
    """

    timed: dict[str, list[Timed]]
    unknown: dict[str, tuple[int, str]]

    @property
    def runs(self) -> list[Timed]:
        """All runs that were timed."""
        return [run for runs in self.timed.values() for run in runs]

    @property
    def total(self) -> Duration:
        """The sum of all runs, taken to err to the same side."""
        return _sum(self.runs)

    def wall_time(self, slots: int) -> Duration:
        """How long they take in so many places, and half the width between all shorter and all longer."""
        low, middle, high = (
            wall_time(
                [replace(r.job, work=r.duration.seconds + side * r.duration.error) for r in self.runs], slots
            )
            for side in (-1, 0, 1)
        )
        return Duration(middle, (high - low) / 2)


def plan_times(grid: Grid, runs: Path, plan: Plan, slot: Slot, steps: int | None) -> Times:
    """Find out how long the runs take that are left, timing what is not known unless `steps` is None."""
    estimator = Estimator(slot)
    left: dict[RunConfig, Store] = {c: s for c in plan.left if (s := plan.stores[c.dataset])}
    settings = {config: estimator.settings(config, store) for config, store in left.items()}
    labels = _labels(list(settings.values()))
    failed: dict[Setting, str] = {}
    if steps is not None:
        names = {setting: label for both, label in labels.items() for setting in reversed(both)}
        with _progress(names) as each:
            failed = estimator.measure(list(left.items()), steps, each)
    timed, unknown = defaultdict[str, list[Timed]](list), dict[str, tuple[int, str]]()
    for config, store in left.items():
        label = labels[settings[config]]
        if found := _timed(grid, runs, config, store, estimator):
            timed[label].append(found)
        else:
            reasons = [failed[setting] for setting in settings[config] if setting in failed]
            reason = f"cannot run here: {reasons[0]}" if reasons else "not timed yet, leave out --no-probe"
            unknown[label] = (unknown.get(label, (0, ""))[0] + 1, reason)
    return Times(dict(timed), unknown)


def print_times(times: Times, slot: Slot, numbers: Sequence[int], console: Console) -> None:
    """Print how long each setting's runs take, their sum, and the wall times for `numbers` of slots."""
    on_gpus = slot.device == "cuda"
    unit = "GPU-hours" if on_gpus else "CPU-hours"
    threads = f"{slot.threads} thread{'s' * (slot.threads > 1)}"

    def hours(duration: Duration) -> str:
        value = duration.seconds * (1 if on_gpus else slot.threads) / 3600
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

    if times.timed:
        table = Table("setting", "runs", "a step", "test of a case", "memory", unit)
        for label, runs in times.timed.items():
            total = _sum(runs)
            step = sum(run.step for run in runs) / len(runs)
            gib = max(run.peak_bytes for run in runs) / 2**30
            figures = (f"{step:.3g} s", f"{runs[0].case:.3g} s", f"{gib:.1f} GiB")
            table.add_row(label, str(len(runs)), *figures, f"{hours(total)} ± {_percent(total)}")
        console.print(table)
    for label, (count, reason) in times.unknown.items():
        text = f"{label}: {count} runs are in no figure of time, {reason}"
        console.print(text, soft_wrap=True, markup=False)
    if not times.timed:
        return
    total = times.total
    console.print(f"{hours(total)} {unit} ± {_percent(total)} for {len(times.runs)} runs")
    place = "GPUs" if on_gpus else f"workers of {threads}"
    table = Table(place, "wall time", "at work")
    for number in numbers:
        wall = times.wall_time(number)
        busy = f"{100 * total.seconds / wall.seconds / number:.0f} %"
        table.add_row(str(number), f"{duration(wall.seconds)} ± {_percent(wall)}", busy)
    console.print(table)
    name = machine(slot)["cpu"] if slot.device == "cpu" else device_name(slot.device)
    console.print(
        f"Timed on this machine ({name}, {threads}), one process at a time, on noise of the study's size; "
        f"kept in {cache_folder()}. ± is the 95 % interval from the spread of the timed steps, all runs "
        "erring to the same side: it knows nothing of a machine that is busier later, nor of runs that slow "
        "each other down. Also left out: checkpoints (at most 2 %). Warm-up epochs count as any other, and "
        "the longest runs start first.",
        soft_wrap=True,
        markup=False,
    )


def _timed(grid: Grid, runs: Path, config: RunConfig, store: Store, estimator: Estimator) -> Timed | None:
    folder = run_folder(grid, config, runs)
    epochs = config.train.epochs - folder.epochs()
    found, timed = estimator.duration(config, store, epochs), estimator.timed(config, store)
    if found is None or timed is None:
        return None
    steps, case = timed
    teacher = run_folder(grid, config.teacher, runs) if config.teacher else None
    tests = len(run_split(config, store).test)
    return Timed(
        Job(folder, store.path, epochs, tests, teacher, found.seconds),
        found,
        estimator.step_seconds(config, store),
        estimator.case_seconds(config, store),
        max(steps.peak_bytes, case.peak_bytes),
    )


def _labels(settings: Sequence[Settings]) -> dict[Settings, str]:
    """Name settings by dataset, backbone and objective, and by what else tells those of one name apart."""
    facts = {both: {**_flat(both[1]), **_flat(both[0])} for both in dict.fromkeys(settings)}
    names = {both: " ".join(known[key] for key in NAMES) for both, known in facts.items()}
    labels = {}
    for both, known in facts.items():
        alike = [facts[other] for other in facts if names[other] == names[both]]
        varying = [key for key in sorted(known) if any(other.get(key) != known[key] for other in alike)]
        more = ", ".join(f"{key} {known[key]}" for key in varying)
        labels[both] = f"{names[both]} ({more})" if more else names[both]
    return labels


def _flat(setting: Setting) -> dict[str, str]:
    flat: dict[str, Any] = {}
    for key, value in json.loads(setting.facts).items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return {key: str(value) for key, value in flat.items()}


@contextmanager
def _progress(labels: dict[Setting, str]) -> Iterator[Callable[[int, int, Setting], None]]:
    """Show what is being timed: a bar on a terminal, else a line for each."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("probe", total=None)

        def each(done: int, count: int, setting: Setting) -> None:
            text = f"timing the {'steps' if setting.kind == 'steps' else 'test'} of {labels[setting]}"
            bar.update(task, completed=done, total=count, description=text)
            if not console.is_terminal:
                console.print(f"{done + 1} of {count}: {text}", soft_wrap=True, markup=False)

        yield each


def _sum(runs: Sequence[Timed]) -> Duration:
    return Duration(sum(run.duration.seconds for run in runs), sum(run.duration.error for run in runs))


def _percent(duration: Duration) -> str:
    return f"{100 * duration.error / duration.seconds:.2g} %"
