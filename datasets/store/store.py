"""The store: a prepared study, from which crops are read without loading whole volumes.

    store = Store.open(Path("data/phantom"))
    crop = store.volumes(store.cases[0])[:, 10:90, 10:90, 10:90]

Layout: `store.json` is the index: format, description, preparation, one record a case. `<case>/<key>/` holds
what was made of one state of a case's files: `volumes.b2nd` ([M, *space], the cropped intensities as the
files have them), `labels.b2nd` (uint8 class indices [*space]) and `case.json`, the case's record once more.
Nothing in such a folder ever changes, and only folders that the index names count. `preparation.prepare`
writes it, `store.voxels` says how arrays lie on disk and why so.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from operator import ge
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import aff2axcodes

from bench_errors import InputError
from datasets.store.voxels import Voxels
from datasets.vocabulary import FORMULA, Description, Subset, presence

FORMAT = 3
INDEX = "store.json"
LOCK = ".bench-prepare"
VOLUMES = "volumes.b2nd"
LABELS = "labels.b2nd"
RECORD = "case.json"
OF_SLICES = ("slice_of", "siblings")
"""What the records of slices alone have."""


@dataclass(frozen=True)
class CaseRecord:
    """What the store knows of a case; enough to put a prediction back into the original volume.

    An array of `shape` set into zeros of `original_shape` at `box` is on the grid of `affine`; turned from
    where its axes point to `orientation` it is on the grid of the files.

    Attributes:
        key: name of the folder with its voxels: a hash of the files' content and the way of preparing them.
        shape: of the stored volume, in voxels.
        original_shape: of the files' volume, turned.
        box: (start, end) of the stored part of the turned volume along each axis, in voxels.
        affine: [4, 4] of the turned volume, voxel index -> mm.
        orientation: where the axes of the files point, such as ``RAS``.
        available: per modality, whether the case has it; the volume of one it lacks is all zero.
        mean, std: per modality, what it is normalised with; None where it is lacking.
        background: per modality, the stored value outside the head; None where it is lacking.
        negative: per modality, the share of the head's voxels below 0; None where it is lacking.
        labelled: number of labelled voxels at each index of the first axis.
        prints: modality -> SHA-256 of all its voxels, by which cases that are the same are found.
        sources: file -> its SHA-256; named from the case's folder, or the study's where cases share folders.
        content: SHA-256 of the cropped voxels before normalisation, the class indices and the head; in a 2-D
            study of the whole volumes too, which its normalisation goes by.
        checksums: stored file -> SHA-256.
        columns: what else is known of the case, such as its grade.
        tissue: number of voxels of the head.
        slice_of: name of the volume that the case is a slice of; what is said above of mean, head, prints and
            files is then of the volume. Empty where it is a volume itself.
        siblings: how many cases were made of the volume, itself included.
    """

    key: str
    shape: tuple[int, ...]
    original_shape: tuple[int, ...]
    box: tuple[tuple[int, int], ...]
    affine: tuple[tuple[float, ...], ...]
    orientation: str
    available: tuple[bool, ...]
    mean: tuple[float | None, ...]
    std: tuple[float | None, ...]
    background: tuple[float | None, ...]
    negative: tuple[float | None, ...]
    labelled: tuple[int, ...]
    prints: dict[str, str]
    sources: dict[str, str]
    content: str
    checksums: dict[str, str]
    tissue: int
    columns: dict[str, str] = field(default_factory=dict)
    slice_of: str = ""
    siblings: int = 1

    @property
    def spacing(self) -> tuple[float, ...]:
        """Edges of a voxel along each axis, in mm, to four decimals."""
        return tuple(round(float(edge), 4) for edge in voxel_sizes(np.array(self.affine)))

    @property
    def stored_orientation(self) -> str:
        """Where the axes of the stored volumes point."""
        return "".join(aff2axcodes(np.array(self.affine)))

    def to_dict(self) -> dict[str, Any]:
        """Return the record as written to JSON; what is of slices alone is left out of volumes."""
        content = asdict(self)
        return content if self.slice_of else {k: v for k, v in content.items() if k not in OF_SLICES}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CaseRecord":
        """Inverse of `to_dict`, of values read from JSON."""
        return cls(**{key: _tuples(value) for key, value in values.items()})


@dataclass(frozen=True)
class Store:
    """A prepared study on disk.

    Attributes:
        path: its folder.
        description: the study's description.
        preparation: how it was prepared (`version` and `box`).
        records: case -> record.
        left_out: case -> the error that kept it out of the store, with `--skip-bad`.
    """

    path: Path
    description: Description
    preparation: dict[str, Any]
    records: dict[str, CaseRecord]
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Read the index of the store in `path`; `InputError` if there is none that this version reads."""
        make = f"make it with: bench data prepare STUDY --dataset NAME --out '{path}'"
        try:
            content = json.loads((path / INDEX).read_text(encoding="utf-8"))
        except FileNotFoundError:
            found = "holds no store (it has no store.json)" if path.exists() else "does not exist"
            raise InputError(f"{path} {found}: {make}") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path / INDEX} cannot be read ({error}): {make}") from None
        if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
            raise InputError(
                f"{path} is a store of format {content['format']}, this version reads format {FORMAT}: "
                f"prepare the study again (bench data prepare STUDY --dataset NAME --out '{path}')"
            )
        try:
            description = Description.from_dict(content["description"])
            records = {check_name(n): CaseRecord.from_dict(r) for n, r in sorted(content["cases"].items())}
            for record in records.values():
                check_name(record.key)
            return cls(path, description, content["preparation"], records, dict(content["left_out"]))
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise InputError(f"{path / INDEX} is no index of a store ({error}): {make}") from None

    def save_index(self) -> None:
        """Write `store.json`, which makes the folder a store; the one that was there stays until then."""
        content = {
            "format": FORMAT,
            "description": self.description.to_dict(),
            "preparation": self.preparation,
            "left_out": dict(sorted(self.left_out.items())),
            "cases": {name: record.to_dict() for name, record in sorted(self.records.items())},
        }
        beside = self.path / f".{INDEX}.partial"
        write_file(beside, json.dumps(content).encode())
        beside.replace(self.path / INDEX)

    @property
    def cases(self) -> list[str]:
        """The names of the cases, sorted."""
        return sorted(self.records)

    @cached_property
    def hash(self) -> str:
        """The data hash, 16 hexadecimal digits: of all that decides what a network sees and is asked.

        It does not depend on names and paths of the study, on the compression of the files, or on a machine's
        rounding (which the normalised volumes do).
        """
        cases = []
        for name in self.cases:
            record = self.records[name]
            lies = (record.spacing, record.stored_orientation)
            cases.append((name, record.content, record.available, *lies))
        content = [self.description.digest, self.preparation, cases]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def record(self, case: str) -> CaseRecord:
        """Return the record of a case; `InputError` if the store does not have it."""
        if case not in self.records:
            raise InputError(f"{self.path} has no case '{case}': it has {len(self.records)}, see its {INDEX}")
        return self.records[case]

    def available(self, case: str) -> tuple[bool, ...]:
        """Return, per modality, whether the case has it."""
        return self.record(case).available

    def having(self, cases: Iterable[str], subset: Subset | None) -> tuple[str, ...]:
        """Return those of `cases` that have all modalities of a subset; all of them where it is None."""
        asked = presence(subset or (), self.description.modalities)
        return tuple(case for case in cases if all(map(ge, self.available(case), asked)))

    def labelled(self, case: str) -> tuple[int, ...]:
        """Return the number of labelled voxels at each index of the first axis."""
        return self.record(case).labelled

    def volumes(self, case: str) -> Voxels:
        """Return the normalised volumes, float32 [M, *space], read from disk where they are indexed."""
        record = self.record(case)
        mean = np.array([m or 0.0 for m in record.mean], dtype=np.float32)
        std = np.array([1.0 if s is None else s for s in record.std], dtype=np.float32)
        return Voxels(self._folder(case) / VOLUMES, (len(mean), *record.shape), (mean, std))

    def labels(self, case: str) -> Voxels:
        """Return the class indices, uint8 [*space], read from disk where they are indexed."""
        return Voxels(self._folder(case) / LABELS, self.record(case).shape)

    def damaged(self, case: str) -> list[str]:
        """Return which files of a case are missing or do not hold what was written, by their checksums."""
        folder, record = self._folder(case), self.record(case)
        return damaged_files(folder, record) + [RECORD] * (read_record(folder) != record)

    def file_states(self) -> dict[str, tuple[int, ...]]:
        """Return of each case sizes and times of change of its arrays' files; empty where one is missing.

        By them files that were replaced are noticed without reading them.
        """
        return {
            case: _state_of(self._folder(case) / name for name in (VOLUMES, LABELS)) for case in self.cases
        }

    def _folder(self, case: str) -> Path:
        return self.path / case / self.record(case).key


def read_record(folder: Path) -> CaseRecord | None:
    """Return the record in the folder of a prepared case; None if there is none, or no sound one."""
    try:
        return CaseRecord.from_dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def damaged_files(folder: Path, record: CaseRecord) -> list[str]:
    """Return which arrays in the folder of a prepared case do not have the record's checksums."""
    return [name for name, checksum in record.checksums.items() if file_checksum(folder / name) != checksum]


def _state_of(paths: Iterable[Path]) -> tuple[int, ...]:
    try:
        return tuple(n for stat in map(Path.stat, paths) for n in (stat.st_size, stat.st_mtime_ns))
    except OSError:
        return ()


def write_file(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, or an empty string if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def check_name(name: str) -> str:
    """Return a case's name; raise `InputError` for one that is not fit for a folder or a cell of a table.

    A folder of it could lie elsewhere or not be written; a spreadsheet would compute it (see `FORMULA`).
    """
    forbidden = any(c in "/\\" or category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)
    if forbidden or name in ("", ".", "..", INDEX, LOCK):
        raise InputError(
            f"found case name {name!a}, expected the plain name of a folder, without slashes: rename it"
        )
    if name.strip().startswith(FORMULA):
        raise InputError(
            f"found case name {name!a}, which a spreadsheet takes for a formula: rename it, or describe the "
            "names with something before it, as in case: 'c{case}'"
        )
    return name


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
