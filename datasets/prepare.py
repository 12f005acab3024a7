"""From NIfTI files to a store: crop to the head, normalise each contrast, write what training reads.

    store = prepare(Path("BraTS2020"), BRATS2020, Path("data/brats2020"))

Crop and normalisation are those of RFNet's and PASSION's released preprocessing. A store is whole or absent:
it is written beside its place and moved there at the end, replacing the store that was there.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, reduce
from pathlib import Path
from secrets import token_hex
from typing import Literal

import numpy as np

from bench_errors import InputError
from datasets.check import duplicates, sort_problems
from datasets.examine import Examined, Problem, examine, sum_of
from datasets.find import Case, find_cases
from datasets.parallel import Progress, in_parallel
from datasets.store import INDEX, LABELS, VOLUMES, CaseRecord, Store, file_checksum
from datasets.vocabulary import Description

VERSION = 1
"""Of the preparation: raised when the same files would give other numbers; part of the data hash."""

MIN_EDGE = 128
"""Voxels: a crop of a volume is extended to this where the volume has as many."""

SLICE_EDGE = 256
"""Voxels: edge of the central part that is kept of the slices of a 2-D study."""

BoxRule = Literal["full", "released"]
Box = tuple[tuple[int, int], ...]


def prepare(
    root: Path,
    description: Description,
    out: Path,
    box: BoxRule = "full",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Check and prepare every case of a study and return its store.

    Args:
        root: folder with one folder a case.
        description: of the study.
        out: folder of the store; a store that is there is replaced.
        box: `full`, or `released`, which loses the last slice of each axis where the head has more than
            128; a 2-D study keeps the central part of its slices instead.
        workers: cases at a time, one a core by default; each takes about 0.6 GB at 240x240x155.
        progress: called with (cases done, cases).

    Raises `InputError`, and writes no store, if a case has an error or `out` cannot be written.
    """
    if box not in ("full", "released"):
        raise InputError(f"unknown box '{box}': choose full or released")
    cases = find_cases(root, description)
    try:
        with _beside(out) as folder:
            job = partial(_prepare_case, description=description, folder=folder, box=box)
            results = in_parallel(job, cases, workers, progress)
            prints = {case.name: found for case, (_, _, found) in zip(cases, results, strict=True)}
            problems = [problem for _, found, _ in results for problem in found] + duplicates(prints)
            _refuse_errors(problems, root)
            records = {case.name: r for case, (r, _, _) in zip(cases, results, strict=True) if r is not None}
            rule = box if description.spatial_dims == 3 else "central"
            Store(folder, description, {"version": VERSION, "box": rule}, records).save_index()
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}): choose another folder with --out"
        ) from None
    return Store.open(out)


def crop_box(volumes: list[np.ndarray], rule: BoxRule) -> Box:
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


def _prepare_case(
    case: Case, description: Description, folder: Path, box: BoxRule
) -> tuple[CaseRecord | None, list[Problem], dict[str, str]]:
    """Write one case below `folder`, unless it has an error; return record, problems and prints."""
    examined = examine(case, description)
    record = _write_case(examined, description, folder / case.name, box) if examined.sound else None
    return record, examined.problems, examined.prints


def _write_case(examined: Examined, description: Description, folder: Path, rule: BoxRule) -> CaseRecord:
    volumes, label = examined.volumes, examined.label
    if label is None:
        raise ValueError("a case without errors has a label")
    box = crop_box(list(volumes.values()), rule) if description.spatial_dims == 3 else slice_box(label.shape)
    window = tuple(slice(start, end) for start, end in box)
    crops = {m: np.ascontiguousarray(volume[window]) for m, volume in volumes.items()}
    # A 2-D study is normalised by its whole volume, a 3-D one by its crop.
    normalised_by = list(crops.values()) if description.spatial_dims == 3 else list(volumes.values())
    numbers = dict(zip(volumes, statistics(normalised_by), strict=True))
    classes = np.zeros(label[window].shape, dtype=np.uint8)
    for value, index in description.file_labels.items():
        classes[label[window] == value] = index

    content = hashlib.sha256(str(classes.shape).encode())
    stored = np.zeros((len(description.modalities), *classes.shape), dtype=np.float32)
    for m, modality in enumerate(description.modalities):
        if modality in crops:
            content.update(crops[modality].data)
            mean, std = numbers[modality]
            stored[m] = (crops[modality] - np.float32(mean)) / np.float32(std)
    content.update(classes.data)

    folder.mkdir()
    np.save(folder / VOLUMES, stored)
    np.save(folder / LABELS, classes)
    images = examined.images
    first = next(iter(images.values()))
    return CaseRecord(
        shape=classes.shape,
        original_shape=first.data.shape,
        box=box,
        affine=tuple(tuple(row) for row in first.affine.tolist()),
        available=tuple(m in volumes for m in description.modalities),
        mean=tuple(numbers[m][0] if m in numbers else None for m in description.modalities),
        std=tuple(numbers[m][1] if m in numbers else None for m in description.modalities),
        sources={examined.case.relative(image.path): image.digest for image in images.values()},
        columns=examined.case.columns,
        content=content.hexdigest(),
        checksums={name: file_checksum(folder / name) for name in (VOLUMES, LABELS)},
    )


def _refuse_errors(problems: list[Problem], root: Path) -> None:
    errors = [problem for problem in sort_problems(problems) if problem.severity == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
        raise InputError(
            f"case '{first.case}', {first.file}: {first.message}{more}; nothing was prepared: "
            f"see all with: bench data check '{root}'"
        )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Give an empty folder next to `out`, which takes its place on success and is removed on failure."""
    target = Path(os.path.realpath(out))
    if target.exists() and not (target / INDEX).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{out} exists and is no store: give a new folder, or remove it first")
    mark = token_hex(4)
    folder = target.with_name(f".{target.name}.partial-{mark}")
    replaced = target.with_name(f".{target.name}.replaced-{mark}")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            target.rename(replaced)
        folder.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
