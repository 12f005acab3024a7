"""HD95: how far the surfaces of prediction and reference are apart, the worst twentieth left out. Lower is
better, in mm.

Distances of both directions are pooled before the 95th percentile is taken (linear interpolation), as in
MedPy and in PASSION's released code. Under a policy with rules for lesions it is that of BraTS 2023, the mean
over lesions of DeepMind's: surfaces between voxels, percentiles by area, the larger of both directions.
"""

import numpy as np

from benchmark.evaluation.metrics.comparison import Comparison, Metric, mean_over_lesions
from benchmark.evaluation.metrics.policies import MetricPolicy
from benchmark.evaluation.metrics.surfaces import Array, distances

PERCENT = 95


def _score(comparison: Comparison) -> float:
    worst = comparison.reference.worst_distance
    if comparison.policy.lesions:
        return mean_over_lesions(comparison, lambda i: _of_lesion(comparison, i), penalty=worst, without=0.0)
    if comparison.empty:
        return 0.0 if comparison.empty == 2 else worst
    return float(np.percentile(np.concatenate(comparison.voxel_distances), PERCENT))


def _of_lesion(comparison: Comparison, lesion: int) -> float:
    touching = np.isin(comparison.corner_components, comparison.matches.touching[lesion])
    surfaces = comparison.corners.part(touching), comparison.reference.lesion_corners[lesion]
    both = distances(*surfaces, comparison.reference.nearest)
    return max(_percentile(d, surface.areas) for d, surface in zip(both, surfaces, strict=True))


def _percentile(values: Array, areas: Array) -> float:
    """Return the distance that `PERCENT` of the area do not exceed."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(areas[order]) / areas.sum()
    return float(values[order][min(int(np.searchsorted(shares, PERCENT / 100)), len(values) - 1)])


def _rule(policy: MetricPolicy) -> str:
    if policy.lesions:
        return (
            "HD95 is the mean over the same lesions of the larger of the 95th percentiles, by area, of the "
            f"surface distances in both directions, with {policy.worst} for each lesion missed and each "
            "component invented; 0 where there is neither"
        )
    return (
        "HD95 is the 95th percentile of the pooled surface distances of both directions; 0 where both masks "
        f"are empty, {policy.worst} where exactly one is"
    )


HD95 = Metric("hd95", "HD95", higher_is_better=False, unit="mm", rule=_rule, score=_score)
