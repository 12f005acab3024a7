"""Foreground ECE, the calibration error: how far probabilities are from shares. Lower is better, no unit.

As HGA reports it (github.com/Jun-Jie-Shi/HGA, `test_ece_softmax`), after Guo et al. 2017 (arXiv 1706.04599):
the voxels are those that the reference has as foreground of any class. Their probabilities of the region fall
into 20 bins of equal width, the upper edge included. The error is the mean over the voxels of
|share of the region - mean probability| in their bin. HGA pools the voxels of all test cases; here each case
has a value, as with every metric, and a case without foreground has none.
"""

import math

import numpy as np

from benchmark.evaluation.metrics.comparison import Comparison, Metric
from benchmark.evaluation.metrics.policies import MetricPolicy

BINS = 20


def _score(comparison: Comparison) -> float:
    confidence, inside = comparison.confidence, comparison.inside
    if confidence is None or inside is None:
        raise ValueError("the calibration error needs probabilities: segment the case with them")
    if not len(inside):
        return math.nan
    bins = np.digitize(confidence, np.linspace(0, 1, BINS + 1), right=True)
    gaps = np.bincount(bins, inside - confidence)[1:]  # a probability of 0 is in no bin
    return float(np.abs(gaps).sum()) / len(inside)


def _rule(policy: MetricPolicy) -> str:
    return (
        f"ECE is the expected calibration error in {BINS} bins over the voxels that the reference has as "
        "foreground; a case without any has none"
    )


ECE = Metric(
    "ece",
    "Foreground ECE",
    higher_is_better=False,
    unit="",
    rule=_rule,
    score=_score,
    of_slices=False,
    of_probabilities=True,
)
