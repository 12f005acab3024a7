"""Where masks end, and how far one such surface is from another.

    surface, other = voxel_surface(mask, (1, 1, 5)), voxel_surface(reference, (1, 1, 5))
    there, back = distances(surface, other)         # mm, from each element to the other surface

Two kinds of surface are in use. That of `voxel_surface` is what an erosion takes away, as in MedPy and in
PASSION's released code. That of `corner_surface` lies between the voxels and its elements have areas, as in
DeepMind's surface-distance (Nikolov et al. 2018, arXiv 1809.04430), whose table of areas is used.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from surface_distance import lookup_tables

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Nearest = Callable[[Array, Array], Array]
"""Takes two sets of points [P, dims] and [Q, dims], returns each one's distance to the other set [P + Q]."""


class Surface:
    """Elements of a surface.

    Attributes:
        positions: of the elements on their grid, int [N, dims].
        spacing: mm between neighbours on the grid, per axis.
        areas: [N], of the elements in mm² (in a slice: lengths in mm); ones where elements are counted.
        grid: where there is an element, bool [*grid], in the order of `positions`; None for a part.
    """

    def __init__(
        self, positions: NDArray[np.int64], spacing: Sequence[float], areas: Array, grid: Mask | None = None
    ):
        self.positions = positions
        self.spacing = spacing
        self.areas = areas
        self.grid = grid

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def points(self) -> Array:
        """The positions in mm, none at coordinate 0.

        The number next to 0 is denormal; where the processor flushes those (which training asks it to),
        building a tree of points at 0 never ends.
        """
        return np.asarray((self.positions + 1) * np.asarray(self.spacing), dtype=np.float64)

    def distance_from(self, other: "Surface") -> Array:
        """Return the distance in mm of each element of `other`, on the same grid, to the nearest one here."""
        if self.grid is not None and other.grid is not None:
            return self._map[other.grid]
        return self.nearest(other.points)

    def nearest(self, points: Array) -> Array:
        """Return the distance in mm of points [P, dims] to the nearest element: [P]."""
        return np.asarray(self._tree.query(points)[0])

    @cached_property
    def _tree(self) -> cKDTree:
        # Neither option changes an answer; without them it is built three times as fast.
        return cKDTree(self.points, compact_nodes=False, balanced_tree=False)

    @cached_property
    def _map(self) -> Array:
        """Distance in mm to the surface from everywhere on the grid."""
        assert self.grid is not None
        return np.asarray(ndimage.distance_transform_edt(~self.grid, sampling=self.spacing))

    def part(self, chosen: Mask) -> "Surface":
        """Return the chosen [N] elements; itself, with all that is known of it, where these are all."""
        return self if chosen.all() else Surface(self.positions[chosen], self.spacing, self.areas[chosen])


def voxel_surface(mask: Mask, spacing: Sequence[float]) -> Surface:
    """Return the voxels that an erosion with the 6-neighbourhood takes away from a mask [*space].

    Voxels on the image's border are among them. Each counts the same.
    """
    padded, inner = np.pad(mask, 1), mask.copy()
    for axis, start in product(range(mask.ndim), (0, 2)):  # much faster than `ndimage.binary_erosion`
        neighbours = [slice(1, -1)] * mask.ndim
        neighbours[axis] = slice(start, start + mask.shape[axis])
        inner &= padded[tuple(neighbours)]
    grid = mask & ~inner
    positions = np.argwhere(grid)
    return Surface(positions, spacing, np.ones(len(positions)), grid)


def corner_surface(mask: Mask, spacing: Sequence[float]) -> Surface:
    """Return the corners of voxels [*space + 1] that lie between a mask and its outside, with their areas."""
    table = _areas(tuple(spacing))
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([n + 1 for n in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(reversed(list(product((0, 1), repeat=mask.ndim)))):
        around = tuple(slice(c, c + n) for c, n in zip(corner, codes.shape, strict=True))
        codes |= padded[around] << bit
    grid = (codes > 0) & (codes < len(table) - 1)
    return Surface(np.argwhere(grid), spacing, table[codes[grid]], grid)


@cache
def _areas(spacing: tuple[float, ...]) -> Array:
    """Area in mm² around a corner (in 2-D: length in mm) by which of the voxels around it are in the mask."""
    make = {
        2: lookup_tables.create_table_neighbour_code_to_contour_length,
        3: lookup_tables.create_table_neighbour_code_to_surface_area,
    }[len(spacing)]
    return np.asarray(make(spacing), dtype=np.float64)


def labels_at(surface: Surface, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return which label [*space] the voxels around each corner of a `corner_surface` have: [N].

    Different labels must not touch, not even at a corner; then those around one corner agree.
    """
    padded = np.pad(labels, 1)
    around = [padded[tuple((surface.positions + corner).T)] for corner in product((0, 1), repeat=labels.ndim)]
    return np.max(around, axis=0)


def distances(surface: Surface, reference: Surface, nearest: Nearest | None) -> tuple[Array, Array]:
    """Return each element's distance in mm to the other surface: those of `surface`, of `reference`.

    Neither may be empty. `nearest`: what finds them, `surface_distances.nearest` on a GPU. None: the few
    points of the reference ask a tree of the other's, in less than half the time of one more distance map,
    while the map of the reference serves all surfaces that are compared with it.
    """
    if nearest:
        both = nearest(surface.points, reference.points)
        return both[: len(surface)], both[len(surface) :]
    return reference.distance_from(surface), surface.nearest(reference.points)
