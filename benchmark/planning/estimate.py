"""How long runs take, and how sure that is, from the shapes that were timed.

    rates = rates_of(timed)
    run_seconds(run, rates[run.shape])          # the likely time, the least, the most

A run takes its epochs' steps (whose time grows evenly with the number of modalities) and its tests. Left out
are its start, checkpoints (2 % at most), waiting for data, what degrading images costs before the first step,
and whatever runs beside one another take from each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from bench_edges import Edges, space_of
from benchmark.planning.plan import PlannedRun
from benchmark.planning.probe import Timed, at_crop
from benchmark.planning.work import Shape

TIMED = 1.2
"""What was timed at its own size may take so many times as long, or as short."""
OTHERS = 3.0
"""The same, at least, of what is known from other shapes alone."""

Bounds = NDArray[np.float64]
"""Of a time in seconds: the likely, the least, the most."""


@dataclass(frozen=True)
class Rate:
    """Seconds of a shape at its own size (as in `Point`), how many times as long or short, and where from."""

    seconds: NDArray[np.float64]
    factor: float
    note: str = ""


def rates_of(timed: Mapping[Shape, Timed]) -> dict[Shape, Rate]:
    """Return what is known of shapes, but for those that cannot run here; some from the others alone."""
    rates, usable = {}, {shape: of.points for shape, of in timed.items() if not of.reason}
    for shape, points in usable.items():
        if points:
            timed_at, crop = points[-1].crop, shape.config.train.crop
            seconds, factor = at_crop(points, shape, crop)
            note = "" if timed_at == crop else f" (at {_text(timed_at)} of {_text(crop)})"
            rates[shape] = Rate(seconds, TIMED * factor, note)
    if not rates:
        return {}
    speeds = [np.log(np.maximum(rate.seconds, 1e-9) / shape.voxels) for shape, rate in rates.items()]
    factor = max(OTHERS, float(np.exp(np.ptp([speed[0, 0] for speed in speeds]))))
    step = np.mean([speed[0] for speed in speeds], axis=0)
    test = np.concatenate([speed[1:] for speed in speeds]).mean(axis=0)
    for shape in usable.keys() - rates.keys():
        seconds = shape.voxels * np.exp([step, *[test] * len(shape.points)])
        rates[shape] = Rate(seconds, factor, " (as others)")
    return rates


def run_seconds(run: PlannedRun, rate: Rate) -> Bounds:
    """Return how long what is left of a run takes."""
    config, work = run.config, run.work
    epochs = config.train.epochs - run.folder.epochs()
    seconds = epochs * config.train.steps(work.samples) * step_seconds(run, rate)
    if config.test_name:
        seconds += work.tested * len(run.points) * case_seconds(run, rate)
    if config.train.looks_every:
        looks = -(-epochs // config.train.looks_every)
        seconds += looks * work.validation_windows * rate.seconds[1:, 0].min()
    return seconds * np.array([1.0, 1 / rate.factor, rate.factor])


def step_seconds(run: PlannedRun, rate: Rate) -> float:
    """Return the mean time of a run's training steps."""
    whole, one = rate.seconds[0].tolist()
    others = max(len(run.shape.description.modalities) - 1, 1)
    return float(one + (whole - one) * (run.work.modalities - 1) / others)


def case_seconds(run: PlannedRun, rate: Rate) -> float:
    """Return the mean time of a test of a case."""
    dims = run.shape.description.spatial_dims
    windows = np.array([prod(space_of(point.window, dims)) for point in run.points])
    voxels = prod(space_of(run.config.train.crop, dims))
    crops, volumes = np.array(run.work.windows) * windows / voxels, run.work.voxels / voxels
    tests = crops * rate.seconds[1:, 0] + volumes * rate.seconds[1:, 1]
    return float(tests.mean() / run.work.tested)


def _text(crop: Edges) -> str:
    return str(crop) if isinstance(crop, int) else "x".join(map(str, crop))
