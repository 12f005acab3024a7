"""A healthy head: bodies and folded sheets given by distances in mm, mixed by partial volume.

    anatomy = draw_anatomy(rng, axes, voxel=2.0, masses=[Mass(centre, radius=18.0, push=0.35)])

Both editions of the synthetic brain are drawn with it: `datasets.phantom.brain`, `datasets.phantom.patient`.
x runs to the left, y to the back, z up; the origin is the middle of the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.phantom.fields import Array, inside, slab, smooth_field

EXTENT_MM = (142.0, 174.0, 142.0)
"""Of the head on each axis."""

Points = tuple[Array, Array, Array]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Mass:
    """What pushes the brain around it aside.

    Attributes:
        centre: [3], in mm.
        radius: of a ball as large as what pushes, in mm.
        push: the share of its distance by which a point near the centre has been moved away.
    """

    centre: Array
    radius: float
    push: float


@dataclass
class Anatomy:
    """What a head without a tumour consists of.

    Attributes:
        mask: bool, the brain.
        hemispheres: signed distance from the cerebrum's surface in mm, positive inside.
        ventricles: the same for the ventricles.
        shares: name of the tissue -> share of the voxel, laid over each other in this order.
    """

    mask: NDArray[np.bool_]
    hemispheres: Array
    ventricles: Array
    shares: dict[str, Array]


def _body(points: Points, centre: Vector, half_axes: Vector) -> Array:
    """First-order signed distance in mm from an ellipsoid's surface, positive inside."""
    scaled = [(p - c) / a for p, c, a in zip(points, centre, half_axes, strict=True)]
    norm = np.sqrt(sum(s**2 for s in scaled) + 1e-9)
    slope = np.sqrt(sum((s / a) ** 2 for s, a in zip(scaled, half_axes, strict=True)) + 1e-9)
    return norm * (1 - norm) / slope


def _pair(points: Points, bodies: list[tuple[Vector, Vector]]) -> Array:
    """Signed distance from the union of bodies (centre, half axes) and of their mirror images in x."""
    mirrored = (np.abs(points[0]), points[1], points[2])
    return np.max([_body(mirrored, centre, half_axes) for centre, half_axes in bodies], axis=0)


def _step(coordinate: Array, at: float, width: float) -> Array:
    """Rise smoothly from 0 to 1 around `at`."""
    return 0.5 + 0.5 * np.tanh((coordinate - at) / width)


def draw_anatomy(
    rng: np.random.Generator, axes: list[Array], voxel: float, masses: Sequence[Mass]
) -> Anatomy:
    """Draw a brain on the grid of `axes` (mm, voxels of edge `voxel`), pushed aside by `masses`."""
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    tilt = rng.normal(0.0, 0.03, 3)
    growth = np.exp(rng.normal(0.0, 0.025, 3))
    bend = [3.0 * smooth_field(rng, axes, 45.0) for _ in range(3)]
    x = grid[0] / growth[0] + tilt[0] * grid[1] + bend[0]
    y = grid[1] / growth[1] + tilt[1] * grid[2] + bend[1]
    z = grid[2] / growth[2] + tilt[2] * grid[0] + bend[2]

    base = -42.0 + 20.0 * _step(-y, 32.0, 10.0) + 30.0 * _step(y, 28.0, 12.0)
    width = 68.0 - 5.0 * _step(-y, 25.0, 25.0)
    surface = 1.2 * smooth_field(rng, axes, 9.0)
    hemispheres = np.minimum(_body((x * 68.0 / width, y, z), (0, 0, 6), (68, 84, 62)), z - base) + surface
    cerebellum = _body((x, y, z), (0, 40, -34), (52, 35, 29)) + surface / 2
    stem = _body((x, y, z), (0, 16, -46), (14, 13, 30))
    outside = np.max([hemispheres, cerebellum, stem], axis=0)

    folds = 3.5 * smooth_field(rng, axes, 6.0, band_pass=True)
    leaves = 2.2 * smooth_field(rng, axes, 4.0, band_pass=True)
    depth = 18.0 + 3.5 * smooth_field(rng, axes, 25.0)
    sulci = np.hypot(folds, np.clip(np.abs(hemispheres) - depth, 0, None))
    sulci = np.where(hemispheres > 0, sulci, np.hypot(leaves, np.clip(cerebellum - 6, 0, None)))

    # A mass pushes what is inside the brain away from its centre: look up anatomy nearer to it.
    inner: Points = (x, y, z)
    for mass in masses:
        offset = [p - c for p, c in zip((x, y, z), mass.centre, strict=True)]
        push = mass.push * np.exp(-sum(o**2 for o in offset) / (2 * (2.0 * mass.radius) ** 2))
        inner = tuple(p - push * o for p, o in zip(inner, offset, strict=True))

    callosum = 1 - np.sqrt((inner[1] / 44.0) ** 2 + ((inner[2] - 4.0) / 24.0) ** 2)
    fissure = np.hypot(inner[0] + 0.6 * surface, np.clip(callosum * 30.0, 0, None))
    lateral = np.hypot(z + 7.0 - 0.2 * y, np.clip(40.0 - np.abs(x), 0, None))
    sylvian = np.hypot(lateral, np.clip(np.abs(y + 6.0) - 34.0, 0, None))
    pia = np.min([np.abs(hemispheres), outside, sulci, fissure, sylvian], axis=0)
    pia = np.maximum(pia, stem)

    swelling = rng.uniform(-1.2, 2.2)
    ventricles = swelling + _pair(
        inner,
        [
            ((9, -3, 15), (6.5, 28, 8.5)),
            ((12, -26, 11), (6.5, 13, 9)),
            ((19, 26, 9), (7.5, 17, 10)),
            ((30, 18, -12), (3.5, 14, 4)),
        ],
    )
    narrow = [((0.0, 4.0, 0.0), (2.0, 13.0, 9.0)), ((0.0, 27.0, -38.0), (6.0, 5.0, 9.0))]
    ventricles = np.maximum(ventricles, swelling / 3 + _pair(inner, narrow))
    deep = _pair(
        inner, [((20, -20, 13), (4.5, 13, 8)), ((27, -6, 2), (6, 17, 10)), ((11, 10, 4), (8.5, 14, 9))]
    )

    fluid = rng.uniform(0.35, 0.9)
    liquor = np.maximum(slab(pia, fluid, voxel), inside(ventricles, voxel))
    cortex = slab(pia, fluid + rng.uniform(2.4, 3.0), voxel)
    second = 4.6 * smooth_field(rng, axes, 8.0, band_pass=True)
    vessels = slab(np.hypot(sulci - 1.5, second), rng.uniform(0.8, 1.4), voxel) ** 2
    plexus = _pair(inner, [((20, 22, 7), (2.5, 8, 3.5))])
    aged = (
        smooth_field(rng, axes, 7.0) + 0.8 * np.exp(-np.abs(ventricles) / 3.0) + 0.4 * np.exp(ventricles / 15)
    )
    spots = inside(aged - rng.uniform(2.0, 2.9), 0.5) * (1 - np.maximum(cortex, liquor)) * (hemispheres > 0)
    shares = {
        "deep grey": 0.9 * inside(deep, voxel + 1.5),
        "hyperintensity": spots,
        "grey matter": np.maximum(cortex, 0.0),
        "CSF": liquor,
        "vessel": vessels * (outside < 22),
        "plexus": 0.8 * inside(plexus, voxel + 1.0) * inside(ventricles, voxel),
    }
    return Anatomy(outside > 0, hemispheres, ventricles, shares)
