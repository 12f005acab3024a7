"""The second edition of the synthetic brain: gliomas of every kind, contrasts that overlap, three scanners.

    volumes, labels = patient((76, 92, 76), seed=0, case="Phantom2_001")

What is in a voxel does not tell its class here, as in patients: tissues vary from case to case and from place
to place, independently in each contrast; chronic lesions look like oedema, vessels, dura and plexus like
enhancing tumour; scanners differ. What tells is the neighbourhood. At the size above voxels have 2 mm.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from datasets.phantom.anatomy import EXTENT_MM, Anatomy, draw_anatomy
from datasets.phantom.brain import ENHANCING, NECROSIS, OEDEMA
from datasets.phantom.fields import Array, inside, scanned, smooth_field
from datasets.phantom.glioma import Mask, draw_lesions, grow
from datasets.phantom.scanners import SCANNERS, Scanner, hospital_of
from datasets.randomness import generator

FILL = 0.95
"""The share of the tightest axis that the head takes."""
CONTRASTS = ("flair", "t1ce", "t1", "t2")
SIGNALS = {
    "white matter": (0.94, 1.00, 1.00, 0.88),
    "deep grey": (1.00, 0.88, 0.86, 0.98),
    "grey matter": (1.08, 0.83, 0.77, 1.12),
    "CSF": (0.32, 0.36, 0.33, 2.00),
    "vessel": (0.60, 1.60, 0.90, 0.60),
    "plexus": (0.80, 1.35, 0.70, 1.60),
    "dura": (1.05, 1.45, 0.85, 0.95),
    "chronic lesion": (1.35, 0.90, 0.88, 1.36),
    "oedema": (1.36, 0.88, 0.82, 1.36),
    "non-enhancing": (1.31, 0.85, 0.76, 1.44),
    "enhancing": (1.29, 0.84, 0.76, 1.34),
    "necrosis": (1.10, 0.66, 0.64, 1.68),
}
"""Mean signal of each tissue in the order of `CONTRASTS`, brain being about 1, before `UPTAKE`."""
UPTAKE = 0.62
"""Median of what contrast agent adds to enhancing tumour in T1ce."""
CASE_SPREAD = {
    "white matter": 0.03,
    "oedema": 0.09,
    "non-enhancing": 0.09,
    "enhancing": 0.10,
    "necrosis": 0.18,
}
"""Deviation of the logarithm of a tissue's signal between cases; 0.05 of the others."""
TEXTURES = {
    "oedema": (0.12, 9.0),
    "non-enhancing": (0.11, 7.0),
    "enhancing": (0.15, 5.0),
    "necrosis": (0.13, 6.0),
}
"""Deviation of the logarithm of a tissue's signal within a case, and the size of its structure in mm."""


def patient(
    shape: tuple[int, int, int], seed: int, case: str
) -> tuple[dict[str, NDArray[np.int16]], NDArray[np.uint8]]:
    """Draw one patient: four int16 volumes by contrast (0 outside the brain) and the labels 0, 1, 2, 4."""
    voxel = voxel_mm(shape)
    axes = [(np.arange(n) - (n - 1) / 2) * voxel for n in shape]
    lesions = draw_lesions(generator(seed, "phantom2 lesions", 0, case))
    masses = [lesion.mass for lesion in lesions]
    anatomy = draw_anatomy(generator(seed, "phantom2 anatomy", 0, case), axes, voxel, masses)
    tissues = grow(lesions, generator(seed, "phantom2 growth", 0, case), axes, voxel, anatomy)
    scanner = SCANNERS[hospital_of(seed, case)]
    rng = generator(seed, "phantom2 signals", 0, case)
    shares = _shares(rng, axes, voxel, anatomy, tissues)
    signals = _signals(rng, axes, shares, scanner)
    rng = generator(seed, "phantom2 noise", 0, case)
    volumes = {
        contrast: np.where(
            anatomy.mask, scanned(rng, scanner.blurred(signal, contrast, voxel), scanner.noise), 0
        ).astype(np.int16)
        for contrast, signal in signals.items()
    }
    labels = np.zeros(shape, np.uint8)
    labels[tissues["oedema"]] = OEDEMA
    labels[tissues["enhancing"]] = ENHANCING
    labels[tissues["non-enhancing"] | tissues["necrosis"]] = NECROSIS
    return volumes, labels


def voxel_mm(shape: tuple[int, int, int]) -> float:
    """Return the edge in mm of the voxels of a volume of this shape: the head fits in, 1 mm at least."""
    return max(1.0, *(extent / (FILL * n) for extent, n in zip(EXTENT_MM, shape, strict=True)))


def _shares(
    rng: np.random.Generator, axes: list[Array], voxel: float, anatomy: Anatomy, tissues: dict[str, Mask]
) -> dict[str, Array]:
    """Return the share of each tissue in each voxel, in the order in which they are laid over each other."""
    shares = dict(anatomy.shares)
    spots = shares.pop("hyperintensity")
    patches = inside(smooth_field(rng, axes, 11.0) - rng.uniform(2.0, 3.2), 0.6) * (anatomy.hemispheres > 6)
    strips = inside(smooth_field(rng, axes, 16.0) - rng.uniform(0.9, 1.8), 0.5) * (anatomy.hemispheres > 0)
    lesions = {
        name: gaussian_filter(mask.astype(float), sigma / voxel)
        for name, mask, sigma in (
            ("oedema", np.any(list(tissues.values()), axis=0), 2.4),
            (
                "non-enhancing",
                tissues["non-enhancing"] | tissues["enhancing"] | tissues["necrosis"],
                1.8,
            ),
            ("enhancing", tissues["enhancing"], 1.2),
            ("necrosis", tissues["necrosis"], 1.4),
        )
    }
    return {
        "chronic lesion": np.maximum(spots, patches),
        **shares,
        "dura": 0.8 * strips * inside(4.0 - anatomy.hemispheres, 2.0),
        **lesions,
    }


def _signals(
    rng: np.random.Generator, axes: list[Array], shares: dict[str, Array], scanner: Scanner
) -> dict[str, Array]:
    """Turn tissues into the four contrasts, with texture and shading; normal brain is about 1."""
    uptake = UPTAKE * scanner.uptake * np.exp(rng.normal(0.0, 0.35))
    leak = smooth_field(rng, axes, 7.0)
    signals = {}
    for index, contrast in enumerate(CONTRASTS):
        mean = {
            name: row[index] * np.exp(rng.normal(0.0, CASE_SPREAD.get(name, 0.05)))
            for name, row in SIGNALS.items()
        }
        signal = mean["white matter"] * np.ones_like(leak)
        for name, share in shares.items():
            value = mean[name]
            if name in TEXTURES:
                spread, size = TEXTURES[name]
                value = value * np.exp(spread * smooth_field(rng, axes, size))
            if name == "enhancing" and contrast == "t1ce":
                value = value * (1 + uptake * np.exp(0.3 * leak))
            signal = signal + share * (value - signal)
        signal = np.clip(signal, 0.05, None) ** scanner.weighting[contrast]
        shading = scanner.shading * smooth_field(rng, axes, 80.0)
        grain = 0.05 * smooth_field(rng, axes, 12.0) + 0.045 * smooth_field(rng, axes, 6.0)
        signals[contrast] = signal * np.exp(shading + grain)
    return signals
