"""Gliomas of every kind: rings, solid and patchy ones, some without enhancement, without a core, or many.

    lesions = draw_lesions(rng)                     # the first is the largest
    tissues = grow(lesions, rng, axes, voxel, anatomy)      # name of the tissue -> mask

The kinds and sizes are those that BraTS describes (Menze et al. 2015): of its 369 cases of 2020, 76 are of
low grade, which often do not enhance; whole tumours have a few to more than 200 ml.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from datasets.phantom.anatomy import EXTENT_MM, Anatomy, Mass
from datasets.phantom.fields import Array, lowest, smooth_field

Mask = NDArray[np.bool_]
Span = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """A kind of glioma.

    Attributes:
        frequency: its share of the cases.
        core: range of the core's share of the whole tumour.
        necrosis: range of the share of the core that is dead.
        silent: range of the share of the living core that does not enhance.
    """

    frequency: float
    core: Span
    necrosis: Span
    silent: Span


KINDS = {
    "ring": Kind(0.48, (0.25, 0.60), (0.25, 0.60), (0.00, 0.20)),
    "solid": Kind(0.19, (0.20, 0.55), (0.00, 0.08), (0.00, 0.25)),
    "patchy": Kind(0.18, (0.30, 0.65), (0.00, 0.20), (0.45, 0.80)),
    "non-enhancing": Kind(0.09, (0.25, 0.60), (0.00, 0.08), (1.00, 1.00)),
    "diffuse": Kind(0.06, (0.00, 0.00), (0.00, 0.00), (0.00, 0.00)),
}
MULTIFOCAL = 0.22
"""The share of multifocal cases among those of `ENHANCING_KINDS`."""
ENHANCING_KINDS = ("ring", "solid", "patchy")
VOLUME_ML = 75.0
VOLUME_SPREAD = 0.75
"""Median and spread (of the logarithm) of the whole tumour's volume, before it is cut to `VOLUMES_ML`."""
VOLUMES_ML = (5.0, 220.0)
SATELLITES = (0.03, 0.25)
"""Range of a further lesion's volume as a share of the first's."""
APART_MM = 15.0
"""From a lesion's core to the centre of another at least."""
PUSHES = (0.15, 0.50)
"""Range of how far the core pushes what is around it, see `Mass`."""


@dataclass(frozen=True)
class Lesion:
    """Where a lesion is and what it is made of.

    Attributes:
        kind: of `KINDS`.
        centre: [3], of the core, in mm.
        oedema_centre: [3], of the oedema, in mm.
        stretch: [3], factors by which distances from the centre are longer on each axis.
        volume: of all of it, in mm^3.
        core: share of the volume that is core.
        necrosis: share of the core that is dead.
        silent: share of the living core that does not enhance.
        push: how far it pushes the brain aside, see `Mass`.
    """

    kind: str
    centre: Array
    oedema_centre: Array
    stretch: Array
    volume: float
    core: float
    necrosis: float
    silent: float
    push: float

    @property
    def radius(self) -> float:
        """Radius in mm of the ball that is as large as the core, or as a fifth of a lesion without one."""
        return float((max(self.core, 0.2) * self.volume * 3 / (4 * np.pi)) ** (1 / 3))

    @property
    def mass(self) -> Mass:
        """What it pushes aside."""
        return Mass(self.centre, self.radius, self.push)


def draw_lesions(rng: np.random.Generator) -> list[Lesion]:
    """Draw the lesions of a patient, the largest first."""
    names = list(KINDS)
    kind = str(rng.choice(names, p=[KINDS[name].frequency for name in names]))
    volume = 0.0
    while not VOLUMES_ML[0] <= volume <= VOLUMES_ML[1]:
        volume = float(np.exp(rng.normal(np.log(VOLUME_ML), VOLUME_SPREAD)))
    first = _lesion(rng, kind, _somewhere(rng), 1000 * volume)
    lesions = [first]
    if kind in ENHANCING_KINDS and rng.random() < MULTIFOCAL:
        for _ in range(rng.integers(1, 4)):
            centre = _elsewhere(rng, lesions)
            share = rng.uniform(*SATELLITES)
            lesions.append(_lesion(rng, str(rng.choice(["ring", "solid"])), centre, share * first.volume))
    return lesions


def grow(
    lesions: list[Lesion], rng: np.random.Generator, axes: list[Array], voxel: float, anatomy: Anatomy
) -> dict[str, Mask]:
    """Grow each lesion to its volume: a rough core, and oedema that spreads through white matter first.

    Args:
        lesions: from `draw_lesions`.
        rng: source of the shapes.
        axes: coordinates in mm.
        voxel: edge of a voxel in mm.
        anatomy: the brain on that grid, pushed aside by the lesions.

    Returns disjoint masks of "oedema", "non-enhancing", "enhancing" and "necrosis".
    """
    allowed = anatomy.mask & (anatomy.ventricles < 0) & (anatomy.hemispheres > 0)
    # Cortex and fissures hold oedema back, so it runs in fingers between the sulci.
    barrier = gaussian_filter(
        12.0 * anatomy.shares["grey matter"] + 14.0 * anatomy.shares["CSF"], 1.2 / voxel
    )
    tissues = {
        name: np.zeros(allowed.shape, bool) for name in ("oedema", "non-enhancing", "enhancing", "necrosis")
    }
    for lesion in lesions:
        for name, mask in _grown(lesion, rng, axes, voxel, allowed, barrier).items():
            tissues[name] |= mask
            allowed = allowed & ~mask
    return tissues


def _grown(
    lesion: Lesion, rng: np.random.Generator, axes: list[Array], voxel: float, allowed: Mask, barrier: Array
) -> dict[str, Mask]:
    """Return the tissues of one lesion, within what is allowed."""
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    radius = lesion.radius

    def roughness(scale: float) -> Array:
        return smooth_field(rng, axes, max(4.0, scale))

    def distance(centre: Array, stretch: Array) -> Array:
        away = [(g - c) * s for g, c, s in zip(grid, centre, stretch, strict=True)]
        return np.sqrt(sum(a**2 for a in away))

    from_core = distance(lesion.centre, lesion.stretch) + radius * (
        0.26 * roughness(0.8 * radius) + 0.13 * roughness(0.35 * radius)
    )
    whole_voxels = max(1, round(lesion.volume / voxel**3))
    core = lowest(from_core, allowed, round(lesion.core * whole_voxels))
    spread = distance(lesion.oedema_centre, lesion.stretch[::-1]) + barrier
    spread += radius * (0.45 * roughness(1.1 * radius) + 0.15 * roughness(0.4 * radius))
    spread[core] = -np.inf
    whole = lowest(spread, allowed, whole_voxels)
    parts, _ = label(whole)
    whole = parts == np.bincount(parts[core if core.any() else whole]).argmax()
    core &= whole
    dead = lowest(
        from_core + 0.2 * radius * roughness(0.55 * radius), core, round(lesion.necrosis * core.sum())
    )
    living = core & ~dead
    silent = lowest(roughness(0.6 * radius), living, round(lesion.silent * living.sum()))
    return {
        "oedema": whole & ~core,
        "non-enhancing": silent,
        "enhancing": living & ~silent,
        "necrosis": dead,
    }


def _lesion(rng: np.random.Generator, kind: str, centre: Array, volume: float) -> Lesion:
    """Draw a lesion of a kind, a place and a volume in mm^3."""
    ranges = KINDS[kind]
    return Lesion(
        kind=kind,
        centre=centre,
        oedema_centre=centre * rng.uniform(0.8, 1.05, 3),
        stretch=np.exp(rng.normal(0.0, 0.18, 3)),
        volume=volume,
        core=rng.uniform(*ranges.core),
        necrosis=rng.uniform(*ranges.necrosis),
        silent=rng.uniform(*ranges.silent),
        push=rng.uniform(*PUSHES),
    )


def _somewhere(rng: np.random.Generator) -> Array:
    """Draw a place in the white matter of the cerebrum, [3] in mm."""
    half = np.array(EXTENT_MM) / 2
    while True:
        centre = rng.uniform(-0.75, 0.75, 3) * half
        if 0.30 < np.linalg.norm(centre / half) < 0.68 and abs(centre[0]) > 12 and centre[2] > -15:
            return centre


def _elsewhere(rng: np.random.Generator, lesions: list[Lesion]) -> Array:
    """Draw a place that is `APART_MM` from the cores of the lesions."""
    while True:
        place = _somewhere(rng)
        if all(np.linalg.norm(place - old.centre) - old.radius > APART_MM for old in lesions):
            return place
