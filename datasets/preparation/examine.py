"""One case, read completely, with every problem it has: ``examined = examine(case, description)``.

`examine_images` is for a new patient's case, which has no label.

`check` reports the problems; `prepare` goes on with the volumes where there is no error.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bench_errors import InputError
from datasets.preparation.crop import CENTRAL, box_rule, scaling, slice_box
from datasets.preparation.find import Case
from datasets.preparation.head import NEGATIVE, Head, find_head, masked
from datasets.preparation.nifti import SILENT, STORED, Image, read_nifti, turned
from datasets.preparation.regrid import regrid
from datasets.preparation.voxel_grids import APART, disagreement, odd_grids
from datasets.store.store import check_name
from datasets.vocabulary import Description, Slices, is_spacing

ROUNDING = 1e-3
"""Labels this close to expected ones are refused with the advice to round them.

They are not rounded here: a file of labels that are no whole numbers was resampled or scaled, which is for a
person to look at."""

SMOOTHER = 2.0
"""Voxels that are this many times smoother with the bytes of each the other way round are in the wrong order.

Measured with bytes swapped: 4 to 6 on a real patient's contrasts, 2.9 to 5.3 on phantom heads, 1.4 to 2.3 on
phantom hearts; at most 0.7 on all of them as they should be."""

MASK = 0.5
"""A mask is head above this."""

FAR = 10.0
"""Voxels this many standard deviations from the mean decide a z-score alone where they make half of the
variance. Real heads have some as far away, too few to matter; in PET of a body, a full bladder is enough."""

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
        images: modality, `label` or `mask` -> file, of those that could be read.
        first: the first of them as it lay before it was brought to voxels of mm; its data are nothing.
        volumes: modality -> float32 [X, Y, Z], of the sound ones; background outside the study's mask.
        label: values of the label file [X, Y, Z], if it is sound.
        head: of the volumes; None where they are on several grids, or show none.
        prints: modality -> SHA-256 of its voxels, by which duplicates are found.
        problems: all there are.
    """

    case: Case
    images: dict[str, Image] = field(default_factory=dict)
    first: Image | None = None
    volumes: dict[str, np.ndarray] = field(default_factory=dict)
    label: np.ndarray | None = None
    head: Head | None = None
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

    def files(self, names: Iterable[str]) -> str:
        """Return how messages name several of them: the first, and how many there are beside it."""
        files = list(dict.fromkeys(self.case.relative(self.images[name].path) for name in names))
        return files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else "")

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return all(problem.severity != "error" for problem in self.problems)


def examine(case: Case, description: Description, labelled: bool = True) -> Examined:
    """Read every file of a case to learn from, and look for every problem that one case can have.

    `labelled`: whether it is to have a label; False leaves one that is there alone.
    """
    examined = Examined(case if labelled else replace(case, label=None))
    _check_place(examined)
    if case.files or case.label or not case.faults:
        _check_presence(examined, description, labelled)
    _read(examined, description)
    _check_orientations(examined, description)
    _check_headers(examined)
    _resample(examined, description.grid, description)
    _checked(examined, description, description.grid)
    _note_negatives(examined)
    _check_slices(examined, description)
    return examined


def examine_images(case: Case, description: Description, resample: bool = False) -> Examined:
    """The same of a new patient's case: whatever images it has, and no label.

    `resample`: bring images that lie on another grid than the first to its grid, and note it, where the
    description names no grid.
    """
    examined = Examined(replace(case, label=None))
    _check_place(examined)
    _check_mask(examined)
    _read(examined, description)
    if not (case.files or examined.problems):
        found = f"found no image, expected one of {', '.join(description.modalities)} at least"
        examined.add("error", case.name, f"{found}: add the files or remove the case")
    first = next(iter(examined.images), "")
    grid = description.grid or first * resample
    _check_headers(examined)
    _resample(examined, grid, description)
    return _checked(examined, description, grid)


def _checked(examined: Examined, description: Description, resampled_to: str) -> Examined:
    """Look for the problems of the files that could be read.

    `resampled_to`: the grid that they were brought to; what still lies on another has told why.
    """
    for name, other, differs in () if resampled_to else odd_grids(examined.images):
        silent = [one for one in (name, other) if not examined.images[one].orientation]
        advice = (
            f"the header of {examined.file(silent[0])} {SILENT}: write the codes"
            if len(silent) == 1
            else "resample it to the same grid, or let --resample do it"
        )
        examined.add("error", examined.file(name), f"{differs} as in {examined.file(other)}: {advice}")
    for name, image in examined.images.items():
        if name in description.modalities:
            _check_volume(examined, name, image, description)
    if "label" in examined.images:
        _check_label(examined, examined.images["label"], description)
    _check_together(examined, description)
    return examined


def _check_place(examined: Examined) -> None:
    for fault in examined.case.faults:
        examined.add("error", examined.case.name, fault)
    try:
        check_name(examined.case.name)
    except InputError as error:
        examined.add("error", ascii(examined.case.name), str(error))


def _check_mask(examined: Examined) -> None:
    if (name := examined.case.expected.get("mask")) and examined.case.mask is None:
        examined.add("error", name, f"found no mask, expected {name}: add it or remove the case")


def _check_presence(examined: Examined, description: Description, labelled: bool) -> None:
    case = examined.case
    for modality in description.modalities:
        if case.files and modality not in case.files:
            found = f"modality {modality} is missing{case.advice}: the case is used without it"
            examined.add("note", case.expected[modality], found)
    if not case.files:
        found = f"found no modality, expected one of {', '.join(description.modalities)} at least"
        examined.add("error", case.name, f"{found}{case.advice}: add the files or remove the case")
    if labelled and case.label is None:
        name = case.expected["label"]
        examined.add(
            "error", name, f"found no label, expected {name}{case.advice}: add it or remove the case"
        )
    _check_mask(examined)
    for path, other in case.twins:
        examined.add("error", path, f"found both {path} and {other}, expected one: remove the other")


def _read(examined: Examined, description: Description) -> None:
    """Read every file of the case once."""
    case, channels = examined.case, dict(zip(description.modalities, description.channels, strict=False))
    taken: dict[Path, set[int]] = {}
    for name, path in case.files.items():
        taken.setdefault(path, set()).update({channels[name]} if name in channels else ())
    read: dict[Path, Image | None] = {}
    for name, path in case.paths.items():
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


def _resample(examined: Examined, grid: str, description: Description) -> None:
    """Bring all files to one grid, as `regrid` does; what is unsound is told of the file as it is."""

    def sound(name: str, data: np.ndarray) -> bool:
        swapped = name in description.modalities and _looks_swapped(data)
        return bool(np.isfinite(data).all()) and not swapped

    if is_spacing(grid) and examined.images:
        first = next(iter(examined.images.values()))
        examined.first = replace(first, data=np.broadcast_to(np.uint8(0), first.data.shape))
    for name, severity, message in regrid(examined.images, grid, description, sound):
        examined.add(severity, examined.file(name), message)


def _check_orientations(examined: Examined, description: Description) -> None:
    """Warn of headers that do not say how the head lies."""
    if silent := [name for name, image in examined.images.items() if not image.orientation]:
        name, first = next(iter(examined.images.items()))
        told = f"{first.orientation}, as {examined.file(name)} lies" if first.orientation else ""
        taken = told or f"{STORED}, as BraTS lies" if description.spatial_dims == 3 else "it lies"
        found = "the header does not say how the head lies (the codes of qform and sform are 0)"
        advice = f"it is taken as {taken}: look at it, and write the codes"
        examined.add("warning", examined.files(silent), f"{found}: {advice}")


def _check_headers(examined: Examined) -> None:
    """Warn of headers that say two things of where the voxels lie."""
    apart = {name: disagreement(image) for name, image in examined.images.items()}
    if odd := [name for name in apart if apart[name] > APART]:
        found = f"qform, or pixdim, and sform of the header disagree by {max(apart.values()):.3g} mm"
        advice = "sform is used here, other programs read the other: write both alike"
        examined.add("warning", examined.files(odd), f"{found}: {advice}")


def _check_volume(examined: Examined, modality: str, image: Image, description: Description) -> None:
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
    held = image.orientation or STORED
    same_way = turned(volume, held, STORED) if description.spatial_dims == 3 else volume
    digest = hashlib.sha256(str(same_way.shape).encode())
    digest.update(np.ascontiguousarray(same_way.T).data)  # as files order the axes: mostly copies nothing
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


def _check_together(examined: Examined, description: Description) -> None:
    """What needs volumes of one grid: is there a head, does each contrast show it, is the label in it?"""
    if examined.case.expected.get("mask") and "mask" not in examined.images:
        return
    mask = examined.images["mask"].data > MASK if "mask" in examined.images else None
    shapes = {volume.shape for volume in examined.volumes.values()}
    if len(shapes | ({mask.shape} if mask is not None else set())) != 1:
        return
    if mask is not None and not mask.any():
        found = f"found no voxel above {MASK:g}, expected the head"
        examined.add("error", examined.file("mask"), f"{found}: make the mask again")
        return
    # In the order of training: sums of floats depend on it.
    volumes = {m: examined.volumes[m] for m in description.modalities if m in examined.volumes}
    head = find_head(volumes, description, mask)
    if not head.tissue.any():
        found = "found no voxel where the sum of the modalities is positive, expected tissue"
        examined.add("error", examined.case.name, f"{found}: are the intensities shifted?")
        return
    examined.head = head
    for modality, volume in volumes.items():
        if mask is not None:
            examined.volumes[modality] = masked(volume, head, modality)
        needed = description.normalisation(modality).needs_head and mask is None and not description.whole
        if not needed or description.background is not None or _check_background(examined, head, modality):
            _check_intensities(examined, head, modality, description)
    if examined.label is not None and examined.label.shape in shapes:
        outside = examined.label != 0
        for inside in examined.volumes.values() if head.as_released else [head.tissue]:
            outside &= inside == 0
        if count := int(outside.sum()):
            file = examined.file("label")
            found = f"found {count} labelled voxels outside the brain (all modalities are 0), expected none"
            found = found if head.as_released else f"found {count} labelled voxels outside the head"
            examined.add("warning", file, f"{found}: look at the label over the images")


def _check_background(examined: Examined, head: Head, modality: str) -> bool:
    """Look whether head and background can be told apart where nothing is said of them; False if not."""
    file, share, value = examined.file(modality), head.negative[modality], head.told[modality]
    if share > NEGATIVE:
        found = f"found {share:.0%} of the voxels negative, as in images that were normalised before"
        if value is None:
            advice = "name mask, background or normalise in a YAML file of the dataset, or give other images"
            message = f"{found}, and no common value at the faces, so that head and background are alike"
            examined.add("error", file, f"{message}: {advice}")
            return False
        advice = "name mask or background in a YAML file of the dataset if that is wrong"
        examined.add("warning", file, f"{found}; what is not {value:g}, as the faces are, is head: {advice}")
    elif value:
        advice = "name the background in a YAML file of the dataset, or give images that are 0 there"
        examined.add("warning", file, f"the background is {value:g}, as the faces are, expected 0: {advice}")
    return True


def _note_negatives(examined: Examined) -> None:
    """Warn of the few negative voxels that resampling leaves in images that are 0 outside the head."""
    if examined.head is not None and examined.head.as_released:
        for modality, volume in examined.volumes.items():
            if (low := volume.min()) < 0:
                found = f"found {int((volume < 0).sum())} negative voxels, down to {low:g}, expected none"
                message = f"{found} (resampling leaves some): nothing to do if they are few and small"
                examined.add("warning", examined.file(modality), message)


def _check_slices(examined: Examined, description: Description) -> None:
    """Say what the middle of slices leaves out, unless the description says what is kept of them."""
    head, label = examined.head, examined.label
    if head is None or box_rule(description) != CENTRAL or description.slices:
        return
    window = tuple(slice(start, end) for start, end in slice_box(head.tissue.shape))

    def outside(array: np.ndarray) -> int:
        return int(np.count_nonzero(array) - np.count_nonzero(array[window]))

    labelled = outside(label) if label is not None else 0
    share = outside(head.tissue) / np.count_nonzero(head.tissue)
    if labelled or share:
        labels = f"{labelled} labelled voxels and " if label is not None else ""
        middle = f"the middle {Slices.edge}x{Slices.edge} voxels of slices, which alone are kept"
        found = f"found {labels}{share:.1%} of the head outside {middle}"
        advice = "take larger voxels (--resample 2, say), spatial_dims: 3 or whole: true in a YAML file"
        severity: Severity = "warning" if labelled or label is None else "note"
        examined.add(severity, examined.case.name, f"{found}: {advice}")


def _check_intensities(examined: Examined, head: Head, modality: str, description: Description) -> None:
    """Look whether the head shows something that can be normalised."""
    inside, rule = examined.volumes[modality][head.tissue], description.normalisation(modality)
    numbers, whole = scaling(inside, rule), description.whole
    values = numbers.clipped(inside)
    low, high = float(values.min()), float(values.max())
    if low == high:
        limits = f", clipped to {numbers.low:g} to {numbers.high:g}," if numbers.low is not None else ""
        found = f"the volume{limits} is constant ({low:g}) wherever there is tissue, expected an image"
        examined.add("error", examined.file(modality), f"{found}: copy it again")
    elif rule.rule == "zscore" and max(high - numbers.mean, numbers.mean - low) > FAR * numbers.std:
        away = np.abs(values.astype(np.float64) - numbers.mean)
        far = away[away > FAR * numbers.std]
        if (far**2).sum() > values.size * numbers.std**2 / 2:
            found = f"found {far.size} voxels, up to {values[away.argmax()]:g}, that decide the z-score alone"
            first = "see whether they are meant, as a full bladder in PET is" if whole else "mend the file"
            advice = f"{first}, or clip them (normalise: {{{modality}: {{percentiles: [0.5, 99.5]}}}})"
            examined.add("warning" if whole else "error", examined.file(modality), f"{found}: {advice}")
