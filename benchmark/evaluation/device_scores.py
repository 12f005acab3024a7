"""Dice and HD95 of all predictions of a case, worked out on the device that has made them.

    if can_score(scoring, spatial_dims):
        rows = score_on_device(maps, names, reference, regions, scoring, spacing)

The numbers are those of `metrics.score_case`. Of each region the host asks how large masks and surfaces
are and what the distances come to; no map is carried to it.
"""

from collections.abc import Sequence
from math import floor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.evaluation.metrics import Scoring
from benchmark.evaluation.metrics.dice import EPSILON
from benchmark.evaluation.metrics.hd95 import PERCENT
from benchmark.evaluation.surface_distances import nearest_on_device
from datasets.vocabulary import Region

METRICS = ("dice", "hd95")


def can_score(scoring: Scoring, spatial_dims: int) -> bool:
    """Whether all that `scoring` asks for can be had here: Dice and HD95 of whole masks of volumes."""
    volumes = spatial_dims == 3 or scoring.slices == "per-volume"
    return volumes and scoring.policy.lesions is None and set(scoring.metrics) <= set(METRICS)


def score_on_device(
    maps: Tensor,
    names: Sequence[str],
    reference: Tensor,
    regions: Sequence[Region],
    scoring: Scoring,
    spacing: Sequence[float],
) -> list[tuple[str, str, str, float]]:
    """Score the predictions of a case.

    Args:
        maps: class indices, uint8 [S, *space].
        names: of the S predictions.
        reference: class indices, uint8 [*space], on the same device.
        regions: what to score; a predicted region with fewer voxels than its `min_voxels` is emptied before.
        scoring: one that `can_score` says yes to.
        spacing: mm per axis.

    Returns rows (name, region, metric, value), in the order of predictions, regions and metrics.
    """
    worst = scoring.policy.one_empty
    if worst == "diagonal":
        worst = float(np.linalg.norm(np.multiply(reference.shape, spacing)))
    compared: dict[tuple[int, ...], _Compared] = {}
    for region in regions:
        if region.classes not in compared:
            compared[region.classes] = _compare(maps, reference, region.classes, scoring, spacing)
    rows = []
    for s, name in enumerate(names):
        for region in regions:
            found = compared[region.classes]
            value = found.values(s, region.min_voxels, worst)
            rows += [(name, region.name, metric, value[metric]) for metric in scoring.metrics]
    return rows


class _Compared:
    """The predictions of some classes beside the reference: voxels, and HD95 where neither is empty."""

    def __init__(self, size: int, sizes: list[int], overlaps: list[int], hd95: list[float]):
        self.size, self.sizes, self.overlaps, self.hd95 = size, sizes, overlaps, hd95

    def values(self, s: int, min_voxels: int, worst: float) -> dict[str, float]:
        """Return prediction `s`'s values by metric; `worst`: HD95 where one of both is empty."""
        kept = self.sizes[s] >= min_voxels
        size, overlap = (self.sizes[s], self.overlaps[s]) if kept else (0, 0)
        distance = self.hd95[s] if size and self.size else worst if size or self.size else 0.0
        return {"dice": (2 * overlap + EPSILON) / (size + self.size + EPSILON), "hd95": distance}


def _compare(
    maps: Tensor, reference: Tensor, classes: tuple[int, ...], scoring: Scoring, spacing: Sequence[float]
) -> _Compared:
    masks = torch.stack([reference, *maps])
    masks = torch.stack([masks == c for c in classes]).any(dim=0)
    counted = torch.cat([masks, masks[1:] & masks[0]]).flatten(1).sum(dim=1).tolist()
    sizes, overlaps = counted[: len(masks)], counted[len(masks) :]
    hd95 = [0.0] * len(maps)
    if "hd95" in scoring.metrics and sizes[0]:
        surfaces = _surfaces(masks, spacing)
        none = surfaces[0].new_zeros(())
        found = [_hd95(surfaces[0], surface) if len(surface) else none for surface in surfaces[1:]]
        hd95 = torch.stack(found).tolist()
    return _Compared(sizes[0], sizes[1:], overlaps, hd95)


def _surfaces(masks: Tensor, spacing: Sequence[float]) -> list[Tensor]:
    """Return the points in mm, float64 [P, dims], of each mask's `metrics.surfaces.voxel_surface`."""
    dims = masks.dim() - 1
    padded, inner = F.pad(masks, (1, 1) * dims), masks.clone()
    for axis in range(1, dims + 1):
        for start in (0, 2):
            beside = padded.narrow(axis, start, masks.shape[axis])
            for other in range(1, dims + 1):
                if other != axis:
                    beside = beside.narrow(other, 1, masks.shape[other])
            inner &= beside
    places = (masks & ~inner).nonzero()
    number = torch.bincount(places[:, 0], minlength=len(masks)).tolist()
    mm = torch.tensor(spacing, dtype=torch.float64, device=masks.device)
    return list(((places[:, 1:] + 1) * mm).split(number))


def _hd95(reference: Tensor, surface: Tensor) -> Tensor:
    """Return the 95th percentile of the pooled distances of two sets of points, as numpy interpolates."""
    distances = nearest_on_device(surface, reference).sort().values
    place = (len(distances) - 1) * (PERCENT / 100)
    below = floor(place)
    low, high = distances[below], distances[min(below + 1, len(distances) - 1)]
    share = place - below
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
