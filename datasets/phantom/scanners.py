"""Three hospitals with their scanners: what else than the patient decides how an image looks.

    scanner = SCANNERS[hospital_of(seed=0, case="Phantom2_001")]
    image = scanner.blurred(signal, "flair", voxel=2.0)

Slices as they are acquired: where FLAIR or T2 are read out in thick slices, details are lost along z.
"""

from dataclasses import dataclass

from scipy.ndimage import gaussian_filter

from datasets.phantom.fields import Array
from datasets.randomness import generator

FWHM = 2.355
"""Full width at half maximum of a Gaussian, over its deviation."""


@dataclass(frozen=True)
class Scanner:
    """A hospital's scanner and protocol; values by contrast are in the order of FLAIR, T1ce, T1, T2.

    Attributes:
        frequency: the hospital's share of the cases.
        slices: contrast -> thickness of its slices in mm.
        weighting: contrast -> power that signals are raised to: above 1 tissues differ more than usual.
        uptake: signal that contrast agent adds, over the usual one (dose, and the time that passes).
        noise: range of the deviation of noise, where normal brain is about 1.
        shading: deviation of the logarithm of the coil's sensitivity.
    """

    frequency: float
    slices: dict[str, float]
    weighting: dict[str, float]
    uptake: float
    noise: tuple[float, float]
    shading: float

    def blurred(self, signal: Array, contrast: str, voxel: float) -> Array:
        """Return a signal [X, Y, Z] as slices of this thickness show it, on voxels of an edge in mm."""
        thick = self.slices[contrast] / FWHM / voxel
        plane = 1.2 / FWHM / voxel
        return gaussian_filter(signal, (plane, plane, thick))


SCANNERS = {
    "north": Scanner(  # 3 T, everything in 3-D
        frequency=0.45,
        slices={"flair": 1.5, "t1ce": 1.0, "t1": 1.0, "t2": 1.5},
        weighting={"flair": 1.00, "t1ce": 1.05, "t1": 1.10, "t2": 1.00},
        uptake=1.10,
        noise=(0.05, 0.075),
        shading=0.13,
    ),
    "south": Scanner(  # 1.5 T, thick slices but for T1 with contrast
        frequency=0.33,
        slices={"flair": 5.0, "t1ce": 1.5, "t1": 5.0, "t2": 5.0},
        weighting={"flair": 0.90, "t1ce": 0.90, "t1": 0.85, "t2": 1.10},
        uptake=0.85,
        noise=(0.04, 0.065),
        shading=0.08,
    ),
    "west": Scanner(  # 3 T, an old coil, T1 by spin echo
        frequency=0.22,
        slices={"flair": 3.0, "t1ce": 3.0, "t1": 3.0, "t2": 3.0},
        weighting={"flair": 1.10, "t1ce": 0.80, "t1": 0.70, "t2": 0.90},
        uptake=1.00,
        noise=(0.07, 0.105),
        shading=0.18,
    ),
}
"""By hospital, which the paths of a study's files tell."""


def hospital_of(seed: int, case: str) -> str:
    """Return the hospital that a case is from."""
    shares = [scanner.frequency for scanner in SCANNERS.values()]
    return str(generator(seed, "phantom2 hospital", 0, case).choice(list(SCANNERS), p=shares))
