"""Edges of crops and windows in voxels, one for all axes or one an axis: ``space_of((80, 160, 160), 3)``."""

from collections.abc import Sequence

from bench_errors import InputError

Edges = int | Sequence[int]


def space_of(edges: Edges, spatial_dims: int) -> tuple[int, int, int]:
    """Return the shape of a crop or window; in 2-D its third edge is 1.

    Raises `InputError` where there are edges of another number of axes.
    """
    each = [edges] * spatial_dims if isinstance(edges, int) else list(edges)
    if len(each) != spatial_dims:
        raise InputError(
            f"found the edges {each}, the study is {spatial_dims}-D: give {spatial_dims}, or one for all axes"
        )
    x, y, *z = each
    return x, y, z[0] if z else 1
