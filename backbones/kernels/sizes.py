"""How much of a map one program of a kernel takes."""

from math import prod

import triton

Space = tuple[int, ...]


def box_of(space: Space) -> Space:
    """Return the box of voxels of one program in a map of `space`: 128 of them, near each other."""
    return (4, 4, 8) if space[2] > 1 else (8, 16, 1)


def boxes(space: Space, box: Space) -> int:
    """Return how many boxes cover a map."""
    return prod(triton.cdiv(edge, part) for edge, part in zip(space, box, strict=True))


def block_of(channels: int) -> int:
    """Return how many channels are multiplied at a time: a power of 2 that tensor cores take, up to 64."""
    return min(max(16, triton.next_power_of_2(channels)), 64)


PARTS = 256
"""Into how many parts the gradient of a convolution's weights is cut, at most."""

TILES, TILE_CHANNELS = 512, 8
"""Parts of a sum, and channels, that are put together at a time."""

VALUES = 4096
"""Of a map, where each is treated alone."""
