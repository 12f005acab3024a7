"""How long runs take, and how sure that is, from the shapes that were timed.

    rates = rates_of(timed)
    run_seconds(run, rates[run.shape])          # the likely time, the least, the most

A run takes its epochs' steps (whose time grows evenly with the number of modalities) and its tests. Left out
are its start, checkpoints (2 % at most), waiting for data, what degrading images costs before the first step,
and whatever runs beside one another take from each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.planning.plan import Run
from benchmark.planning.probe import Timed, at_edge
from benchmark.planning.work import Shape

TIMED = 1.2
"""What was timed at its own size may take so many times as long, or as short."""
OTHERS = 3.0
"""The same, at least, of what is known from other shapes alone."""

Bounds = NDArray[np.float64]
"""Of a time in seconds: the likely, the least, the most."""


@dataclass(frozen=True)
class Rate:
    """Seconds of a shape at its own size (see `Point`), how many times as long or short, and where from."""

    seconds: tuple[float, ...]
    factor: float
    note: str = ""


def rates_of(timed: Mapping[Shape, Timed]) -> dict[Shape, Rate]:
    """Return what is known of shapes, but for those that cannot run here; some from the others alone."""
    rates, usable = {}, {shape: of.points for shape, of in timed.items() if not of.reason}
    for shape, points in usable.items():
        if points:
            edge, crop = points[-1].edge, shape.config.train.crop
            seconds, factor = at_edge(points, shape, crop)
            rates[shape] = Rate(seconds, TIMED * factor, "" if edge == crop else f" (at {edge} of {crop})")
    if not rates:
        return {}
    speeds = np.log([np.maximum(rate.seconds, 1e-9) / shape.voxels for shape, rate in rates.items()])
    factor = max(OTHERS, float(np.exp(np.ptp(speeds[:, 0]))))
    for shape in usable.keys() - rates.keys():
        seconds = tuple((shape.voxels * np.exp(speeds.mean(axis=0))).tolist())
        rates[shape] = Rate(seconds, factor, " (as others)")
    return rates


def run_seconds(run: Run, rate: Rate) -> Bounds:
    """Return how long what is left of a run takes."""
    config, work = run.config, run.work
    epochs = config.train.epochs - run.folder.epochs()
    seconds = epochs * -(-work.samples // config.train.batch_size) * step_seconds(run, rate)
    seconds += work.tested * case_seconds(run, rate)
    if config.test.select == "best":
        looks = -(-epochs // (config.test.validate_every or 10))
        seconds += looks * work.validation_windows * _window_seconds(run, rate)
    return seconds * np.array([1.0, 1 / rate.factor, rate.factor])


def step_seconds(run: Run, rate: Rate) -> float:
    """Return the mean time of a run's training steps."""
    whole, one = rate.seconds[:2]
    return one + (whole - one) * (run.work.modalities - 1) / max(len(run.shape.description.modalities) - 1, 1)


def case_seconds(run: Run, rate: Rate) -> float:
    """Return the mean time of the test of a case."""
    voxels = run.config.train.crop**run.shape.description.spatial_dims
    tested = run.work.windows * _window_seconds(run, rate) + run.work.voxels / voxels * rate.seconds[3]
    return tested / run.work.tested


def _window_seconds(run: Run, rate: Rate) -> float:
    return rate.seconds[2] * (run.config.window / run.config.train.crop) ** run.shape.description.spatial_dims
