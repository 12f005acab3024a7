"""From NIfTI files to a store: crop to the head, normalise each contrast, write what training reads.

    store = prepare(Path("BraTS2020"), BRATS2020, Path("data/brats2020"))
    update = update_store(Path("BraTS2020"), BRATS2020, Path("data/brats2020"), skip_bad=True)
    print(update.written, update.kept, update.gone, update.store.left_out)

Crop and normalisation are those of RFNet's and PASSION's released preprocessing.

A case goes to a folder named by a hash of its files' content and of how it is prepared, written beside its
place and moved there whole. A call prepares the cases that have no such folder yet, or a damaged one; then
the index is replaced, and what it no longer names is removed. So a call that was killed or met a bad case has
lost nothing: until the index is replaced the old store stays as it was, and the next call goes on.

Measured on one core of a busy AMD EPYC, phantoms of 240x240x155: 0.7 to 0.8 s of processor time a case, most
of it for the check; inflating the five files takes 0.12 (so a faster inflater is no gain worth a dependency),
hashes 0.12, packing 0.07. A case that has not changed takes 0.01 s.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial, reduce
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np

from bench_errors import InputError
from datasets.preparation.check import duplicates, sort_problems
from datasets.preparation.examine import Examined, Problem, examine, sum_of
from datasets.preparation.find import Case, find_cases
from datasets.preparation.parallel import Progress, in_parallel
from datasets.store.store import (
    FORMAT,
    INDEX,
    LABELS,
    LOCK,
    RECORD,
    VOLUMES,
    CaseRecord,
    Store,
    damaged_files,
    file_checksum,
    read_record,
    write_file,
)
from datasets.store.voxels import normalised, packed
from datasets.vocabulary import Description

VERSION = 1
"""Of the preparation: raised when the same files would give other numbers; part of the data hash."""

MIN_EDGE = 128
"""Voxels: a crop of a volume is extended to this where the volume has as many."""

SLICE_EDGE = 256
"""Voxels: edge of the central part that is kept of the slices of a 2-D study."""

CHUNK = 48
"""Voxels: edge of what is read at once of a volume; of a 2-D study that is a slice."""

PARTIAL = ".partial"
"""Name of a case's folder while it is written."""

WITHOUT_EFFECT = (
    "name", "classes", "regions", "table_order", "profile_order", "layouts", "patient", "case_names",
    "ignore",
)  # fmt: skip
"""What of a description has no effect on the prepared voxels of given files."""

CENTRAL = "central"
"""The rule of the box of 2-D studies."""

BoxRule = Literal["full", "released"]
Box = tuple[tuple[int, int], ...]


class Update(NamedTuple):
    """What `update_store` did.

    Attributes:
        store: as it is now; `store.left_out` names the cases that were skipped.
        written: cases that were prepared.
        kept: cases that were there already, from files and a preparation that are the same.
        gone: cases that left the store because their files are gone.
    """

    store: Store
    written: list[str]
    kept: list[str]
    gone: list[str]


class _Prepared(NamedTuple):
    """One case: its record, unless it has an error, its problems, and whether it had to be written."""

    case: str
    record: CaseRecord | None
    problems: list[Problem]
    written: bool


def prepare(root: Path, description: Description, out: Path, box: BoxRule = "full") -> Store:
    """Return the store of a study: `update_store` with its defaults, where only the store is wanted."""
    return update_store(root, description, out, box).store


def update_store(
    root: Path,
    description: Description,
    out: Path,
    box: BoxRule = "full",
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Update:
    """Check and prepare the cases of a study that are new or have changed, so that `out` is its store.

    Args:
        root: folder of the study.
        description: of the study.
        out: folder of the store, which belongs to the store alone.
        box: `full`, or `released`, which loses the last slice of each axis where the head has more than
            128; a 2-D study keeps the central part of its slices instead.
        skip_bad: leave out cases with errors, instead of refusing to make the store.
        workers: cases at a time, one a core by default; each takes about 0.6 GB at 240x240x155.
        progress: called with (cases done, cases).

    Raises `InputError`, and leaves the store that was there in force, if a case has an error, no case is
    left, another call is at work on `out`, or it cannot be written. Cases without errors are kept all the
    same, so that the next call need not prepare them again.
    """
    if box not in ("full", "released"):
        raise InputError(f"unknown box '{box}': choose full or released")
    cases = find_cases(root, description)
    rule = box if description.spatial_dims == 3 else CENTRAL
    try:
        with _alone(out) as folder:
            before = _cases_of(folder)
            job = partial(_prepare_case, description=description, folder=folder, rule=rule)
            done = in_parallel(job, cases, workers, progress)
            problems = [problem for case in done for problem in case.problems]
            problems += duplicates({case.case: case.record.prints for case in done if case.record})
            errors = [problem for problem in sort_problems(problems) if problem.severity == "error"]
            bad = {error.case: f"{error.file}: {error.message}" for error in reversed(errors)}
            sound = {case.case: case for case in done if case.record and case.case not in bad}
            if bad and not (skip_bad and sound):
                _refuse(errors, root, len(sound), len(bad))
            records = {name: case.record for name, case in sound.items() if case.record}
            preparation = {"version": VERSION, "box": rule}
            Store(folder, description, preparation, records, bad).save_index()
            _remove_unnamed(folder, records)
            store = Store.open(out)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}): choose another folder with --out"
        ) from None
    written = [name for name, case in sound.items() if case.written]
    kept = [name for name, case in sound.items() if not case.written]
    gone = sorted(before - {case.name for case in cases})
    return Update(store, written, kept, gone)


class Crop(NamedTuple):
    """What is kept of a case and what it is normalised with.

    Attributes:
        box: (start, end) along each axis of the volumes, in voxels.
        crops: modality -> the part of the volume within the box.
        statistics: modality -> mean and standard deviation; see `statistics`.
    """

    box: Box
    crops: dict[str, np.ndarray]
    statistics: dict[str, tuple[float, float]]

    def normalised(self, modalities: tuple[str, ...]) -> np.ndarray:
        """Return float32 [M, *space] as networks see it; zeros where the case lacks a modality.

        The same numbers as `Store.volumes` gives of a case that was prepared.
        """
        shape = next(iter(self.crops.values())).shape
        volumes = np.zeros((len(modalities), *shape), dtype=np.float32)
        for m, modality in enumerate(modalities):
            if modality in self.crops:
                mean, std = np.array(self.statistics[modality], dtype=np.float32)
                volumes[m] = normalised(self.crops[modality], mean, std)
        return volumes


def crop(volumes: dict[str, np.ndarray], rule: str) -> Crop:
    """Cut the volumes [X, Y, Z] of a case, modality -> volume in the order of the description, to their box.

    `rule`: of the box, as a store's `preparation` says it: `full`, `released` or `central` (2-D studies).
    """
    all_of_it = list(volumes.values())
    box = slice_box(all_of_it[0].shape) if rule == CENTRAL else crop_box(all_of_it, rule)
    window = tuple(slice(start, end) for start, end in box)
    crops = {m: np.ascontiguousarray(volume[window]) for m, volume in volumes.items()}
    # A 2-D study is normalised by its whole volume, a 3-D one by its crop.
    normalised_by = all_of_it if rule == CENTRAL else list(crops.values())
    return Crop(box, crops, dict(zip(volumes, statistics(normalised_by), strict=True)))


def crop_box(volumes: list[np.ndarray], rule: str) -> Box:
    """Return (start, end) of the head along each axis, in voxels.

    From the first to the last index where the maximum over the modalities is not zero (`released`: the last
    excluded), extended on both sides to at least 128 where the volume is large enough: an extension past the
    start moves the end, one past the end is cut.

    Args:
        volumes: the case's modalities, each [X, Y, Z].
        rule: see `prepare`.
    """
    head = reduce(np.maximum, volumes) != 0
    limits = []
    for axis, length in enumerate(head.shape):
        others = tuple(a for a in range(head.ndim) if a != axis)
        indices = np.flatnonzero(head.any(axis=others))
        start, end = int(indices[0]), int(indices[-1])
        if (missing := MIN_EDGE - (end - start)) > 0:
            start -= missing // 2
            end += missing // 2 + 1
        elif rule == "full":
            end += 1
        shift = max(-start, 0)
        limits.append((start + shift, min(end + shift, length)))
    return tuple(limits)


def slice_box(shape: tuple[int, ...]) -> Box:
    """Return the central 256x256 of the slices [X, Y] of a volume [X, Y, slices], or all of a smaller one."""
    starts = [max((edge - SLICE_EDGE) // 2, 0) for edge in shape[:2]]
    ends = [min(start + SLICE_EDGE, edge) for start, edge in zip(starts, shape[:2], strict=True)]
    return (*zip(starts, ends, strict=True), (0, shape[2]))


def statistics(volumes: list[np.ndarray]) -> list[tuple[float, float]]:
    """Return mean and standard deviation (ddof 0) of each volume over the voxels where their sum is > 0."""
    tissue = sum_of(volumes) > 0
    inside = [volume[tissue] for volume in volumes]
    return [(float(v.mean(dtype=np.float64)), float(v.std(dtype=np.float64))) for v in inside]


def _prepare_case(case: Case, description: Description, folder: Path, rule: str) -> _Prepared:
    """Write one case below `folder`, unless it is there or has an error."""
    paths = {**case.files, **({"label": case.label} if case.label else {})}
    digests = {path: file_checksum(path) for path in set(paths.values())}
    key = _key(case, {name: digests[path] for name, path in paths.items()}, description, rule)
    record = read_record(folder / case.name / key)
    if record and not damaged_files(folder / case.name / key, record):
        return _Prepared(case.name, record, [], written=False)
    examined = examine(case, description)
    record = _write_case(examined, description, folder / case.name, rule) if examined.sound else None
    return _Prepared(case.name, record, examined.problems, written=record is not None)


def _key(case: Case, digests: dict[str, str], description: Description, rule: str) -> str:
    """Name what is made of a case whose files (modality, or `label`) have these checksums.

    All that is known of the case goes in, so that it is examined again when any of it changes.
    """
    how = {k: v for k, v in description.to_dict().items() if k not in WITHOUT_EFFECT}
    paths = {**case.files, "label": case.label}
    names = {name: case.relative(path) for name, path in paths.items() if path}
    made = [FORMAT, VERSION, rule, how, names, digests, case.columns, case.spare, case.faults]
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def _write_case(examined: Examined, description: Description, folder: Path, rule: str) -> CaseRecord:
    volumes, label = examined.volumes, examined.label
    if label is None:
        raise ValueError("a case without errors has a label")
    box, crops, numbers = crop(volumes, rule)
    window = tuple(slice(start, end) for start, end in box)
    classes = np.zeros(label[window].shape, dtype=np.uint8)
    for value, index in description.file_labels.items():
        classes[label[window] == value] = index

    content = hashlib.sha256(str(classes.shape).encode())
    kind = np.int16 if all(_fits_int16(crop) for crop in crops.values()) else np.float32
    stored = np.zeros((len(description.modalities), *classes.shape), dtype=kind)
    for m, modality in enumerate(description.modalities):
        if modality in crops:
            content.update(crops[modality].data)
            stored[m] = crops[modality]
    content.update(classes.data)

    images = examined.images
    first = next(iter(images.values()))
    files = packed_case(stored, classes, description)
    record = CaseRecord(
        key=_key(examined.case, {name: i.digest for name, i in images.items()}, description, rule),
        shape=classes.shape,
        original_shape=first.data.shape,
        box=box,
        affine=tuple(tuple(row) for row in first.affine.tolist()),
        available=tuple(m in volumes for m in description.modalities),
        mean=tuple(numbers[m][0] if m in numbers else None for m in description.modalities),
        std=tuple(numbers[m][1] if m in numbers else None for m in description.modalities),
        labelled=tuple(np.count_nonzero(classes, axis=(1, 2)).tolist()),
        prints=examined.prints,
        sources={examined.case.relative(image.path): image.digest for image in images.values()},
        columns=examined.case.columns,
        tissue=int(np.count_nonzero(sum_of(list(volumes.values())) > 0)),
        content=content.hexdigest(),
        checksums={name: hashlib.sha256(file).hexdigest() for name, file in files.items()},
    )
    files[RECORD] = json.dumps(record.to_dict()).encode()
    _write_whole(folder / record.key, files)
    return record


def _write_whole(folder: Path, files: dict[str, bytes]) -> None:
    """Write a folder of files beside its place and move it there, replacing a damaged one."""
    beside = folder.with_name(PARTIAL)
    beside.mkdir(parents=True)
    try:
        for name, content in files.items():
            write_file(beside / name, content)
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def packed_case(stored: np.ndarray, classes: np.ndarray, description: Description) -> dict[str, bytes]:
    """Return the files of a case by name: of its intensities [M, *space] and its class indices [*space]."""
    edges = (CHUNK,) * 3 if description.spatial_dims == 3 else (SLICE_EDGE, SLICE_EDGE, 1)
    return {VOLUMES: packed(stored, (1, *edges)), LABELS: packed(classes, edges)}


def _fits_int16(volume: np.ndarray) -> bool:
    limits = np.iinfo(np.int16)
    return bool(
        volume.min() >= limits.min
        and volume.max() <= limits.max
        and np.array_equal(volume, volume.astype(np.int16))
    )


def _refuse(errors: list[Problem], root: Path, sound: int, bad: int) -> None:
    first = errors[0]
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    kept = f"{sound} sound cases are kept for the next call" if sound else "no case is without errors"
    skip = f", or leave out the {bad} bad with --skip-bad" if sound else ""
    raise InputError(
        f"case '{first.case}', {first.file}: {first.message}{more}; the store is not changed, {kept}: "
        f"see all with: bench data check '{root}', and mend them{skip}"
    )


@contextmanager
def _alone(out: Path) -> Iterator[Path]:
    """Give the folder of the store to one caller at a time; what was not begun leaves nothing behind."""
    folder = Path(os.path.realpath(out))
    ours = (folder / INDEX).is_file() or (folder / LOCK).is_file()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{out} exists and is no store: give a new folder, or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        if not _take(lock, folder / LOCK):
            raise InputError(
                f"another bench data prepare is at work on {out}: wait for it, or give another --out"
            )
        try:
            for left in folder.glob(f"*/{PARTIAL}"):
                shutil.rmtree(left)
            yield folder
        finally:
            for case in folder.iterdir():
                with suppress(OSError):
                    case.rmdir()  # succeeds on empty folders only
            if [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()


def _take(lock: IO[str], path: Path) -> bool:
    """Lock a file; False if another process has it, or has just removed it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _cases_of(folder: Path) -> set[str]:
    """Return the names of the cases in the index of a folder, if it has one that can be read."""
    try:
        return set(Store.open(folder).cases)
    except InputError:
        return set()


def _remove_unnamed(folder: Path, records: dict[str, CaseRecord]) -> None:
    """Remove what earlier calls wrote and the index does not name, the arrays of stores of format 1 too."""
    named = {folder / name / record.key for name, record in records.items()}
    for path in list(folder.glob("*/*")):
        if re.fullmatch("[0-9a-f]{16}", path.name) and path not in named:
            shutil.rmtree(path)
        elif path.name in ("volumes.npy", "labels.npy"):
            path.unlink()
