"""Scores of a segmented case: ``rows = score_maps(store, case, segmented, Scoring(POLICIES["passion"]))``."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from nibabel.affines import voxel_sizes

from benchmark.evaluation.device_scores import can_score, score_on_device
from benchmark.evaluation.metrics import Scoring, score_case
from benchmark.evaluation.segment_case import Segmentation
from benchmark.evaluation.surface_distances import nearest
from benchmark.run_folder.case_rows import CaseRow
from datasets.store.store import Store

CPU = torch.device("cpu")
SPACING_DECIMALS = 5
"""Of a voxel's edges in mm: an affine in float32 has no more, and 1 mm under a rotation stays 1 mm."""


def score_maps(
    store: Store,
    case: str,
    segmented: Segmentation,
    scoring: Scoring,
    device: torch.device = CPU,
) -> list[CaseRow]:
    """Score what `segment_case` returned; rows ordered by subset (as in the tables), region and metric.

    Distances are in mm by the case's own affine. `device`: where to compare surfaces. Maps that were left on
    their device are scored there, where all that `scoring` asks for can be.
    """
    description = store.description
    spacing = voxel_sizes(np.array(store.record(case).affine)).round(SPACING_DECIMALS).tolist()
    left = segmented.on_device
    if left is not None and can_score(scoring, description.spatial_dims):
        reference = torch.from_numpy(np.array(store.labels(case))).to(left.device)
        there = score_on_device(left, list(segmented.maps), reference, description.regions, scoring, spacing)
        return _case_rows(case, scoring, there)
    scores = score_case(
        segmented.maps,
        np.asarray(store.labels(case)),
        description.regions,
        scoring,
        spacing=spacing,
        spatial_dims=description.spatial_dims,
        probabilities=segmented.probabilities,
        nearest=None if device.type == "cpu" else partial(nearest, device=device),
    )
    return _case_rows(case, scoring, scores)


def _case_rows(case: str, scoring: Scoring, scores: Sequence[tuple[str, str, str, float]]) -> list[CaseRow]:
    return [
        CaseRow(case, subset, region, metric, scoring.policy.name, value)
        for subset, region, metric, value in scores
    ]


def mean_dice(rows: Sequence[CaseRow]) -> float:
    """Mean Dice over cases, subsets and regions: what `select: best` maximises on the validation cases."""
    return float(np.mean([r.value for r in rows if r.metric == "dice"]))
