"""How long runs take, and how sure that is, from the shapes that were timed.

    rates = rates_of(timed)                                         # Rate of each shape
    run_seconds(config, (step, test), work, epochs, rates)          # Seconds

A run takes its epochs' steps (whose time grows evenly with the number of modalities) and its tests. Left out
are checkpoints (2 % at most), waiting for data, what degrading images costs before the first step, and
whatever runs beside one another take from each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from statistics import mean

from benchmark.config.run_config import RunConfig
from benchmark.planning.probe import Timed, extrapolated
from benchmark.planning.work import Shape, Work

OTHERS = 3.0
"""How far off, at least, the time may be of what is known from other shapes alone."""


@dataclass(frozen=True)
class Seconds:
    """A time, and the bounds between which it is likely to be."""

    middle: float
    low: float
    high: float

    @classmethod
    def around(cls, middle: float, factor: float = 1.0) -> "Seconds":
        """Return a time that may be `factor` times as short or as long."""
        return cls(middle, middle / factor, middle * factor)

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.middle + other.middle, self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class Rate:
    """Seconds of a shape at its own size (see `Point`), how far off they may be, and where they are from."""

    seconds: tuple[float, float]
    factor: float
    note: str = ""


def rates_of(timed: Mapping[Shape, Timed]) -> dict[Shape, Rate]:
    """Return the rates of all shapes of which something is known, but for those that cannot run here."""
    rates = {}
    for shape, of in timed.items():
        if of.points and not of.reason:
            last = of.points[-1]
            seconds, factor = extrapolated(of.points, shape, shape.edge)
            note = "" if last.edge == shape.edge else f"at {last.edge} of {shape.edge}"
            both = (seconds, last.seconds[1] * seconds / last.seconds[0])
            rates[shape] = Rate(both, factor * last.factor, note)
    others = {
        s: _like_others(s, rates) for s, of in timed.items() if rates and not of.points and not of.reason
    }
    return rates | others


def _like_others(shape: Shape, rates: Mapping[Shape, Rate]) -> Rate:
    """Take a shape to be as fast for its size as others are, of its kind where there are such."""
    others = {other: rate for other, rate in rates.items() if other.kind == shape.kind} or rates
    speeds = [log(rate.seconds[0] / other.size) for other, rate in others.items()]
    seconds = shape.size * exp(mean(speeds))
    share = 1 / len(shape.description.modalities) if shape.kind == "step" else 0.0
    return Rate((seconds, share * seconds), max(OTHERS, exp(max(speeds) - min(speeds))), "as others")


def run_seconds(
    config: RunConfig, shapes: tuple[Shape, Shape], work: Work, epochs: int, rates: Mapping[Shape, Rate]
) -> Seconds:
    """Return how long so many epochs and the tests of a run take, whose shapes both have a rate."""
    step, test = (rates[shape] for shape in shapes)
    steps = epochs * -(-work.samples // config.train.batch_size)
    tested = test_seconds(test, shapes[1], work.windows, work.voxels)
    if config.test.select == "best":
        looks = -(-epochs // (config.test.validate_every or 10))
        tested += looks * work.validation_windows * test.seconds[0]
    trained = steps * step_seconds(step, shapes[0], work)
    return Seconds.around(trained, step.factor) + Seconds.around(tested, test.factor)


def step_seconds(rate: Rate, shape: Shape, work: Work) -> float:
    """Return the mean time of a run's steps, whose samples have `work.modalities` on average."""
    whole, one = rate.seconds
    return one + (whole - one) * (work.modalities - 1) / max(len(shape.description.modalities) - 1, 1)


def test_seconds(rate: Rate, shape: Shape, windows: int, voxels: int) -> float:
    """Return how long the network takes for so many windows, and the metrics for so many voxels."""
    network, metrics = rate.seconds
    return network * windows + metrics * voxels / shape.edge**shape.description.spatial_dims
