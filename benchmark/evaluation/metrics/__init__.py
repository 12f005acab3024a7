"""How a segmentation is scored: one file a metric, under a named policy for what has no natural value.

    scoring = Scoring(POLICIES["passion"], ("dice", "hd95"))
    rows = score_case({"flair+t2": class_map}, labels, description.regions, scoring, (1.0, 1.0, 1.0))

To add a metric, write a file with its `Metric` and name it in `registry`. Whatever belongs to the reference
alone is computed once for all predictions of a case (`comparison`).
"""

from benchmark.evaluation.metrics.comparison import Metric
from benchmark.evaluation.metrics.policies import POLICIES, MetricPolicy, find_policy, policy_name
from benchmark.evaluation.metrics.registry import METRICS
from benchmark.evaluation.metrics.scoring import DEFAULT_METRICS, Scoring, score_case, score_masks

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "POLICIES",
    "Metric",
    "MetricPolicy",
    "Scoring",
    "find_policy",
    "policy_name",
    "score_case",
    "score_masks",
]
