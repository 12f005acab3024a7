"""The published augmentation, as tensor operations on whatever device holds the sample.

    change = draw(generator(seed, "augment", epoch, case), modalities=4, space=(80, 80, 80))
    volumes, target = apply(change, volumes, target)

A rotation by a whole number of degrees in one random plane (nearest neighbour), a linear change of intensity,
a flip on each axis. The rotation takes the voxels that ``scipy.ndimage.rotate(..., order=0)`` takes; rotation
and flips are one gather.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MAX_DEGREES = 10
FLIP = 0.5
CPU = torch.device("cpu")
OUTSIDE = -1.0
"""What the image shows where the rotation looks past its edge; the label shows background."""


@dataclass(frozen=True)
class Change:
    """What is done to one sample.

    Attributes:
        plane: the two spatial axes, ascending, that the rotation mixes.
        degrees: its angle.
        scale: float32 [M, 1, 1, 1], or [M, D, 1, 1] along the first axis; what a modality is multiplied with.
        shift: the same for what is added.
        flips: per spatial axis, whether it is reversed.
    """

    plane: tuple[int, int]
    degrees: int
    scale: Tensor
    shift: Tensor
    flips: tuple[bool, ...]


def draw(
    random: np.random.Generator,
    modalities: int,
    space: Sequence[int],
    spatial_dims: int = 3,
    along_first_axis: bool = False,
) -> Change:
    """Draw a sample's change.

    Args:
        random: where the draws come from.
        modalities: number of modalities M.
        space: the sample's three edges in voxels.
        spatial_dims: 2 leaves the third axis as it is: rotation and flips are in the plane of the slice.
        along_first_axis: draw the intensity change for each modality and position on the first axis, as the
            released code does, instead of for each modality: for each slice of a volume, each row of a slice.
    """
    planes = [(0, 1), (1, 2), (0, 2)] if spatial_dims == 3 else [(0, 1)]
    plane = planes[random.integers(len(planes))]
    degrees = int(random.integers(-MAX_DEGREES, MAX_DEGREES))
    flips = random.random(3) < FLIP
    flips[spatial_dims:] = False
    positions = space[0] if along_first_axis else 1
    scale = random.uniform(0.9, 1.1, size=(modalities, positions, 1, 1))
    shift = random.uniform(-0.1, 0.1, size=(modalities, positions, 1, 1))
    return Change(
        plane,
        degrees,
        torch.from_numpy(scale.astype(np.float32)),
        torch.from_numpy(shift.astype(np.float32)),
        tuple(flips.tolist()),
    )


def apply(
    change: Change, volumes: Tensor, target: Tensor, available: Sequence[bool] | None = None
) -> tuple[Tensor, Tensor]:
    """Rotate and flip `volumes` [M, *space] and `target` [*space] alike, and change the intensities.

    `available`: per modality; those that are not are left as they are (default: all are there).
    Returns new tensors of the same shapes, dtypes and device.
    """
    space = tuple(target.shape)
    source, outside = sources(space, change.plane, change.degrees, change.flips, target.device)
    moved = target.flatten().index_select(0, source).masked_fill_(outside, 0).view(space)
    result = volumes.clone()
    scale, shift = (each.to(volumes.device, non_blocking=True) for each in (change.scale, change.shift))
    for m, there in enumerate(available or [True] * len(volumes)):
        if there:
            channel = volumes[m].flatten().index_select(0, source).masked_fill_(outside, OUTSIDE).view(space)
            # Drawn along an axis, the intensity change comes before or after the flip alike.
            result[m] = channel.mul_(scale[m]).add_(shift[m])
    return result, moved


def sources(
    space: tuple[int, ...],
    plane: tuple[int, int],
    degrees: int,
    flips: Sequence[bool],
    device: torch.device = CPU,
) -> tuple[Tensor, Tensor]:
    """Where each voxel comes from when a volume is rotated about its centre and then flipped.

    Only what a plane needs is sent to `device`. Returns flat indices, int64 [D*H*W], and bool [D*H*W], True
    where the place lies outside the volume (the index is then 0).
    """
    first, second = (space[axis] for axis in plane)
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = (np.array([first, second]) - 1) / 2
    offset = centre - matrix @ centre
    rows, columns = np.arange(first)[:, None], np.arange(second)[None, :]
    places = [offset[i] + matrix[i, 0] * rows + matrix[i, 1] * columns for i in (0, 1)]
    inside = np.ones((first, second), dtype=bool)
    for place, edge in zip(places, (first, second), strict=True):
        inside &= (place >= 0) & (place <= edge - 1)
    nearest = [np.where(inside, np.floor(place + 0.5), 0).astype(np.int64) for place in places]

    strides = (space[1] * space[2], space[2], 1)
    (third,) = set(range(3)) - set(plane)
    reversed_axes = tuple(i for i in (0, 1) if flips[plane[i]])

    def sent(part: np.ndarray) -> Tensor:
        return torch.from_numpy(part.copy()).to(device, non_blocking=True)

    across = nearest[0] * strides[plane[0]] + nearest[1] * strides[plane[1]]
    turned, outside = (
        sent(np.expand_dims(np.flip(part, reversed_axes), third)) for part in (across, ~inside)
    )
    along = np.arange(space[third])[:: -1 if flips[third] else 1] * strides[third]
    return (turned + sent(np.expand_dims(along, plane))).flatten(), outside.expand(space).flatten()
