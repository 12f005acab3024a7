"""Dice: the share of prediction and reference that they have in common. Higher is better, no unit.

Source: L. R. Dice, Ecology 1945; 1e-8 above and below as in PASSION's released code. Under a policy with
rules for lesions it is the mean over lesions of BraTS 2023, without these.
"""

from benchmark.evaluation.metrics.comparison import Comparison, Metric, mean_over_lesions
from benchmark.evaluation.metrics.policies import MetricPolicy

EPSILON = 1e-8


def _score(comparison: Comparison) -> float:
    """2 |P and R| / (|P| + |R|)."""
    if comparison.policy.lesions:
        return mean_over_lesions(comparison, lambda i: _of_lesion(comparison, i), penalty=0.0, without=1.0)
    return (2 * comparison.overlap + EPSILON) / (comparison.size + comparison.reference.size + EPSILON)


def _of_lesion(comparison: Comparison, lesion: int) -> float:
    matches = comparison.matches
    sizes = comparison.reference.lesions.sizes[lesion] + matches.sizes[matches.touching[lesion] - 1].sum()
    return 2 * float(matches.overlaps[lesion]) / float(sizes)


def _rule(policy: MetricPolicy) -> str:
    if rules := policy.lesions:
        return (
            f"Dice is the mean over the lesions of more than {rules.min_volume:g} mm³ (parts whose growths "
            f"by {rules.dilation} voxels touch are one) with 0 for each lesion missed and each component "
            "invented; 1 where there is neither"
        )
    return "Dice is 1 where both masks are empty, 0 where exactly one is"


DICE = Metric("dice", "Dice", higher_is_better=True, unit="", rule=_rule, score=_score)
