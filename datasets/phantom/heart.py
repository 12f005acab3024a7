"""A synthetic heart with an infarct in three MRI contrasts: a short-axis stack with the labels of MyoPS.

    volumes, labels = heart((192, 192, 5), seed=0, case="101")

In the plane the view is always 190 mm wide, the heart in its middle; slices go from base to apex, 12 mm
apart. x runs to the patient's left, y to the back.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from datasets.phantom.fields import Array, inside, scanned, slab, smooth_field
from datasets.randomness import generator

VIEW_MM = 190.0
SLICE_MM = 12.0
MYOCARDIUM, LV_BLOOD, RV_BLOOD, OEDEMA, SCAR = 200, 500, 600, 1220, 2221

CONTRASTS = ("bssfp", "lge", "t2")
SIGNALS = {
    "mediastinum": (0.55, 0.45, 0.30),
    "lung": (0.12, 0.14, 0.10),
    "chest wall": (0.95, 0.75, 0.25),
    "liver": (0.42, 0.34, 0.28),
    "pericardial fat": (1.00, 0.70, 0.22),
    "RV wall": (0.45, 0.22, 0.38),
    "blood": (1.00, 0.62, 0.30),
    "slow flow": (1.00, 0.62, 0.56),
    "myocardium": (0.46, 0.18, 0.40),
    "oedema": (0.54, 0.26, 0.68),
    "scar": (0.50, 0.90, 0.62),
}
"""Mean signal of each tissue in the order of `CONTRASTS`.

bSSFP: bright blood against grey muscle; LGE: nulled muscle, bright scar beside bright blood; T2 (black blood,
fat suppressed): bright oedema, but also slow blood along the inner wall. Cases vary around these.
"""


@dataclass
class Infarct:
    """An infarct as a sector of the left ventricle: angles in radians, depth as a share of 1 from inside."""

    angle: float
    half_width: float
    level: float
    reach: float
    scar_width: float
    scar_depth: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Infarct":
        """Draw one in the territory of one of the three coronary arteries (front, side, back)."""
        territory = rng.choice([-0.6, 0.15, 0.65], p=[0.5, 0.2, 0.3]) * np.pi
        return cls(
            angle=territory + rng.normal(0.0, 0.15),
            half_width=rng.uniform(0.5, 1.2),
            level=rng.uniform(0.2, 0.8),
            reach=rng.uniform(0.5, 0.9),
            scar_width=rng.uniform(0.55, 0.85),
            scar_depth=rng.uniform(0.4, 1.0),
        )


def heart(
    shape: tuple[int, int, int], seed: int, case: str
) -> tuple[dict[str, NDArray[np.int16]], NDArray[np.int16]]:
    """Draw one patient: three int16 volumes by contrast (above 0 everywhere) and the labels of MyoPS."""
    voxel = VIEW_MM / shape[0]
    axes = [
        (np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, (voxel, voxel, SLICE_MM), strict=True)
    ]
    rng = generator(seed, "phantom heart", 0, case)
    shares, labels = _anatomy(rng, axes, voxel)
    signals = _signals(generator(seed, "phantom heart signals", 0, case), axes, shares)
    rng = generator(seed, "phantom heart noise", 0, case)
    return {contrast: scanned(rng, signal) for contrast, signal in signals.items()}, labels


def _anatomy(
    rng: np.random.Generator, axes: list[Array], voxel: float
) -> tuple[dict[str, Array], NDArray[np.int16]]:
    """Draw the chest: tissue -> share of the voxel, laid over each other in this order, and the labels."""
    infarct = Infarct.draw(rng)
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    depth = np.linspace(0.0, 1.0, len(axes[2]) + 2)[1:-1]
    bend = [3.0 * smooth_field(rng, axes, 40.0) for _ in range(2)]
    x = grid[0] + bend[0] - rng.normal(4.0, 3.0) - rng.normal(6.0, 3.0) * depth
    y = grid[1] + bend[1] - rng.normal(0.0, 4.0) - rng.normal(3.0, 3.0) * depth
    fine = smooth_field(rng, axes, 9.0)

    cavity = rng.uniform(20.0, 29.0) * (1 - 0.55 * depth**1.5)
    radius = np.hypot(x * rng.uniform(0.92, 1.08), y) + 1.0 * fine
    angle = np.arctan2(y, x)
    wall = rng.uniform(8.0, 11.5) * (1 + 0.08 * smooth_field(rng, axes, 20.0))
    lv, epicardium = cavity - radius, cavity + wall - radius
    size = rng.uniform(0.85, 1.1) * (1 - 0.5 * depth)
    rv_norm = np.hypot((x + 26.0) / 30.0, (y + 9.0) / 36.0) / size
    rv = np.minimum((1 - rv_norm) * 30.0 * size + fine, -epicardium - 0.5)
    rv_outside = (1 - rv_norm) * 30.0 * size + fine + 3.0
    around = np.maximum(epicardium, rv_outside)
    papillary = np.max(
        [4.5 - np.hypot(x - 0.62 * cavity * np.cos(a), y - 0.62 * cavity * np.sin(a)) for a in (-0.6, 1.5)],
        axis=0,
    )

    taper = np.sqrt(np.clip(1 - ((depth - infarct.level) / infarct.reach) ** 2, 0, None))
    apart = np.abs((angle - infarct.angle + np.pi) % (2 * np.pi) - np.pi)
    apart = apart + 0.12 * smooth_field(rng, axes, 7.0)
    muscle = (epicardium > 0) & (lv <= 0)
    oedema = muscle & (apart < infarct.half_width * taper)
    layer = -lv / wall + 0.15 * smooth_field(rng, axes, 8.0)
    scar = oedema & (apart < infarct.half_width * taper * infarct.scar_width) & (layer < infarct.scar_depth)

    labels = np.zeros(muscle.shape, np.int16)
    labels[rv > 0] = RV_BLOOD
    labels[lv > 0] = LV_BLOOD
    labels[muscle] = MYOCARDIUM
    labels[oedema] = OEDEMA
    labels[scar] = SCAR

    across, along = grid[0] + bend[0] * 1.5, grid[1] + bend[1] * 1.5
    left_lung = 52.0 - np.hypot((across - 88.0) / 0.75, (along - 5.0) / 1.3)
    right_lung = 40.0 - np.hypot((across + 105.0) / 0.8, (along + 10.0) / 1.4)
    liver = 45.0 - np.hypot(across + 60.0, (along - 75.0) / 0.8)
    aorta = 10.0 - np.hypot(across - 25.0, along - 72.0)
    soft = max(1.5, voxel)
    edge = (0.9 / voxel, 0.9 / voxel, 0.0)
    cavity_share = inside(np.maximum(np.minimum(lv, -papillary), rv), soft)
    shares = {
        "lung": inside(np.maximum(left_lung, right_lung), soft),
        "liver": inside(liver, soft),
        "chest wall": inside(-72.0 - along + 4.0 * fine, soft) * (0.7 + 0.3 * np.tanh(2 * fine)),
        "pericardial fat": inside(around + 5.0 + 3.0 * fine, soft),
        "RV wall": inside(rv_outside, soft),
        "myocardium": inside(epicardium, soft),
        "blood": np.maximum(cavity_share, inside(aorta, soft)),
        "slow flow": cavity_share * slab(np.maximum(lv, rv) - 1.5, 2.0, soft) * inside(fine, 1.0),
        "oedema": gaussian_filter(oedema.astype(float), edge) * (0.9 + 0.1 * np.tanh(fine)),
        "scar": gaussian_filter(scar.astype(float), edge) * (0.9 + 0.1 * np.tanh(fine)),
    }
    return shares, labels


def _signals(rng: np.random.Generator, axes: list[Array], shares: dict[str, Array]) -> dict[str, Array]:
    """Turn tissues into the three contrasts, with texture and coil shading; blood is about 1 in bSSFP."""
    tissue = 1 + 0.04 * smooth_field(rng, axes, 5.0)
    signals = {}
    for index, contrast in enumerate(CONTRASTS):
        mean = {name: row[index] * np.exp(rng.normal(0.0, 0.07)) for name, row in SIGNALS.items()}
        mean["slow flow"] = mean["blood"] * SIGNALS["slow flow"][index] / SIGNALS["blood"][index]
        signal = mean["mediastinum"] * (1 + 0.25 * smooth_field(rng, axes, 12.0))
        for name, share in shares.items():
            signal += share * (mean[name] * tissue - signal)
        signals[contrast] = signal * np.exp(0.15 * smooth_field(rng, axes, 90.0))
    return signals
