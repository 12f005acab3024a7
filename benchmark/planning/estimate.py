"""How long runs take, from what was timed here of the settings that they share: `Estimator`.

    estimator = Estimator(Slot("cuda", 8))
    failed = estimator.measure([(config, store), ...], steps=20)
    estimator.duration(config, store, epochs=300)          # seconds and their error, None where not timed

A run takes: its start, its epochs' samples at the mean time of a step with so many modalities, and its test
cases, by their windows and voxels. Left out are checkpoints (2 % at most), what degrading images costs before
the first step, and whatever runs beside one another take from each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, prod, sqrt
from pathlib import Path
from statistics import mean
from typing import Any

from benchmark.config.run_config import RunConfig
from benchmark.evaluation.sliding_window import count_windows, window_starts
from benchmark.launch.devices import Slot
from benchmark.run_folder.folder import RunFolder
from benchmark.speed.measured import Case, Measured, Setting, Steps, case_setting, step_setting
from benchmark.training.inputs import Inputs
from datasets.store.store import Store

STEPS = 20
"""Timed steps of a setting by default; with fewer, the test case is cut to the same share of its windows."""
LEAST = 2
"""Of each number of modalities: one step says nothing of how much steps differ."""
ERROR_LEVEL = 0.95


@dataclass(frozen=True)
class Duration:
    """Seconds, and half the width of their 95 % interval."""

    seconds: float
    error: float


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
        samples: number of modalities -> with so many training sees how many samples of an epoch, on average.
        train_shape: of the median training case, [X, Y, Z] in voxels.
        test_shape: of the median test case.
        windows, voxels: of all test cases together.
        validation_windows: of all validation cases together.
    """

    samples: dict[int, float]
    train_shape: tuple[int, ...]
    test_shape: tuple[int, ...]
    windows: int
    voxels: int
    validation_windows: int


class Estimator:
    """Estimates for one kind of place for runs; see the module."""

    def __init__(self, slot: Slot):
        self._measured = Measured(slot)
        self._work: dict[Any, Work] = {}

    def work(self, config: RunConfig, store: Store) -> Work:
        """Return what a run on a store (perhaps an expected one) has to do."""
        key = (
            store.path,
            config.dataset,
            config.profile,
            config.split,
            config.objective.policy,
            config.window,
        )
        if key not in self._work:
            self._work[key] = _work(config, store)
        return self._work[key]

    def settings(self, config: RunConfig, store: Store) -> tuple[Setting, Setting]:
        """Return the settings of a run's steps and of its test."""
        work = self.work(config, store)
        return (
            step_setting(config, store.description, work.train_shape),
            case_setting(config, store.description, work.test_shape),
        )

    def timed(self, config: RunConfig, store: Store) -> tuple[Steps, Case] | None:
        """Return what was timed of a run's settings; None where some of it is lacking."""
        step, case = self.settings(config, store)
        steps, tested = self._measured.steps(step), self._measured.case(case)
        if (
            steps is None
            or tested is None
            or not steps.seconds.keys() >= self.work(config, store).samples.keys()
        ):
            return None
        return steps, tested

    def duration(self, config: RunConfig, store: Store, epochs: int) -> Duration | None:
        """Return how long so many epochs and the test of a run take; None where not all was timed.

        The error of a mean step is the standard error from the spread of the timed ones, relative to the mean
        of the same number of modalities; that of the one timed test case is taken to be that of one step.
        """
        timed = self.timed(config, store)
        if timed is None:
            return None
        steps, case = timed
        work = self.work(config, store)
        spread, factor = _spread(steps)
        trained, variance = 0.0, 0.0
        for count, samples in work.samples.items():
            seconds = steps.seconds[count]
            part = epochs * samples / config.train.batch_size * mean(seconds)
            trained += part
            variance += (part * spread) ** 2 / len(seconds)
        tested = case.seconds(work.windows, work.voxels)
        if config.train.select == "best":
            looks = -(-epochs // (config.train.validate_every or 10))
            tested += looks * case.segment * work.validation_windows / case.windows
        variance += (tested * spread) ** 2
        return Duration(steps.start + trained + tested, factor * sqrt(variance))

    def step_seconds(self, config: RunConfig, store: Store) -> float:
        """Return the mean time of a step of a run that was timed."""
        timed, samples = self.timed(config, store), self.work(config, store).samples
        assert timed is not None
        return sum(n * mean(timed[0].seconds[k]) for k, n in samples.items()) / sum(samples.values())

    def case_seconds(self, config: RunConfig, store: Store) -> float:
        """Return the time of the test of the median case of a run that was timed."""
        timed, shape = self.timed(config, store), self.work(config, store).test_shape
        assert timed is not None
        windows = count_windows(shape, config.window, store.description.spatial_dims)
        return timed[1].seconds(windows, prod(shape))

    def measure(
        self,
        runs: Sequence[tuple[RunConfig, Store]],
        steps: int = STEPS,
        each: Callable[[int, int, Setting], object] = lambda done, count, setting: None,
    ) -> dict[Setting, str]:
        """Time what is lacking of the runs' settings; return those that could not be, with the reason.

        Args:
            runs: each with its store.
            steps: how many to time of each setting, shared out over the numbers of modalities that occur.
            each: called before each measurement, with how many there have been, how many there are, and what
                is next.
        """
        counts: dict[Setting, set[int]] = {}
        cases: list[Setting] = []
        for config, store in runs:
            step, case = self.settings(config, store)
            counts.setdefault(step, set()).update(self.work(config, store).samples)
            cases += [case] * (case not in cases)
        lacking = {step: self._lacking(step, wanted, steps) for step, wanted in counts.items()}
        shapes = {case: cut_shape(case, min(1.0, steps / STEPS)) for case in cases}
        to_do = [s for s in lacking if lacking[s]] + [c for c in cases if self._is_short(c, shapes[c])]
        failed = {}
        for done, setting in enumerate(to_do):
            each(done, len(to_do), setting)
            reason = (
                self._measured.time_steps(setting, lacking[setting])
                if setting.kind == "steps"
                else self._measured.time_case(setting, shapes[setting])
            )
            if reason:
                failed[setting] = reason
        return failed

    def _lacking(self, setting: Setting, counts: set[int], steps: int) -> dict[int, int]:
        """Number of modalities -> how many steps to time, where not as many are known."""
        known = self._measured.steps(setting)
        wanted = max(LEAST, round(steps / len(counts)))
        return {k: wanted for k in counts if known is None or len(known.seconds.get(k, ())) < wanted}

    def _is_short(self, setting: Setting, shape: tuple[int, ...]) -> bool:
        known = self._measured.case(setting)
        window, dims = setting.config.window, setting.description.spatial_dims
        return known is None or known.windows < count_windows(shape, window, dims)


def cut_shape(setting: Setting, share: float) -> tuple[int, ...]:
    """Return the shape [X, Y, Z] of a part of a test case with that share of its windows, at least one."""
    dims, window = setting.description.spatial_dims, setting.config.window
    windows = [window] * dims + [1] * (3 - dims)
    strides = [window // 2] * dims + [1] * (3 - dims)
    whole = [len(window_starts(max(n, w), w)) for n, w in zip(setting.shape, windows, strict=True)]
    counts = list(whole)
    while prod(counts) > max(1, share * prod(whole)):
        counts[counts.index(max(counts))] -= 1
    edges = zip(setting.shape, windows, strides, counts, strict=True)
    return tuple(min(n, w + (count - 1) * stride) for n, w, stride, count in edges)


def _work(config: RunConfig, store: Store) -> Work:
    inputs, dims = Inputs.of(config, store), store.description.spatial_dims
    parts, table = inputs.split, inputs.table
    samples: dict[int, float] = {}
    for case, row in zip(table.cases, table.table, strict=True):
        units = 1 if dims == 3 else store.record(case).shape[-1]
        there = len(row) if config.objective.policy == "pdt" else int(row.sum())
        shares = {there: 1.0}
        if config.objective.policy == "idt_drop":  # every subset of what is there but the empty one
            shares = {k: comb(there, k) / (2**there - 1) for k in range(1, there + 1)}
        for count, share in shares.items():
            samples[count] = samples.get(count, 0.0) + share * units
    shapes = {case: store.record(case).shape for case in store.cases}

    def windows(shape: tuple[int, ...]) -> int:
        return count_windows(shape, config.window, dims)

    return Work(
        samples,
        _median([shapes[case] for case in parts.train], prod),
        _median([shapes[case] for case in parts.test], windows),
        sum(windows(shapes[case]) for case in parts.test),
        sum(prod(shapes[case]) for case in parts.test),
        sum(windows(shapes[case]) for case in parts.val),
    )


def _median(shapes: list[tuple[int, ...]], size: Callable[[tuple[int, ...]], int]) -> tuple[int, ...]:
    return sorted(shapes, key=size)[(len(shapes) - 1) // 2]


def _spread(steps: Steps) -> tuple[float, float]:
    """Relative standard deviation of steps of equal modalities, and the factor of its interval."""
    from scipy.stats import t

    freedom = sum(len(seconds) - 1 for seconds in steps.seconds.values())
    squares = sum((s / mean(seconds) - 1) ** 2 for seconds in steps.seconds.values() for s in seconds)
    return sqrt(squares / freedom), float(t.ppf((1 + ERROR_LEVEL) / 2, freedom))


def run_seconds(
    folders: dict[RunConfig, RunFolder], stores: dict[str, Path], slot: Slot
) -> dict[RunConfig, float]:
    """How long each run takes in `slot`, by what `bench plan` has timed; empty unless all of it is known."""
    estimator = Estimator(slot)
    opened = {name: Store.open(path) for name, path in stores.items()}
    seconds = {}
    for config, folder in folders.items():
        found = estimator.duration(config, opened[config.dataset], config.train.epochs - folder.epochs())
        if found is None:
            return {}
        seconds[config] = found.seconds
    return seconds
