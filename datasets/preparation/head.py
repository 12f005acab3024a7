"""Which voxels of a case are the head, and which are background.

    head = find_head(volumes, description, mask)
    outside = head.outside["flair"]

Images as scanners and skull-strippers make them are 0 outside the head. There the head is where the sum of
the modalities is positive, as in RFNet's and PASSION's released preprocessing. Images that were normalised
before, or moved by a constant, have another background; then the head is where any of them differs from it.
A mask of the study's goes before both. Where a study's volumes are taken whole, all voxels are head.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from datasets.preparation.nifti import turned
from datasets.vocabulary import Description

NEGATIVE = 0.1
"""Share of the voxels besides the background below 0 that tells a normalised image; resampling leaves far
less."""


@dataclass(frozen=True)
class Head:
    """The head of a case.

    Attributes:
        tissue: bool [X, Y, Z], the voxels that statistics are over.
        as_released: whether the box is that of all voxels that are not 0, rather than of `tissue`.
        told: modality -> the intensity of the background; None where neither description nor image tells.
        outside: modality -> the intensity outside the head, the lowest there is where it is not told.
        negative: modality -> share below 0 of the voxels that are not background, or are in the mask.
    """

    tissue: np.ndarray
    as_released: bool
    told: dict[str, float | None]
    outside: dict[str, float]
    negative: dict[str, float]

    def turned(self, held: str, wanted: str) -> "Head":
        """Return it for volumes that are turned as `nifti.turned` does."""
        return replace(self, tissue=turned(self.tissue, held, wanted))


def find_head(
    volumes: Mapping[str, np.ndarray], description: Description, mask: np.ndarray | None = None
) -> Head:
    """Tell head from background.

    Args:
        volumes: modality -> [X, Y, Z] of a case.
        description: what is said of the background, and whether slices are treated by themselves.
        mask: bool [X, Y, Z], the head as the study's mask says; None: it has none.
    """
    if description.whole:
        everywhere = np.ones(next(iter(volumes.values())).shape, dtype=bool)
        lowest = {m: float(v.min()) for m, v in volumes.items()}
        return Head(everywhere, False, dict(lowest), lowest, dict.fromkeys(volumes, 0.0))
    given, axes = description.background, description.spatial_dims
    told = {m: face_value(v, axes) if given is None else given for m, v in volumes.items()}
    inside = {m: _besides(v, told[m]) if mask is None else mask for m, v in volumes.items()}
    negative = {m: _share_below_0(v, inside[m]) for m, v in volumes.items()}
    if mask is None and all(not told[m] and negative[m] <= NEGATIVE for m in volumes):
        outside = dict.fromkeys(volumes, 0.0)
        return Head(reduce(np.add, volumes.values()) > 0, True, told, outside, negative)
    telling = [inside[m] for m in volumes if told[m] is not None] or list(inside.values())
    outside = {
        m: value if value is not None else float(volumes[m][inside[m]].min()) for m, value in told.items()
    }
    return Head(reduce(np.logical_or, telling), False, told, outside, negative)


def face_value(volume: np.ndarray, axes: int = 3) -> float | None:
    """Return the value that more than half of the voxels at the faces of a volume have; None without one.

    `axes`: how many of the axes of [X, Y, Z] have faces; 2 for slices that are treated by themselves.
    """
    faces = np.concatenate([np.moveaxis(volume, axis, 0)[[0, -1]].ravel() for axis in range(axes)])
    middle = np.median(faces)  # which is that value if there is one
    return float(middle) if np.count_nonzero(faces == middle) > faces.size / 2 else None


def masked(volume: np.ndarray, head: Head, modality: str) -> np.ndarray:
    """Return a volume with its background everywhere outside the head."""
    return np.where(head.tissue, volume, volume.dtype.type(head.outside[modality]))


def _besides(volume: np.ndarray, value: float | None) -> np.ndarray:
    return np.ones(volume.shape, dtype=bool) if value is None else volume != value


def _share_below_0(volume: np.ndarray, inside: np.ndarray) -> float:
    return np.count_nonzero((volume < 0) & inside) / max(int(np.count_nonzero(inside)), 1)
