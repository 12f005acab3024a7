"""The grids that the files of a case lie on: are they one, and how is an image brought to another's?

    for name, message in odd_grids({"flair": flair, "label": label}): ...
    image = resampled(image, like)
    image = resampled(image, spaced(image, 1.5))

A grid is shape and affine. Positions are compared in voxels where they decide which voxel is which.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy.ndimage import affine_transform

from bench_errors import InputError
from datasets.preparation.nifti import Image

TOLERANCE = 1e-3
"""Spacings (mm), direction cosines and places (edges of a voxel) of a case's files may differ so much."""

MOST_VOXELS = 2_000_000_000
"""Of a case that is resampled: more is a mistake in its spacing."""

APART = 0.1
"""mm by which a header's two statements of where its voxels lie may be apart (qform's rounding is 1e-4)."""


def same_grid(image: Image, like: Image) -> bool:
    """Whether every voxel of two images lies at the same place, within a thousandth of a voxel."""
    if image.data.shape != like.data.shape:
        return False
    across = np.linalg.inv(like.affine) @ image.affine
    corners = _corners(image.data.shape)
    return bool((np.abs(apply_affine(across, corners) - corners) <= TOLERANCE).all())


def resampled(
    image: Image, like: Image, nearest: bool = False, outside: float = 0.0, to_faces: bool = False
) -> Image:
    """Return an image on the grid of another; what it does not cover is `outside`, the same grid left alone.

    Covered is what lies between the centres of its outermost voxels, a thousandth of a voxel beyond included,
    or `to_faces` of these; a single slice covers its thickness. Interpolation is linear, or of the `nearest`
    voxel.
    """
    if same_grid(image, like):
        return replace(image, affine=like.affine, spacing=like.spacing)
    across = np.linalg.inv(image.affine) @ like.affine
    # Beyond the outermost centres the nearest one's value stands, so that rounding loses no plane.
    data = affine_transform(
        image.data.astype(np.float32),
        across[:3, :3],
        across[:3, 3],
        output_shape=like.data.shape,
        order=0 if nearest else 1,
        mode="nearest",
    )
    axes = np.ogrid[tuple(slice(edge) for edge in like.data.shape)]
    for axis, length in enumerate(image.data.shape):
        index = (
            sum(along * step for along, step in zip(axes, across[axis, :3], strict=True)) + across[axis, 3]
        )
        beyond = 0.5 * (to_faces or length == 1) + TOLERANCE
        data[(index < -beyond) | (index > length - 1 + beyond)] = outside
    return replace(image, data=data, affine=like.affine, spacing=like.spacing)


def uncovered(image: Image, like: Image, values: np.ndarray | None = None) -> float:
    """Return the share of an image's voxels outside another's grid; of those where `values` are not 0."""
    across = np.linalg.inv(like.affine) @ image.affine
    inside = np.ones(image.data.shape, dtype=bool)
    axes = np.ogrid[tuple(slice(edge) for edge in image.data.shape)]
    for axis, length in enumerate(like.data.shape):
        steps = zip(axes, across[axis, :3], strict=True)
        index = sum(along * step for along, step in steps) + across[axis, 3]
        inside &= (index >= -0.5 - TOLERANCE) & (index <= length - 0.5 + TOLERANCE)
    meant = np.ones(image.data.shape, dtype=bool) if values is None else values != 0
    return int(np.count_nonzero(meant & ~inside)) / max(int(np.count_nonzero(meant)), 1)


def spaced(image: Image, edge: float, axes: int = 3) -> Image:
    """Return an image of zeros with voxels of `edge` mm that covers what another does, to the rounding.

    `axes`: how many axes of space it changes; 2 leaves slices as they are. Raises `InputError` for more
    voxels than any image has.
    """
    sizes = voxel_sizes(image.affine)
    edges = np.where(np.arange(3) < axes, edge, sizes)
    shape = np.maximum(1, np.rint(image.data.shape * sizes / edges)).astype(int)
    if shape.prod() > MOST_VOXELS:
        raise InputError(f"voxels of {edge:g} mm make {shape.prod():.3g} of a case: take larger ones")
    affine = image.affine @ np.diag([*(edges / sizes), 1.0])
    affine[:3, 3] = apply_affine(image.affine, (edges / sizes - 1) / 2)
    zeros = np.broadcast_to(np.float32(0), tuple(shape))
    return replace(image, data=zeros, affine=affine, spacing=tuple(edges.tolist()))


def odd_grids(images: Mapping[str, Image]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, name of one that it differs from, what differs) for each image off the grid of most."""
    widest = max((float(voxel_sizes(image.affine).max()) for image in images.values()), default=1.0)
    statements = {
        "shape": ("voxels", 0.0, {n: np.array(i.data.shape) for n, i in images.items()}),
        # The header's two statements of the spacing: pixdim, and the length of the affine's columns.
        "spacing": (
            "mm",
            TOLERANCE,
            {n: np.array([*i.spacing, *voxel_sizes(i.affine)]) for n, i in images.items()},
        ),
        "origin": ("mm", TOLERANCE * widest, {n: i.affine[:3, 3] for n, i in images.items()}),
        "direction": (
            "cosines of the axes",
            TOLERANCE,
            {n: (i.affine[:3, :3] / voxel_sizes(i.affine)).T.ravel() for n, i in images.items()},
        ),
    }
    for what, (unit, tolerance, values) in statements.items():
        within = f"{unit}, within {tolerance:.3g}" if tolerance else unit
        for name, other in _odd(values, tolerance):
            found = _text(values[name], values[other], tolerance)
            expected = _text(values[other], values[name], tolerance)
            yield name, other, f"{what} {found}, expected {expected} ({within})"


def disagreement(image: Image) -> float:
    """Return how far apart, in mm, the header's qform and sform put a voxel at most; 0 if it has one alone.

    A header without qform says by its voxel size (pixdim) how far apart voxels are; that counts as one.
    """
    header = image.header
    if not int(header["sform_code"]):
        return 0.0
    corners = _corners(image.data.shape[:3])
    sform = header.get_sform()
    if int(header["qform_code"]):
        return _farthest(apply_affine(header.get_qform(), corners) - apply_affine(sform, corners))
    return _farthest(corners * (np.array(image.spacing) - voxel_sizes(sform)))


def _farthest(steps: np.ndarray) -> float:
    return float(np.linalg.norm(steps, axis=1).max())


def _corners(shape: tuple[int, ...]) -> np.ndarray:
    """Indices [8, 3] of the voxels at the corners of a volume."""
    return np.array(list(product(*((0, edge - 1) for edge in shape))), dtype=np.float64)


def _odd(values: Mapping[str, np.ndarray], tolerance: float) -> Iterator[tuple[str, str]]:
    """Yield those that differ from one of those that agree with most, and that one."""

    def agree(a: str, b: str) -> bool:
        return bool((np.abs(values[a] - values[b]) <= tolerance).all())

    kept: list[str] = []
    for name in sorted(values, key=lambda n: -sum(agree(n, other) for other in values)):
        other = next((k for k in kept if not agree(name, k)), None)
        if other is None:
            kept.append(name)
        else:
            yield name, other


def _text(value: np.ndarray, other: np.ndarray, tolerance: float) -> str:
    """The first three numbers, of which one at least differs."""
    triples = value.reshape(-1, 3)
    differing = (np.abs(value - other) > tolerance).reshape(-1, 3).any(axis=1)
    return "x".join(f"{number + 0.0:.6g}" for number in triples[int(differing.argmax())])
