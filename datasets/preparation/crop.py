"""What is kept of a case, and what its intensities become: ``crop(volumes, head, "full", description)``.

Box and z-score are those of RFNet's and PASSION's released preprocessing. How a modality is normalised is
part of the description. A CT `window` is nnU-Net's way of CT with the window's limits in place of the study's
percentiles: one unit means the same in all cases, so nothing is taken from the case itself.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Literal, NamedTuple

import numpy as np

from datasets.preparation.head import Head
from datasets.store.voxels import normalised
from datasets.vocabulary import Description, Normalisation, Slices, is_spacing

MIN_EDGE = 128
"""Voxels: a crop of a volume is extended to this where the volume has as many. It is the released one, for
voxels of 1 mm: of a study that is brought to larger ones, to as many as are as long."""

CENTRAL = "central"
"""The rule of the box of 2-D studies: the middle of slices, or what their description says (`Slices`)."""

BoxRule = Literal["full", "released"]
Box = tuple[tuple[int, int], ...]


class Scaling(NamedTuple):
    """What makes intensities alike: clip to [low, high] where they are given, then (value - mean) / std."""

    mean: float
    std: float
    low: float | None = None
    high: float | None = None

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Return the values within the limits, in their type."""
        return values if self.low is None else np.clip(values, self.low, self.high)


class Crop(NamedTuple):
    """What is kept of a case and what it is normalised with.

    Attributes:
        box: (start, end) along each axis of the volumes, in voxels.
        crops: modality -> the part of the volume within the box, clipped.
        scalings: modality -> mean, deviation and limits.
    """

    box: Box
    crops: dict[str, np.ndarray]
    scalings: dict[str, Scaling]

    def normalised(self, modalities: tuple[str, ...]) -> np.ndarray:
        """Return float32 [M, *space] as networks see it; zeros where the case lacks a modality.

        The same numbers as `Store.volumes` gives of a case that was prepared.
        """
        shape = next(iter(self.crops.values())).shape
        volumes = np.zeros((len(modalities), *shape), dtype=np.float32)
        for m, modality in enumerate(modalities):
            if modality in self.crops:
                mean, std = np.array(self.scalings[modality][:2], dtype=np.float32)
                volumes[m] = normalised(self.crops[modality], mean, std)
        return volumes


def box_rule(description: Description, box: BoxRule = "full") -> str:
    """Return the rule of a study's box: what is asked for, but `central` for slices not taken whole."""
    return CENTRAL if description.spatial_dims == 2 and not description.whole else box


def crop(volumes: Mapping[str, np.ndarray], head: Head, rule: str, description: Description) -> Crop:
    """Cut the volumes [X, Y, Z] of a case to their box, and say what normalises them.

    Args:
        volumes: modality -> volume.
        head: of the same volumes.
        rule: of the box, as a store's `preparation` says it: `full`, `released` or `central`; see `box_rule`.
        description: how each modality is normalised.
    """
    central = rule == CENTRAL
    if central:
        box = _box_of_slices(volumes, description.slices or Slices())
    else:
        voxel = float(description.grid) if is_spacing(description.grid) else 1.0
        least = round(MIN_EDGE / max(voxel, 1.0))
        box = crop_box(list(volumes.values()) if head.as_released else [head.tissue], rule, least)
    window = tuple(slice(start, end) for start, end in box)
    crops, scalings = {}, {}
    for modality, volume in volumes.items():
        part = np.ascontiguousarray(volume[window])
        # A 2-D study is normalised by its whole volume, a 3-D one by its crop.
        inside = volume[head.tissue] if central else part[head.tissue[window]]
        scalings[modality] = scaling(inside, description.normalisation(modality))
        crops[modality] = scalings[modality].clipped(part)
    return Crop(box, crops, scalings)


def scaling(inside: np.ndarray, normalisation: Normalisation) -> Scaling:
    """Return what a modality is scaled by, given the intensities of a case's head (ddof of 0)."""
    if normalisation.rule == "none":
        return Scaling(0.0, 1.0)
    if normalisation.rule == "window":
        low, high = normalisation.limits
        return Scaling((low + high) / 2, (high - low) / 2, low, high)
    if normalisation.rule == "zscore":
        return Scaling(*_moments(inside))
    # Of the image's values, so that whole numbers stay whole.
    low, high = np.percentile(inside, normalisation.limits, method="nearest").tolist()
    return Scaling(*_moments(np.clip(inside, low, high)), low, high)


def _moments(inside: np.ndarray) -> tuple[float, float]:
    return float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64))


def crop_box(volumes: list[np.ndarray], rule: str, least: int = MIN_EDGE) -> Box:
    """Return (start, end) of the head along each axis, in voxels.

    From the first to the last index where the maximum over the volumes is not zero (`released`: the last
    excluded), extended on both sides to at least `least` where the volume is large enough: an extension past
    the start moves the end, one past the end is cut.

    Args:
        volumes: each [X, Y, Z], of intensities or of one mask.
        rule: `full` or `released`.
        least: voxels.
    """
    head = reduce(np.maximum, volumes) != 0
    limits = []
    for axis, length in enumerate(head.shape):
        others = tuple(a for a in range(head.ndim) if a != axis)
        indices = np.flatnonzero(head.any(axis=others))
        start, end = int(indices[0]), int(indices[-1])
        if (missing := least - (end - start)) > 0:
            start -= missing // 2
            end += missing // 2 + 1
        elif rule == "full":
            end += 1
        shift = max(-start, 0)
        limits.append((start + shift, min(end + shift, length)))
    return tuple(limits)


def slice_box(shape: tuple[int, ...], edge: int = Slices.edge) -> Box:
    """Return the central part of the slices [X, Y] of a volume [X, Y, slices], or all of a smaller one."""
    return (*(_middle(0, length, edge) for length in shape[:2]), (0, shape[2]))


def _box_of_slices(volumes: Mapping[str, np.ndarray], slices: Slices) -> Box:
    """Return what is kept of a volume: the middle of its slices, or of the box of all that is not 0.

    The latter is of one modality (of the first where the case lacks it) along all three axes, as HGA's.
    """
    first = next(iter(volumes.values()))
    if not slices.box:
        return slice_box(first.shape, slices.edge)
    inside = crop_box([volumes.get(slices.box, first)], "full", 0)
    return tuple(_middle(start, end, slices.edge) for start, end in inside)


def _middle(start: int, end: int, edge: int) -> tuple[int, int]:
    """Return the `edge` voxels in the middle of others, or all of fewer."""
    first = start + max(end - start - edge, 0) // 2
    return first, min(first + edge, end)
