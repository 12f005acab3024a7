"""The store: a prepared study, from which crops are read without loading whole volumes.

    store = Store.open(Path("data/phantom"))
    crop = store.volumes(store.cases[0])[:, 10:90, 10:90, 10:90]

Layout: `store.json` (format, description, preparation, one record a case), and for each case
`<case>/volumes.npy` (float32 [M, *space]) and `<case>/labels.npy` (uint8 class indices [*space]), both
memory-mapped when read. `datasets.prepare` writes it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np

from bench_errors import InputError
from datasets.vocabulary import Description

FORMAT = 1
INDEX = "store.json"
VOLUMES = "volumes.npy"
LABELS = "labels.npy"


@dataclass(frozen=True)
class CaseRecord:
    """What the store knows of a case; enough to put a prediction back into the original volume.

    Attributes:
        shape: of the stored volume, in voxels.
        original_shape: of the files' volume.
        box: (start, end) of the stored part of the original volume along each axis, in voxels.
        affine: [4, 4] of the original volume, voxel index -> mm.
        available: per modality, whether the case has it; the volume of one it lacks is all zero.
        mean, std: per modality, what it was normalised with; None where it is lacking.
        sources: file -> its SHA-256; named from the case's folder, or the study's where cases share folders.
        content: SHA-256 of the cropped voxels before normalisation and of the class indices.
        checksums: stored file -> SHA-256.
        columns: what else is known of the case, such as its grade.
    """

    shape: tuple[int, ...]
    original_shape: tuple[int, ...]
    box: tuple[tuple[int, int], ...]
    affine: tuple[tuple[float, ...], ...]
    available: tuple[bool, ...]
    mean: tuple[float | None, ...]
    std: tuple[float | None, ...]
    sources: dict[str, str]
    content: str
    checksums: dict[str, str]
    columns: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as written to JSON."""
        return asdict(self)

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
    """

    path: Path
    description: Description
    preparation: dict[str, Any]
    records: dict[str, CaseRecord]

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
                f"{path} is a store of format {content['format']}, this version reads {FORMAT}: "
                f"update passion-bench, or {make}"
            )
        try:
            description = Description.from_dict(content["description"])
            records = {check_name(n): CaseRecord.from_dict(r) for n, r in sorted(content["cases"].items())}
            return cls(path, description, content["preparation"], records)
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise InputError(f"{path / INDEX} is no index of a store ({error}): {make}") from None

    def save_index(self) -> None:
        """Write `store.json`, which makes the folder a store."""
        content = {
            "format": FORMAT,
            "description": self.description.to_dict(),
            "preparation": self.preparation,
            "cases": {name: record.to_dict() for name, record in sorted(self.records.items())},
        }
        (self.path / INDEX).write_text(json.dumps(content, indent=1), encoding="utf-8")

    @property
    def cases(self) -> list[str]:
        """The names of the cases, sorted."""
        return sorted(self.records)

    @cached_property
    def hash(self) -> str:
        """The data hash, 16 hexadecimal digits: of what the files hold and how it was prepared.

        It does not depend on paths, on the compression of the files, or on a machine's rounding (which the
        normalised volumes do).
        """
        d = self.description
        content = {
            "modalities": d.modalities,
            "classes": d.classes,
            "file_labels": sorted(d.file_labels.items()),
            "spatial_dims": d.spatial_dims,
            "preparation": self.preparation,
            "cases": [
                (name, self.records[name].content, self.records[name].available) for name in self.cases
            ],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def record(self, case: str) -> CaseRecord:
        """Return the record of a case; `InputError` if the store does not have it."""
        if case not in self.records:
            raise InputError(f"{self.path} has no case '{case}': it has {len(self.records)}, see its {INDEX}")
        return self.records[case]

    def available(self, case: str) -> tuple[bool, ...]:
        """Return, per modality, whether the case has it."""
        return self.record(case).available

    def volumes(self, case: str) -> np.ndarray:
        """Return the normalised volumes, float32 [M, *space], read from disk where they are indexed."""
        return self._map(case, VOLUMES, np.float32)

    def labels(self, case: str) -> np.ndarray:
        """Return the class indices, uint8 [*space], read from disk where they are indexed."""
        return self._map(case, LABELS, np.uint8)

    def damaged(self, case: str) -> list[str]:
        """Return which files of a case do not hold what was written, by their checksums."""
        folder = self.path / case
        checksums = self.record(case).checksums
        return [name for name, checksum in checksums.items() if file_checksum(folder / name) != checksum]

    def _map(self, case: str, name: str, dtype: type) -> np.ndarray:
        record = self.record(case)
        path = self.path / case / name
        shape = record.shape if name == LABELS else (len(record.available), *record.shape)
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): prepare the study again") from None
        if array.shape != shape or array.dtype != dtype:
            raise InputError(
                f"{path} holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}: "
                "prepare the study again"
            )
        return array


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, or an empty string if there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_name(name: str) -> str:
    """Return a case's name; `InputError` if a folder of that name could lie elsewhere or not be written."""
    forbidden = any(c in "/\\" or category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)
    if forbidden or name in ("", ".", "..", INDEX):
        raise InputError(
            f"found case name {name!a}, expected the plain name of a folder, without slashes: rename it"
        )
    return name


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
