"""One case from its files to its folder in a store: ``prepare_case(case, description, folder, "full")``.

The folder is named by a hash of the files' content and of how the case is prepared, written beside its place
and moved there whole; where slices are cases, each has one of its own. `crop` says what is kept of a case and
how it is normalised. Volumes of 3-D studies are turned so that all lie alike; slices of 2-D studies stay as
they are.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.affines import voxel_sizes

from datasets.preparation.crop import CENTRAL, crop
from datasets.preparation.examine import Examined, Problem, examine
from datasets.preparation.find import Case
from datasets.preparation.nifti import STORED, Image, orientation, turned, turned_affine
from datasets.preparation.slices import Arrays, slices_of
from datasets.store.store import (
    FORMAT,
    LABELS,
    RECORD,
    VOLUMES,
    CaseRecord,
    damaged_files,
    file_checksum,
    read_record,
    write_file,
)
from datasets.store.voxels import packed
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


class Prepared(NamedTuple):
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


def prepare_case(case: Case, description: Description, folder: Path, rule: str) -> Prepared:
    """Write one case below `folder`, unless it is there or has an error."""
    digests = {path: file_checksum(path) for path in set(case.paths.values())}
    key = _key(case, {name: digests[path] for name, path in case.paths.items()}, description, rule)
    names = [case.name] if description.slices is None else _slices_in(folder, case.name)
    there = {name: record for name in names if (record := read_record(folder / name / key))}
    whole = len(there) == max((record.siblings for record in there.values()), default=1)
    if whole and not any(damaged_files(folder / name / key, record) for name, record in there.items()):
        return Prepared(case.name, there, [], written=False)
    examined = examine(case, description)
    records = _write_case(examined, description, folder, rule) if examined.sound else None
    return Prepared(case.name, records, examined.problems, written=records is not None)


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
