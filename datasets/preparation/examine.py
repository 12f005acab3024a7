"""One case, read completely, with every problem it has: ``examined = examine(case, description)``.

`examine_images` is for a new patient's case, which has no label.

`check` reports the problems; `prepare` goes on with the volumes where there is no error.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Literal

import numpy as np
from nibabel.affines import voxel_sizes

from bench_errors import InputError
from datasets.preparation.find import Case
from datasets.preparation.nifti import Image, orientation, read_nifti, resampled
from datasets.store.store import check_name
from datasets.vocabulary import Description

TOLERANCE = 1e-3
"""Spacings and origins (mm) and direction cosines of a case's files may differ by this much."""

ROUNDING = 1e-3
"""Labels this close to expected ones are refused with the advice to round them.

They are not rounded here: a file of labels that are no whole numbers was resampled or scaled, which is for a
person to look at."""

SMOOTHER = 2.0
"""Voxels that are this many times smoother with the bytes of each the other way round are in the wrong order.

Measured with bytes swapped: 4 to 6 on a real patient's contrasts, 2.9 to 5.3 on phantom heads, 1.4 to 2.3 on
phantom hearts; at most 0.7 on all of them as they should be."""

FLOAT_LIMITS = (1e-30, 1e30)
"""No scanner's intensities have their maximum outside of these, floats in the wrong byte order have."""

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a case: the file it concerns, what was found and expected, what to do."""

    case: str
    severity: Severity
    file: str
    message: str


@dataclass
class Examined:
    """A case with all its files read.

    Attributes:
        case: where the files are.
        images: modality, or `label` -> file, of those that could be read.
        volumes: modality -> float32 [X, Y, Z], of the sound ones.
        label: values of the label file [X, Y, Z], if it is sound.
        prints: modality -> SHA-256 of its voxels, by which duplicates are found.
        problems: all there are.
    """

    case: Case
    images: dict[str, Image] = field(default_factory=dict)
    volumes: dict[str, np.ndarray] = field(default_factory=dict)
    label: np.ndarray | None = None
    prints: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, severity: Severity, file: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(self.case.name, severity, file, message))

    def file(self, name: str) -> str:
        """Return how messages name the file of a modality or the `label`, a shared one with the modality."""
        image = self.images[name]
        path = self.case.relative(image.path)
        return f"{path} ({name})" if list(self.case.files.values()).count(image.path) > 1 else path

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return all(problem.severity != "error" for problem in self.problems)


def examine(case: Case, description: Description) -> Examined:
    """Read every file of a case to learn from, and look for every problem that one case can have."""
    examined = Examined(case)
    for fault in case.faults:
        examined.add("error", case.name, fault)
    try:
        check_name(case.name)
    except InputError as error:
        examined.add("error", ascii(case.name), str(error))
    if case.files or case.label or not case.faults:
        _check_presence(examined, description)
    _read(examined, description)
    return _checked(examined, description)


def examine_images(case: Case, description: Description, resample: bool = False) -> Examined:
    """The same of a new patient's case: whatever images it has, and no label.

    `resample`: bring images that lie on another grid than the first to its grid, and note it.
    """
    examined = Examined(replace(case, label=None))
    for fault in case.faults:
        examined.add("error", case.name, fault)
    _read(examined, description)
    if not (examined.images or examined.problems):
        found = f"found no image, expected one of {', '.join(description.modalities)} at least"
        examined.add("error", case.name, f"{found}: add the files or remove the case")
    if resample:
        _resample(examined)
    return _checked(examined, description)


def _checked(examined: Examined, description: Description) -> Examined:
    """Look for the problems of the files that could be read."""
    _check_grids(examined)
    for name, image in examined.images.items():
        if name != "label":
            _check_volume(examined, name, image)
    if "label" in examined.images:
        _check_label(examined, examined.images["label"], description)
    _check_together(examined)
    return examined


def _check_presence(examined: Examined, description: Description) -> None:
    case = examined.case
    for modality in description.modalities:
        if case.files and modality not in case.files:
            found = f"modality {modality} is missing{case.advice}: the case is used without it"
            examined.add("note", case.expected[modality], found)
    if not case.files:
        found = f"found no modality, expected one of {', '.join(description.modalities)} at least"
        examined.add("error", case.name, f"{found}{case.advice}: add the files or remove the case")
    if case.label is None:
        name = case.expected["label"]
        examined.add(
            "error", name, f"found no label, expected {name}{case.advice}: add it or remove the case"
        )
    for path, other in case.twins:
        examined.add("error", path, f"found both {path} and {other}, expected one: remove the other")


def _read(examined: Examined, description: Description) -> None:
    """Read every file of the case once."""
    case, channels = examined.case, dict(zip(description.modalities, description.channels, strict=False))
    taken: dict[Path, set[int]] = {}
    for name, path in case.files.items():
        taken.setdefault(path, set()).update({channels[name]} if name in channels else ())
    read: dict[Path, Image | None] = {}
    for name, path in {**case.files, **({"label": case.label} if case.label else {})}.items():
        if path not in read:
            try:
                read[path] = _read_file(examined, path, taken.get(path, set()))
            except InputError as error:
                read[path] = None
                examined.add("error", case.relative(path), str(error).removeprefix(f"{path}: "))
        if (image := read[path]) is not None:
            examined.images[name] = image.channel(channels[name]) if name in channels else image


def _read_file(examined: Examined, path: Path, channels: set[int]) -> Image:
    """Read a file, and note which of its volumes along a fourth axis no modality takes."""
    image = read_nifti(path, max(channels, default=-1) + 1)
    if channels and (left := sorted(set(range(image.data.shape[3])) - channels)):
        found = f"found {image.data.shape[3]} volumes along the fourth axis, no modality takes"
        examined.add("note", examined.case.relative(path), f"{found} {', '.join(map(str, left))} (from 0)")
    return image


def _resample(examined: Examined) -> None:
    names = list(examined.images)
    for name in names[1:]:
        image, first = examined.images[name], examined.images[names[0]]
        same = image.data.shape == first.data.shape and np.allclose(image.affine, first.affine, 0, TOLERANCE)
        if not same:
            examined.images[name] = resampled(image, first)
            found, wanted = (
                f"{'x'.join(map(str, i.data.shape))} voxels of "
                f"{'x'.join(f'{edge:.3g}' for edge in voxel_sizes(i.affine))} mm, {orientation(i.affine)}"
                for i in (image, first)
            )
            examined.add("note", examined.file(name), f"resampled from {found}, to {wanted} as {names[0]}")


def _check_grids(examined: Examined) -> None:
    """Report each file whose grid differs from the one most files of the case have."""
    images, within = examined.images, f"within {TOLERANCE:g}"
    _report_odd(examined, "shape", "voxels", {n: np.array(i.data.shape) for n, i in images.items()})
    _report_odd(examined, "spacing", f"mm, {within}", {n: _spacing(i) for n, i in images.items()})
    _report_odd(examined, "origin", f"mm, {within}", {n: i.affine[:3, 3] for n, i in images.items()})
    directions = {n: (i.affine[:3, :3] / voxel_sizes(i.affine)).T.ravel() for n, i in images.items()}
    _report_odd(examined, "direction", f"cosines of the axes, {within}", directions)


def _spacing(image: Image) -> np.ndarray:
    """The header's two statements of the spacing: pixdim, and the length of the affine's columns."""
    return np.array([*image.spacing, *voxel_sizes(image.affine)])


def _report_odd(examined: Examined, what: str, unit: str, values: dict[str, np.ndarray]) -> None:
    """Report the files whose value is not within the tolerance of that of every other file that agrees."""

    def agree(a: str, b: str) -> bool:
        return bool((np.abs(values[a] - values[b]) <= TOLERANCE).all())

    by_support = sorted(values, key=lambda n: -sum(agree(n, other) for other in values))
    kept: list[str] = []
    for name in by_support:
        other = next((k for k in kept if not agree(name, k)), None)
        if other is None:
            kept.append(name)
            continue
        found, expected = (_text(values[n], values[o]) for n, o in ((name, other), (other, name)))
        message = (
            f"{what} {found}, expected {expected} ({unit}) as in {examined.file(other)}: "
            "resample it to the same grid"
        )
        examined.add("error", examined.file(name), message)


def _text(value: np.ndarray, other: np.ndarray) -> str:
    """The first three numbers, of which one at least differs."""
    triples = value.reshape(-1, 3)
    differing = (np.abs(value - other) > TOLERANCE).reshape(-1, 3).any(axis=1)
    return "x".join(f"{number + 0.0:.6g}" for number in triples[int(differing.argmax())])


def _check_volume(examined: Examined, modality: str, image: Image) -> None:
    name = examined.file(modality)
    with np.errstate(over="ignore"):
        volume = image.data.astype(np.float32, copy=False)
    if bad := volume.size - int(np.isfinite(volume).sum()):
        examined.add(
            "error", name, f"found {bad} NaN or infinite voxels, expected none: export the file again"
        )
        return
    low, high = float(volume.min()), float(volume.max())
    if low == high:
        kind = "empty (all voxels are 0)" if low == 0 else f"constant (all voxels are {low:g})"
        examined.add(
            "error", name, f"the volume is {kind}, expected an image: copy it again or remove the file"
        )
        return
    if _looks_swapped(image.data):
        found = "the bytes of the voxels are in the wrong order for what the header says"
        examined.add("error", name, f"{found}: export the file again")
        return
    if low < 0:
        count = int((volume < 0).sum())
        found = f"found {count} negative voxels, down to {low:g}, expected none (resampling leaves some)"
        examined.add("warning", name, f"{found}: nothing to do if they are few and small")
    digest = hashlib.sha256(str(volume.shape).encode())
    digest.update(np.ascontiguousarray(volume.T).data)  # as files order the axes: copies nothing
    if (twin := next((m for m, d in examined.prints.items() if d == digest.hexdigest()), None)) is not None:
        examined.add(
            "error", name, f"the same voxels as modality {twin}, expected another contrast: replace it"
        )
    examined.prints[modality] = digest.hexdigest()
    examined.volumes[modality] = volume


def _looks_swapped(data: np.ndarray) -> bool:
    """Whether voxels have their bytes the other way round than the header says; looks at the middle slice."""
    if data.dtype.kind == "f":
        return not FLOAT_LIMITS[0] < float(np.abs(data).max()) < FLOAT_LIMITS[1]
    plane = data[..., data.shape[2] // 2]
    return _roughness(plane) > SMOOTHER * _roughness(plane.byteswap())


def _roughness(plane: np.ndarray) -> float:
    """Mean absolute difference of neighbours along both axes, in standard deviations; 0 if all are equal."""
    plane = plane.astype(np.float64)
    steps = [np.abs(np.diff(plane, axis=axis)).mean() for axis in (0, 1) if plane.shape[axis] > 1]
    return float(sum(steps) / scale) if (scale := plane.std()) else 0.0


def _check_label(examined: Examined, image: Image, description: Description) -> None:
    name, values = examined.file("label"), image.data
    if bad := values.size - int(np.isfinite(values).sum()):
        examined.add(
            "error", name, f"found {bad} NaN or infinite voxels, expected labels: export the file again"
        )
        return
    known = np.zeros(values.shape, dtype=bool, order="F")
    for value in description.file_labels:
        known |= values == value
    if not known.all():
        others, counts = np.unique(values[~known], return_counts=True)
        found = ", ".join(f"{o!s} ({c} voxels)" for o, c in zip(others[:5], counts[:5], strict=True))
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        expected = ", ".join(map(str, description.file_labels))
        nearest = np.abs(others[:, None] - np.array(list(description.file_labels))).min(axis=1)
        advice = (
            "round them and save them as whole numbers"
            if (nearest < ROUNDING).all()
            else "map them to these, or choose another --dataset"
        )
        examined.add("error", name, f"found label {found}{more}, expected {expected}: {advice}")
        return
    examined.label = values
    if not values.any():
        examined.add("note", name, "found no labelled voxel, expected some: every region counts as absent")


def _check_together(examined: Examined) -> None:
    """What needs volumes of one grid: is there tissue, does each contrast show it, is the label in it?"""
    arrays = list(examined.volumes.values())
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        return
    tissue = sum_of(arrays) > 0
    if not tissue.any():
        found = "found no voxel where the sum of the modalities is positive, expected tissue"
        examined.add("error", examined.case.name, f"{found}: are the intensities shifted?")
        return
    for modality, volume in examined.volumes.items():
        inside = volume[tissue]
        if inside.min() == inside.max():
            found = f"the volume is constant ({inside[0]:g}) wherever there is tissue, expected an image"
            examined.add("error", examined.file(modality), f"{found}: copy it again")
    if examined.label is not None and examined.label.shape in shapes:
        outside = examined.label != 0
        for array in arrays:
            outside &= array == 0
        if count := int(outside.sum()):
            file = examined.file("label")
            found = f"found {count} labelled voxels outside the brain (all modalities are 0), expected none"
            examined.add("warning", file, f"{found}: look at the label over the images")


def sum_of(arrays: list[np.ndarray]) -> np.ndarray:
    """Return the sum of the volumes, which is positive in tissue."""
    return reduce(np.add, arrays)
