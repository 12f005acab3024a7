"""What each method gains over its baseline: ``gains(scores)``, one `Gain` per method that has one.

The primary endpoint of a study is fixed before it is run: the first metric's mean of the regions over all
subsets of modalities, a region that is another one's post-processed twin left out. It alone has p-values,
corrected by Holm over the methods and networks of the study, and these from `LEAST` trainings a side on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.report.data.effects import Effect, difference, holm
from benchmark.report.data.names import network_title
from benchmark.report.data.runs import Run
from benchmark.report.data.scores import Scores
from benchmark.report.tables.rows import references


@dataclass(frozen=True)
class Gain:
    """What a method gains over its baseline.

    Attributes:
        network: title of the network.
        method: title of the method.
        reference: title of the baseline.
        effect: its columns are the primary endpoint, then the same by the number of modalities: one to all.
        p: of the primary endpoint, corrected over the study; nan where it is not tested.
    """

    network: str
    method: str
    reference: str
    effect: Effect
    p: float

    @property
    def label(self) -> str:
        """The method without its network, such as ``PASSION (tau=2)``."""
        return self.method.removeprefix(self.network).strip().removeprefix("+ ")

    def value(self, column: int = 0) -> tuple[float, float, float]:
        """The gain of a column and the ends of its interval."""
        effect = self.effect
        return float(effect.mean[column]), float(effect.low[column]), float(effect.high[column])


def gains(scores: Scores) -> list[Gain]:
    """Return the gains of the study's methods over their baselines, in the order of the tables."""
    trainings = scores.trainings(np.concatenate([scores.endpoint, scores.of_numbers(scores.plain)]))
    against = references(scores.study.runs)
    effects = {
        method: difference(trainings[method], trainings[against[method]])
        for method in scores.study.methods
        if method in against
    }
    corrected = holm(np.array([effect.p[0] for effect in effects.values()]))
    return [
        Gain(network_of(scores.study.first_run(method)), method, against[method], effect, float(p))
        for (method, effect), p in zip(effects.items(), corrected, strict=True)
    ]


def network_of(run: Run) -> str:
    """Return the title of a run's network."""
    return network_title(run.config["backbone"]["name"])


def listed(names: Sequence[str]) -> str:
    """``WT, TC and ET``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
