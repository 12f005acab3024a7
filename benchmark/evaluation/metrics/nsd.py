"""NSD, normalised surface Dice: the share of both surfaces' areas that is near the other. Higher is better.

Source: Nikolov et al. 2018 (arXiv 1809.04430); equal to `compute_surface_dice_at_tolerance` of DeepMind's
surface-distance. It is of whole masks under every policy.
"""

from benchmark.evaluation.metrics.comparison import Comparison, Metric
from benchmark.evaluation.metrics.policies import MetricPolicy

TOLERANCE_MM = 1.0
"""How far a surface may be from the other and still be right."""
ROUNDING_MM = 1e-6
"""A distance is no further than the tolerance if only rounding makes it so."""


def _score(comparison: Comparison) -> float:
    if comparison.empty:
        return float(comparison.empty == 2)
    near = total = 0.0
    areas = comparison.corners.areas, comparison.reference.corners.areas
    for distance, area in zip(comparison.corner_distances, areas, strict=True):
        near += float(area[distance <= TOLERANCE_MM + ROUNDING_MM].sum())
        total += float(area.sum())
    return near / total


def _rule(policy: MetricPolicy) -> str:
    return (
        f"NSD is the share of the surfaces' area within {TOLERANCE_MM:g} mm of the other surface; 1 where "
        "both masks are empty, 0 where exactly one is"
    )


NSD = Metric("nsd", f"NSD at {TOLERANCE_MM:g} mm", higher_is_better=True, unit="", rule=_rule, score=_score)
