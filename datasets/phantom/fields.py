"""Smooth random fields and partial volumes, what the synthetic anatomies are drawn with.

    field = smooth_field(rng, (x, y, z), scale=12.0)   # unit variance, structure of about 12 mm

Fields live in millimetres over a fixed box, so the same generator gives the same anatomy at any resolution.
All arithmetic is in double precision: a last bit that differs between machines does not survive rounding.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating]

BOX_MM = 120.0
"""Fields are defined for coordinates from -BOX_MM to BOX_MM on every axis."""


def smooth_field(
    rng: np.random.Generator, axes: Sequence[Array], scale: float, band_pass: bool = False
) -> Array:
    """Return a random field of zero mean and unit variance on the grid of `axes`.

    Args:
        rng: source of the draws, (2 * BOX_MM / scale + 4) ** len(axes) of them, whatever the grid.
        axes: coordinates in mm, one increasing vector per axis.
        scale: distance of the knots of the cubic B-spline in mm; detail is of about this size.
        band_pass: remove what is much smoother than `scale`, for patterns that alternate regularly.
    """
    knots = int(np.ceil(2 * BOX_MM / scale)) + 4
    field = rng.standard_normal((knots,) * len(axes))
    if band_pass:
        field -= gaussian_filter(field, 1.5, mode="wrap")
        field /= field.std()
    for axis in axes:
        # Contracting the first axis each time appends the new one last, so the order ends as it began.
        field = np.tensordot(field, _spline_weights(axis, scale, knots), axes=(0, 1))
    return field


def slab(distance: Array, half_width: float | Array, voxel: float) -> Array:
    """Share of a voxel that lies within `half_width` of a surface at `distance` (all in mm), from 0 to 1.

    The exact partial volume of a plate that is cut by a voxel of that thickness: thin plates stay faint.
    """
    upper = np.clip(distance + voxel / 2, -half_width, half_width)
    lower = np.clip(distance - voxel / 2, -half_width, half_width)
    return (upper - lower) / voxel


def inside(distance: Array, softness: float) -> Array:
    """Membership of a body with signed `distance` from its surface (mm, positive inside), from 0 to 1."""
    return np.clip(distance / softness + 0.5, 0.0, 1.0)


def lowest(values: Array, allowed: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return the `count` voxels of lowest value among the allowed ones as a mask; all if they are fewer."""
    candidates = values[allowed]
    count = min(count, candidates.size)
    if count == 0:
        return np.zeros_like(allowed)
    return allowed & (values <= np.partition(candidates, count - 1)[count - 1])


def scanned(
    rng: np.random.Generator, signal: Array, noise_range: tuple[float, float] = (0.03, 0.055)
) -> NDArray[np.int16]:
    """Return the magnitude image of `signal` (about 1): Rician noise, a scanner's own scale, above 0."""
    scale = np.exp(rng.normal(np.log(350.0), 0.3))
    noise = rng.uniform(*noise_range)
    real = signal + noise * rng.standard_normal(signal.shape)
    magnitude = np.hypot(real, noise * rng.standard_normal(signal.shape))
    return np.clip(np.rint(scale * magnitude), 1, np.iinfo(np.int16).max).astype(np.int16)


def _spline_weights(axis: Array, scale: float, knots: int) -> Array:
    """Cubic B-spline weights [len(axis), knots], each row of unit length so that variance is kept."""
    position = (np.clip(axis, -BOX_MM, BOX_MM) + BOX_MM) / scale + 1.5
    t = np.abs(position[:, None] - np.arange(knots))
    weights = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6)
    return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))
