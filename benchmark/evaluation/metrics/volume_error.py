"""Volume error: by how much a predicted region is too large or too small. Lower is better, in mL.

It is absolute, as errors of both signs would cancel in a mean, and in mL, as a share of an empty reference
has no value. Empty masks need no rule: where exactly one is, the error is the volume of the other.
"""

from benchmark.evaluation.metrics.comparison import Comparison, Metric
from benchmark.evaluation.metrics.policies import MetricPolicy

MM3_PER_ML = 1000.0


def _score(comparison: Comparison) -> float:
    reference = comparison.reference
    return abs(comparison.size - reference.size) * reference.voxel_volume / MM3_PER_ML


def _rule(policy: MetricPolicy) -> str:
    return "volume error is the absolute difference of the volumes, 0 where both masks are empty"


VOLUME_ERROR = Metric(
    "volume_error",
    "Volume error",
    higher_is_better=False,
    unit="mL",
    rule=_rule,
    score=_score,
    of_slices=False,
)
