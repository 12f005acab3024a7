"""False positives: how many lesions of a case are invented. Lower is better, a number per case.

Connected components of the prediction (26-neighbourhood) that have no voxel in the reference, or under a
policy with rules for lesions none in the growth of a lesion: `Num_FP` of BraTS 2023.
"""

from benchmark.evaluation.metrics.comparison import Comparison, Metric
from benchmark.evaluation.metrics.policies import MetricPolicy


def _score(comparison: Comparison) -> float:
    return float(comparison.matches.invented)


def _rule(policy: MetricPolicy) -> str:
    near = f"within {policy.lesions.dilation} voxels of" if policy.lesions else "in"
    return (
        f"false positives are the components of the prediction that have no voxel {near} the reference: 0 "
        "where nothing is predicted, all of them where the reference is empty"
    )


FALSE_POSITIVES = Metric(
    "false_positives",
    "False positives",
    higher_is_better=False,
    unit="per case",
    rule=_rule,
    score=_score,
    of_slices=False,
)
