"""From NIfTI files to a store: turn, crop to the head, normalise each contrast, write what training reads.

    store = prepare(Path("BraTS2020"), BRATS2020, Path("data/brats2020"))
    update = update_store(Path("BraTS2020"), BRATS2020, Path("data/brats2020"), skip_bad=True)
    print(update.written, update.kept, update.gone, update.store.left_out)

`crop` says what is kept of a case and how it is normalised. Volumes of 3-D studies are turned so that all lie
alike; slices of 2-D studies stay as they are.

A case goes to a folder named by a hash of its files' content and of how it is prepared, written beside its
place and moved there whole; where slices are cases, each to one of its own. A call prepares the cases that
have no such folder yet, or a damaged one; then the index is replaced, and what it no longer names is removed.
So a call that was killed or met a bad case has lost nothing: until the index is replaced the old store stays
as it was, and the next call goes on.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.affines import voxel_sizes

from bench_errors import InputError
from bench_lease import LeaseLost, check, hold
from datasets.preparation.check import duplicates, sort_problems
from datasets.preparation.crop import CENTRAL, BoxRule, box_rule, crop
from datasets.preparation.examine import Examined, Problem, examine
from datasets.preparation.find import Case, find_cases
from datasets.preparation.nifti import STORED, Image, orientation, turned, turned_affine
from datasets.preparation.parallel import Progress, in_parallel
from datasets.preparation.slices import Arrays, slices_of
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
from datasets.store.voxels import packed
from datasets.studies.names import study_options
from datasets.vocabulary import SLICE, Description, Slices

VERSION = 2
"""Of the preparation: raised when the same files would give other numbers; part of the data hash."""

CHUNK = 48
"""Voxels: edge of what is read at once of a volume; of a 2-D study that is a slice."""

PARTIAL = ".partial"
"""Name of a case's folder while it is written."""

WITHOUT_EFFECT = (
    "name", "classes", "regions", "table_order", "profile_order", "layouts", "patient", "case_names",
    "ignore",
)  # fmt: skip
"""What of a description has no effect on the prepared voxels of given files."""


class Update(NamedTuple):
    """What `update_store` did.

    Attributes:
        store: as it is now; `store.left_out` names the cases that were skipped.
        written: cases that were prepared.
        kept: cases that were there already, from files and a preparation that are the same.
        gone: cases that left the store because their files are gone.
        warnings: of the cases that were written.
    """

    store: Store
    written: list[str]
    kept: list[str]
    gone: list[str]
    warnings: list[Problem]


class _Prepared(NamedTuple):
    """What was made of the files of one case: records by name, problems, and whether it had to be written.

    None in place of the records where there is an error.
    """

    case: str
    records: dict[str, CaseRecord] | None
    problems: list[Problem]
    written: bool

    @property
    def prints(self) -> dict[str, str]:
        """Those of the volumes, which slices share."""
        return next((record.prints for record in (self.records or {}).values()), {})


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
            128; a 2-D study that is not taken whole keeps the central part of its slices instead.
        skip_bad: leave out cases with errors, instead of refusing to make the store.
        workers: cases at a time, one a core by default; each takes about 0.6 GB at 240x240x155.
        progress: called with (cases done, cases).

    Raises `InputError`, and leaves the store that was there in force, if that was cut or resampled by another
    rule, a case has an error, no case is left, another call is at work on `out`, or it cannot be written.
    Cases without errors are kept all the same, so that the next call need not prepare them again.
    """
    if box not in ("full", "released"):
        raise InputError(f"unknown box '{box}': choose full or released")
    if box == "released" and description.whole:
        raise InputError(
            f"--box released is a way to cut volumes to the head, those of {description.name} are taken "
            "whole: leave it out"
        )
    cases = find_cases(root, description)
    rule = box_rule(description, box)
    try:
        with _alone(out) as folder:
            before = _before(folder)
            if before:
                _check_rule(before, out, rule, description)
            job = partial(_prepare_case, description=description, folder=folder, rule=rule)
            done = in_parallel(job, cases, workers, progress)
            problems = [problem for case in done for problem in case.problems]
            problems += duplicates({case.case: case.prints for case in done})
            errors = [problem for problem in sort_problems(problems) if problem.severity == "error"]
            bad = {error.case: f"{error.file}: {error.message}" for error in reversed(errors)}
            sound = [case for case in done if case.records is not None and case.case not in bad]
            if bad and not (skip_bad and sound):
                _refuse(errors, root, description, len(sound), len(bad))
            records = {name: record for case in sound for name, record in (case.records or {}).items()}
            if description.slices and not records:
                raise InputError(
                    f"no slice of {root} has {description.slices.labelled} labelled voxels, as slices that "
                    "are cases have: lower slices.labelled in the description"
                )
            preparation = {"version": VERSION, "box": rule}
            check(folder / LOCK / "lease")
            Store(folder, description, preparation, records, bad).save_index()
            _remove_unnamed(folder, records)
            store = Store.open(out)
    except LeaseLost:
        raise InputError(
            f"another bench data prepare has taken over {out}, as this one was away for too long: wait for it"
        ) from None
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}): choose another folder with --out"
        ) from None
    written = [name for case in sound if case.written for name in case.records or ()]
    kept = [name for case in sound if not case.written for name in case.records or ()]
    had = {record.slice_of or name for name, record in before.records.items()} if before else set()
    gone = sorted(had - {case.name for case in cases})
    warnings = [p for case in sound for p in sort_problems(case.problems) if p.severity == "warning"]
    return Update(store, written, kept, gone, warnings)


def _prepare_case(case: Case, description: Description, folder: Path, rule: str) -> _Prepared:
    """Write one case below `folder`, unless it is there or has an error."""
    digests = {path: file_checksum(path) for path in set(case.paths.values())}
    key = _key(case, {name: digests[path] for name, path in case.paths.items()}, description, rule)
    names = [case.name] if description.slices is None else _slices_in(folder, case.name)
    there = {name: record for name in names if (record := read_record(folder / name / key))}
    whole = len(there) == max((record.siblings for record in there.values()), default=1)
    if whole and not any(damaged_files(folder / name / key, record) for name, record in there.items()):
        return _Prepared(case.name, there, [], written=False)
    examined = examine(case, description)
    records = _write_case(examined, description, folder, rule) if examined.sound else None
    return _Prepared(case.name, records, examined.problems, written=records is not None)


def _slices_in(folder: Path, case: str) -> list[str]:
    """Return the names of the slices of a case that the store has, or had."""
    return [
        path.name for path in folder.iterdir() if re.fullmatch(rf"{re.escape(case)}{SLICE}\d+", path.name)
    ]


def _key(case: Case, digests: dict[str, str], description: Description, rule: str) -> str:
    """Name what is made of a case whose files (modality, `label` or `mask`) have these checksums.

    All that is known of the case goes in, so that it is examined again when any of it changes.
    """
    how = {k: v for k, v in description.to_dict().items() if k not in WITHOUT_EFFECT}
    names = {name: case.relative(path) for name, path in case.paths.items()}
    made = [FORMAT, VERSION, rule, how, names, digests, case.columns, case.spare, case.faults]
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def _write_case(
    examined: Examined, description: Description, folder: Path, rule: str
) -> dict[str, CaseRecord]:
    """Write what is made of a case below `folder`: the case, or its slices; return the records by name."""
    volume = _made(examined, description, rule)
    cases = [volume] if description.slices is None else [*slices_of(volume, description.slices)]
    records = {}
    for case in cases:
        files = packed_case(case.stored, case.classes, description)
        checksums = {name: hashlib.sha256(file).hexdigest() for name, file in files.items()}
        record = replace(case.record, checksums=checksums, siblings=len(cases))
        files[RECORD] = json.dumps(record.to_dict()).encode()
        _write_whole(folder / case.name / record.key, files)
        records[case.name] = record
    return records


def _made(examined: Examined, description: Description, rule: str) -> Arrays:
    """Return a case as it is stored, its record yet without checksums."""
    label, head, images = examined.label, examined.head, examined.images
    if label is None or head is None:
        raise ValueError("a case without errors has a label and a head")
    first = next(iter(images.values()))
    held, affine = _lies(first, description)
    stored_as = orientation(affine)
    volumes = {m: turned(volume, held, stored_as) for m, volume in examined.volumes.items()}
    label, head = turned(label, held, stored_as), head.turned(held, stored_as)
    box, crops, scalings = crop(volumes, head, rule, description)
    window = tuple(slice(start, end) for start, end in box)
    classes = np.zeros(label[window].shape, dtype=np.uint8)
    for value, index in description.file_labels.items():
        classes[label[window] == value] = index

    kind = np.int16 if all(_fits_int16(crop) for crop in crops.values()) else np.float32
    stored = np.zeros((len(description.modalities), *classes.shape), dtype=kind)
    for m, modality in enumerate(description.modalities):
        if modality in crops:
            stored[m] = crops[modality]

    def of_each(facts: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(facts.get(modality) for modality in description.modalities)

    record = CaseRecord(
        key=_key(examined.case, {name: i.digest for name, i in images.items()}, description, rule),
        shape=classes.shape,
        original_shape=label.shape,
        box=box,
        affine=tuple(tuple(row) for row in affine.tolist()),
        orientation=held,
        available=tuple(m in volumes for m in description.modalities),
        mean=of_each({m: s.mean for m, s in scalings.items()}),
        std=of_each({m: s.std for m, s in scalings.items()}),
        background=of_each({m: float(s.clipped(np.array(head.outside[m]))) for m, s in scalings.items()}),
        negative=of_each(head.negative),
        labelled=tuple(np.count_nonzero(classes, axis=(1, 2)).tolist()),
        prints=examined.prints,
        sources={examined.case.relative(image.path): image.digest for image in images.values()},
        columns=examined.case.columns,
        tissue=int(np.count_nonzero(head.tissue)),
        content=_content(crops, classes, head.tissue, window, examined.prints if rule == CENTRAL else None),
        checksums={},
    )
    return Arrays(examined.case.name, record, stored, classes)


def _lies(image: Image, description: Description) -> tuple[str, np.ndarray]:
    """Return where the axes of a case's files point, and the affine of its volumes as they are stored.

    Files that do not say how they lie are taken as they should.
    """
    if description.spatial_dims == 2:
        return orientation(image.affine), image.affine
    if not image.orientation:
        return STORED, np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*voxel_sizes(image.affine), 1.0])
    return image.orientation, turned_affine(image.affine, image.data.shape, STORED)


def _content(
    crops: Mapping[str, np.ndarray],
    classes: np.ndarray,
    tissue: np.ndarray,
    window: tuple[slice, ...],
    prints: Mapping[str, str] | None,
) -> str:
    """Return the hash of what decides what networks see of a case, but for rounding.

    Mean and deviation follow from the crops and the tissue within their `window`. In a 2-D study they follow
    from the whole volumes, whose `prints` are given then.
    """
    content = hashlib.sha256(str(classes.shape).encode())
    for array in (*crops.values(), classes, np.packbits(tissue[window] if prints is None else tissue)):
        content.update(array.data)
    content.update(json.dumps(prints, sort_keys=True).encode())
    return content.hexdigest()


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
    edges = (CHUNK,) * 3 if description.spatial_dims == 3 else (Slices.edge, Slices.edge, 1)
    return {VOLUMES: packed(stored, (1, *edges)), LABELS: packed(classes, edges)}


def _fits_int16(volume: np.ndarray) -> bool:
    limits = np.iinfo(np.int16)
    return bool(
        volume.min() >= limits.min
        and volume.max() <= limits.max
        and np.array_equal(volume, volume.astype(np.int16))
    )


def _refuse(errors: list[Problem], root: Path, description: Description, sound: int, bad: int) -> None:
    first = errors[0]
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    kept = f"{sound} sound cases are kept for the next call" if sound else "no case is without errors"
    skip = f", or leave out the {bad} bad with --skip-bad" if sound else ""
    raise InputError(
        f"case '{first.case}', {first.file}: {first.message}{more}; the store is not changed, {kept}: "
        f"see all with: bench data check '{root}' {study_options(description.name, description.grid)}, and "
        f"mend them{skip}"
    )


@contextmanager
def _alone(out: Path) -> Iterator[Path]:
    """Give the folder of the store to one caller at a time; what was not begun leaves nothing behind."""
    folder = Path(os.path.realpath(out))
    ours = (folder / INDEX).is_file() or (folder / LOCK).is_dir()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{out} exists and is no store: give a new folder, or remove it first")
    (folder / LOCK).mkdir(parents=True, exist_ok=True)
    try:
        with hold(folder / LOCK / "lease") as mine:
            if not mine:
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
    finally:
        with suppress(OSError):  # another caller is at work
            if [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).rmdir()
                folder.rmdir()


def _before(folder: Path) -> Store | None:
    """Return the store that is in a folder, if it has an index that can be read."""
    try:
        return Store.open(folder)
    except InputError:
        return None


def _check_rule(before: Store, out: Path, rule: str, description: Description) -> None:
    """Raise `InputError` where a store would be made anew by another rule: runs begun on it need the old."""
    for option, was, now in (
        ("--box", before.preparation["box"], rule),
        ("--resample", before.description.grid or "none", description.grid or "none"),
    ):
        if was != now:
            as_then = "" if CENTRAL in (was, now) else f"say {option} as then, or "
            raise InputError(
                f"the store {out} was prepared with {option} {was}, now it is {now}: {as_then}give another "
                "--out; runs begun on the store need it as it was"
            )


def _remove_unnamed(folder: Path, records: dict[str, CaseRecord]) -> None:
    """Remove what earlier calls wrote and the index does not name, the arrays of stores of format 1 too."""
    named = {folder / name / record.key for name, record in records.items()}
    for path in list(folder.glob("*/*")):
        if re.fullmatch("[0-9a-f]{16}", path.name) and path not in named:
            shutil.rmtree(path)
        elif path.name in ("volumes.npy", "labels.npy"):
            path.unlink()
