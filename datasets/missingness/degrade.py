"""Poor quality instead of absence: what a volume looks like that was acquired badly.

    poor = degrade(volume, background, Degradation("noise", 2), generator(seed, "degrade", 0, case))
    store = DegradedStore.of(store, table.degraded, folder)       # a study with such volumes among others

A degradation acts on the whole volume of a case, so it is the same for every crop and epoch, and what it
draws (axis, direction, phase) is the same at its three severities. It works on magnitudes, where the
background is 0 (tissue on both sides of its background, of images that were normalised before, is moved above
it), and leaves the background as it is (a brain is stripped after its acquisition); then the tissue gets back
the mean and standard deviation it had, as if the poor file had been prepared like others.

| kind | what | severities 1, 2, 3 |
|---|---|---|
| noise | Rician noise | standard deviation 0.25, 0.5, 1 of the tissue's |
| ghosts | two ghosts along a phase-encoding axis, by periodic motion | 0.15, 0.3, 0.6 of the volume |
| bias | multiplied with exp(polynomial of degree 3) | coefficients within 0.15, 0.3, 0.6 |
| lowres | slices merged along one axis | 2, 4, 8 voxels |
| spike | stripes of one wrong point in k-space | amplitude 0.5, 1, 2 of the tissue's standard deviation |
| slab | the tissue cut off from one end of an axis | 1/5, 2/5, 3/5 of its extent |

Noise, bias, resampling and spike are MONAI's transforms; ghosts are built in `_ghosts`, as MONAI has none.
To make a volume takes too long to do at every crop, so `DegradedStore` makes each once and keeps it on disk.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench_errors import InputError
from bench_registry import unknown
from datasets.randomness import generator
from datasets.store.store import Store

SEVERITIES = (1, 2, 3)
SEED = 1037
"""Of all draws of a degradation: like a profile's table, it is the same for the seeds of a method."""
STRENGTHS: dict[str, tuple[float, float, float]] = {
    "noise": (0.25, 0.5, 1.0),
    "ghosts": (0.15, 0.3, 0.6),
    "bias": (0.15, 0.3, 0.6),
    "lowres": (2, 4, 8),
    "spike": (0.5, 1.0, 2.0),
    "slab": (0.2, 0.4, 0.6),
}
KINDS = tuple(STRENGTHS)
TOLERANCE = 1e-3
"""Voxels this close to the background, in standard deviations, are background."""

SIGNED = 0.1
"""Share of the tissue below the background that tells an image which was normalised before; resampling leaves
far less."""

Volume = NDArray[np.float32]


@dataclass(frozen=True, order=True)
class Degradation:
    """A kind and a severity, 1 to 3; written ``noise-2``."""

    kind: str
    severity: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.severity}"

    @classmethod
    def parse(cls, text: str) -> "Degradation":
        """Inverse of `str`; `InputError` for anything else."""
        kind, _, severity = text.partition("-")
        if kind not in KINDS:
            raise InputError(unknown("degradation", kind, list(KINDS)))
        if severity not in map(str, SEVERITIES):
            raise InputError(f"found '{text}', expected a severity of 1, 2 or 3: write {kind}-2, say")
        return cls(kind, int(severity))


def degrade(
    volume: Volume,
    background: float,
    degradation: Degradation,
    random: np.random.Generator,
    spatial_dims: int = 3,
) -> Volume:
    """Return a degraded copy of a prepared volume.

    Args:
        volume: float32 [*space], normalised.
        background: the value that stands for no signal.
        degradation: what to do.
        random: where its draws come from.
        spatial_dims: 2 keeps to the axes of a slice.
    """
    strength = STRENGTHS[degradation.kind][degradation.severity - 1]
    signal = volume - np.float32(background)
    tissue = np.abs(signal) > TOLERANCE
    if degradation.kind == "slab":
        return np.where(_covered(tissue, strength, random, spatial_dims), volume, np.float32(background))
    if np.count_nonzero(signal[tissue] < 0) > SIGNED * np.count_nonzero(tissue):
        # No magnitudes yet: the darkest voxels, like those of magnitudes, lie at the background.
        signal[tissue] -= np.percentile(signal[tissue], 1)
    before = volume[tissue]
    signal /= before.std() or 1  # strengths are in deviations of the tissue, whatever the study's intensities
    after = _ACTIONS[degradation.kind](signal, strength, random, spatial_dims)[tissue]
    result = np.full_like(volume, background)
    result[tissue] = (after - after.mean()) / (after.std() or 1) * before.std() + before.mean()
    return result


def degraded_volume(store: Store, case: str, m: int, degradation: Degradation) -> Volume:
    """Return modality `m` of a case of `store`, which has it, degraded: float32 [*space]."""
    record, description = store.record(case), store.description
    mean, std, background = record.mean[m], record.std[m], record.background[m]
    if mean is None or std is None or background is None:
        raise ValueError(f"{case} has no {description.modalities[m]} to degrade")
    key = f"{case} {description.modalities[m]} {degradation.kind}"
    return degrade(
        np.array(store.volumes(case)[m]),
        float((np.float32(background) - np.float32(mean)) / np.float32(std)),
        degradation,
        generator(SEED, "degrade", 0, key),
        description.spatial_dims,
    )


@dataclass(frozen=True)
class DegradedStore(Store):
    """A store of which some volumes are degraded.

    Attributes:
        degraded: (case, modality) -> what is done to it.
        cache: folder that keeps degraded volumes, one file each, written when it is first asked for.
    """

    degraded: Mapping[tuple[str, str], Degradation] = field(kw_only=True)
    cache: Path = field(kw_only=True)

    @classmethod
    def of(
        cls, store: Store, degraded: Mapping[tuple[str, str], Degradation], cache: Path
    ) -> "DegradedStore":
        """Return `store` with the volumes in `degraded` replaced."""
        return cls(**{f.name: getattr(store, f.name) for f in fields(store)}, degraded=degraded, cache=cache)

    def volumes(self, case: str) -> Any:
        """Return the volumes [M, *space], read from disk where they are indexed."""
        stored = super().volumes(case)
        named = {m: self.degraded.get((case, name)) for m, name in enumerate(self.description.modalities)}
        replaced = {m: self._made(case, m, what) for m, what in named.items() if what}
        return _Replaced(stored, replaced) if replaced else stored

    def _made(self, case: str, m: int, degradation: Degradation) -> Volume:
        path = self.cache / case / f"{self.description.modalities[m]}-{degradation}.npy"
        if not path.exists():
            clean = Store(**{f.name: getattr(self, f.name) for f in fields(Store)})
            volume = degraded_volume(clean, case, m, degradation)
            temporary = path.with_suffix(f".{os.getpid()}")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    np.save(file, volume)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
        return np.load(path, mmap_mode="r")


class _Replaced:
    """Volumes [M, *space] of which some modalities are taken from elsewhere; indexed like an array."""

    def __init__(self, stored: Any, replaced: Mapping[int, Volume]):
        self._stored, self._replaced = stored, replaced
        self.shape = stored.shape

    def __getitem__(self, index: Any) -> Any:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(first, int | np.integer):
            volume = self._replaced.get(int(first))
            return self._stored[index] if volume is None else volume[tuple(rest)]
        if first is not Ellipsis and first != slice(None):
            raise TypeError(f"volumes are indexed by one modality or by all of them, not by {first}")
        result = np.array(self._stored[index])
        for m, volume in self._replaced.items():
            result[m] = volume[index if first is Ellipsis else tuple(rest)]
        return result

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def _noise(signal: Volume, strength: float, random: np.random.Generator, dims: int) -> Volume:
    from monai.transforms import RandRicianNoise

    return _drawn(RandRicianNoise(prob=1, std=strength, sample_std=False), signal, random)


def _bias(signal: Volume, strength: float, random: np.random.Generator, dims: int) -> Volume:
    from monai.transforms import RandBiasField

    return _drawn(RandBiasField(prob=1, degree=3, coeff_range=(-strength, strength)), signal, random)


def _lowres(signal: Volume, strength: float, random: np.random.Generator, dims: int) -> Volume:
    """A thick slice shows the mean over its thickness; between slices it is interpolated linearly."""
    from monai.transforms import Resize

    axis = random.integers(dims)
    thick = tuple(-(-n // int(strength)) if i == axis else n for i, n in enumerate(signal.shape))
    return _apply(Resize(signal.shape, mode="trilinear"), _apply(Resize(thick, mode="area"), signal))


def _spike(signal: Volume, strength: float, random: np.random.Generator, dims: int) -> Volume:
    """A point of magnitude A in k-space adds stripes of amplitude A / voxels."""
    from monai.transforms import KSpaceSpikeNoise

    shape = np.array(signal.shape)
    offset = random.uniform(1 / 16, 1 / 5, size=3) * random.choice([-1, 1], size=3) * shape
    offset[dims:] = 0
    place = tuple(int(i) for i in shape // 2 + offset.astype(int))
    return np.abs(_apply(KSpaceSpikeNoise(place, float(np.log(strength * signal.size))), signal))


def _ghosts(signal: Volume, strength: float, random: np.random.Generator, dims: int) -> Volume:
    """Periodic motion modulates the lines of k-space along the phase-encoding axis (Wood and Henkelman 1985).

    With lines multiplied by 1 + 2 a cos(2 pi k d / N + phi), the volume gets two ghosts of intensity a, d
    voxels to both sides, of phases phi and -phi; what leaves the field of view comes in at its other end.
    """
    axis = int(random.integers(2))
    length = signal.shape[axis]
    distance = max(length // int(random.integers(3, 7)), 1)
    # Near 90 degrees the ghosts would hardly show in the magnitude.
    phase = random.uniform(-np.pi / 4, np.pi / 4) + np.pi * random.integers(2)
    frequency = np.fft.fftfreq(length).astype(np.float32)
    modulation = 1 + 2 * strength * np.cos(2 * np.pi * frequency * distance + phase).astype(np.float32)
    lines = np.fft.fft(signal, axis=axis) * np.moveaxis(modulation[:, None, None], 0, axis)
    return np.abs(np.fft.ifft(lines, axis=axis)).astype(np.float32)


_ACTIONS: dict[str, Callable[[Volume, float, np.random.Generator, int], Volume]] = {
    "noise": _noise,
    "bias": _bias,
    "lowres": _lowres,
    "spike": _spike,
    "ghosts": _ghosts,
}


def _covered(tissue: NDArray[np.bool_], share: float, random: np.random.Generator, dims: int) -> Any:
    """Where the field of view still is: bool, with one axis of the volume's length and the others 1."""
    axis, from_start = int(random.integers(dims)), random.random() < 0.5
    along = np.arange(tissue.shape[axis])
    indices = np.flatnonzero(tissue.any(axis=tuple(a for a in range(3) if a != axis)))
    start, end = int(indices[0]), int(indices[-1]) + 1
    lost = round(share * (end - start))
    inside = along >= start + lost if from_start else along < end - lost
    return np.moveaxis(inside[:, None, None], 0, axis)


def _drawn(transform: Any, signal: Volume, random: np.random.Generator) -> Volume:
    return _apply(transform.set_random_state(seed=int(random.integers(2**32))), signal)


def _apply(transform: Any, signal: Volume) -> Volume:
    import torch

    return np.asarray(transform(torch.from_numpy(signal)[None]))[0]
