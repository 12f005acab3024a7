"""A synthetic brain with a glioma in four MRI contrasts, skull-stripped and aligned as in BraTS.

    volumes, labels = brain((64, 64, 64), seed=0, case="Phantom_001")

Built from anatomy: bodies and folded sheets given by distances in mm, mixed by partial volume, given the
contrasts of `SIGNALS`, then bias field and noise. A volume too small for a brain shows a scaled one: the
patient is drawn in mm, so a case is the same patient at every size. x runs to the left, y to the back, z up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from datasets.phantom.anatomy import EXTENT_MM, Anatomy, Mass, draw_anatomy
from datasets.phantom.fields import Array, lowest, scanned, smooth_field
from datasets.randomness import generator

BRAIN_MM3 = 1.35e6
PUSH = 0.35
"""How far the tumour moves what is near its centre, see `Mass`."""
FILL = 0.88
"""The share of the tightest axis that the brain takes; at 240x240x155 a voxel is then about 1 mm."""

CONTRASTS = ("flair", "t1ce", "t1", "t2")
SIGNALS = {
    "white matter": (0.95, 1.00, 1.00, 0.90),
    "deep grey": (1.00, 0.88, 0.86, 0.98),
    "grey matter": (1.08, 0.82, 0.77, 1.14),
    "CSF": (0.30, 0.36, 0.33, 2.20),
    "vessel": (0.60, 1.60, 0.90, 0.60),
    "plexus": (0.80, 1.35, 0.70, 1.60),
    "hyperintensity": (1.38, 0.93, 0.90, 1.40),
    "oedema": (1.40, 0.86, 0.84, 1.42),
    "enhancing": (1.34, 1.45, 0.84, 1.38),
    "necrosis": (1.15, 0.64, 0.64, 1.75),
}
"""Mean signal of each tissue in the order of `CONTRASTS`, normal brain being about 1.

After the look of BraTS: FLAIR suppresses CSF and shows all of the tumour; T2 shows it too, below CSF; T1ce
shows what enhances (vessels and plexus as well); T1 shows a slight darkening. Cases vary around these.
"""

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4


def brain(
    shape: tuple[int, int, int], seed: int, case: str
) -> tuple[dict[str, NDArray[np.int16]], NDArray[np.uint8]]:
    """Draw one patient: four int16 volumes by contrast (0 outside the brain) and the labels 0, 1, 2, 4."""
    voxel = max(1.0, *(extent / (FILL * n) for extent, n in zip(EXTENT_MM, shape, strict=True)))
    axes = [(np.arange(n) - (n - 1) / 2) * voxel for n in shape]
    # Beyond this box there is no brain, and leaving it out saves half of the work.
    box = tuple(
        slice(*np.searchsorted(axis, (-0.6 * extent, 0.6 * extent)))
        for axis, extent in zip(axes, EXTENT_MM, strict=True)
    )
    axes = [axis[part] for axis, part in zip(axes, box, strict=True)]
    tumour = Tumour.draw(generator(seed, "phantom tumour", 0, case))
    mass = Mass(tumour.centre, tumour.radius, PUSH)
    anatomy = draw_anatomy(generator(seed, "phantom anatomy", 0, case), axes, voxel, [mass])
    labels = _grow(tumour, generator(seed, "phantom growth", 0, case), axes, voxel, anatomy)
    signals = _signals(generator(seed, "phantom signals", 0, case), axes, voxel, anatomy, labels)
    rng = generator(seed, "phantom noise", 0, case)

    volumes = {contrast: np.zeros(shape, np.int16) for contrast in CONTRASTS}
    for contrast, signal in signals.items():
        volumes[contrast][box] = np.where(anatomy.mask, scanned(rng, signal), 0)
    whole = np.zeros(shape, np.uint8)
    whole[box] = labels
    return volumes, whole


@dataclass
class Tumour:
    """Where a glioma is and what it is made of (mm, and shares of 1)."""

    centre: Array
    oedema_centre: Array
    stretch: Array
    volume: float
    core: float
    necrosis: float
    enhancing: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Tumour":
        """Draw a supratentorial glioma: two thirds ring-enhancing, some solid, some hardly enhancing."""
        half = np.array(EXTENT_MM) / 2
        while True:
            centre = rng.uniform(-0.75, 0.75, 3) * half
            if 0.35 < np.linalg.norm(centre / half) < 0.68 and abs(centre[0]) > 14 and centre[2] > -15:
                break
        kind = rng.choice(["ring", "solid", "low grade"], p=[0.65, 0.23, 0.12])
        necrosis = {"ring": rng.uniform(0.25, 0.6), "solid": rng.uniform(0.0, 0.08), "low grade": 0.8}[kind]
        return cls(
            centre=centre,
            oedema_centre=centre * rng.uniform(0.8, 1.05, 3),
            stretch=np.exp(rng.normal(0.0, 0.15, 3)),
            volume=float(np.clip(np.exp(rng.normal(np.log(0.065), 0.5)), 0.022, 0.145)),
            core=rng.uniform(0.28, 0.6),
            necrosis=float(necrosis),
            enhancing=kind != "low grade",
        )

    @property
    def radius(self) -> float:
        """Radius in mm of the ball that is as large as the core."""
        return float((self.core * self.volume * BRAIN_MM3 * 3 / (4 * np.pi)) ** (1 / 3))


def _grow(
    tumour: Tumour, rng: np.random.Generator, axes: list[Array], voxel: float, anatomy: Anatomy
) -> NDArray[np.uint8]:
    """Grow the tumour to its volume: a rough core, and oedema that spreads through white matter first."""
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    brain_voxels = int(anatomy.mask.sum())
    radius = tumour.radius
    allowed = anatomy.mask & (anatomy.ventricles < 0) & (anatomy.hemispheres > 0)

    def roughness(scale: float) -> Array:
        return smooth_field(rng, axes, max(4.0, scale))

    away = [(g - c) * s for g, c, s in zip(grid, tumour.centre, tumour.stretch, strict=True)]
    from_core = np.sqrt(sum(a**2 for a in away)) + radius * (
        0.24 * roughness(0.8 * radius) + 0.12 * roughness(0.35 * radius)
    )
    core_voxels = int(tumour.core * tumour.volume * brain_voxels)
    core = lowest(from_core, allowed, core_voxels)

    # Cortex and fissures hold oedema back, so it runs in fingers between the sulci.
    barrier = gaussian_filter(
        12.0 * anatomy.shares["grey matter"] + 14.0 * anatomy.shares["CSF"], 1.2 / voxel
    )
    away = [(g - c) * s for g, c, s in zip(grid, tumour.oedema_centre, tumour.stretch[::-1], strict=True)]
    spread = np.sqrt(sum(a**2 for a in away)) + barrier
    spread += radius * (0.45 * roughness(1.1 * radius) + 0.12 * roughness(0.4 * radius))
    spread[core] = -np.inf
    whole = lowest(spread, allowed, int(tumour.volume * brain_voxels))
    parts, _ = label(whole)
    whole = parts == np.bincount(parts[core]).argmax()
    core &= whole

    thickness = radius * 0.2 * roughness(0.55 * radius)
    if tumour.enhancing:
        dead = lowest(from_core + thickness, core, int(tumour.necrosis * core.sum()))
    else:
        dead = lowest(thickness, core, int(tumour.necrosis * core.sum()))
    labels = np.where(whole, OEDEMA, 0).astype(np.uint8)
    labels[core] = ENHANCING
    labels[dead] = NECROSIS
    return labels


def _signals(
    rng: np.random.Generator, axes: list[Array], voxel: float, anatomy: Anatomy, labels: NDArray[np.uint8]
) -> dict[str, Array]:
    """Turn tissues into the four contrasts, with texture and bias field; normal brain is about 1."""
    blur = max(0.5, 1.2 / voxel)
    shares = dict(anatomy.shares)
    shares["oedema"] = gaussian_filter((labels > 0).astype(float), 1.5 * blur)
    shares["enhancing"] = gaussian_filter(np.isin(labels, (NECROSIS, ENHANCING)).astype(float), blur)
    shares["necrosis"] = gaussian_filter((labels == NECROSIS).astype(float), blur)
    texture = {
        "oedema": 1 + 0.08 * smooth_field(rng, axes, 10.0),
        "enhancing": 1 + 0.10 * smooth_field(rng, axes, 5.0),
        "necrosis": 1 + 0.08 * smooth_field(rng, axes, 6.0),
    }
    signals = {}
    for index, contrast in enumerate(CONTRASTS):
        mean = {
            name: row[index] * np.exp(rng.normal(0.0, 0.08 if name in texture else 0.04))
            for name, row in SIGNALS.items()
        }
        signal = mean["white matter"] * np.ones_like(anatomy.ventricles)
        for name, share in shares.items():
            signal += share * (mean[name] * texture.get(name, 1.0) - signal)
        shading = 0.12 * smooth_field(rng, axes, 80.0)
        grain = 0.03 * smooth_field(rng, axes, 6.0)
        signals[contrast] = signal * np.exp(shading + grain)
    return signals
