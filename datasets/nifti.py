"""NIfTI files: which ones make up a study, and reading one of them to the last byte.

    description = recognise(root)              # which dataset's naming fits
    for case in find_cases(root, description):
        image = read_nifti(case.files["flair"])

A study is a folder of case folders: `<case>/<case><suffix>.nii.gz` (or `.nii`), whatever the cases are
called.
"""

import gzip
import hashlib
import logging
import os
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench_errors import InputError
from datasets import DATASETS
from datasets.vocabulary import Description

ENDINGS = (".nii.gz", ".nii")
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Case:
    """The files of one case.

    Attributes:
        name: the case's name, which is its folder's.
        folder: where its files are.
        files: modality -> path, for the modalities that have a file, in the description's order.
        label: path of the label file, or None.
        spare: names of NIfTI files that are none of the above, a `.nii` beside the same `.nii.gz` included.
    """

    name: str
    folder: Path
    files: dict[str, Path]
    label: Path | None
    spare: tuple[str, ...]


@dataclass(frozen=True)
class Image:
    """One NIfTI file, read to the end.

    Attributes:
        path: the file.
        data: [X, Y, Z] in the file's own axis order; the file's type, or floats where it is scaled.
        affine: [4, 4] voxel index -> mm.
        spacing: edge of a voxel along each axis as the header says it (pixdim), in mm.
        digest: SHA-256 of the file's bytes.
    """

    path: Path
    data: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, ...]
    digest: str


def layout(description: Description) -> str:
    """Return how files must be named, such as ``<case>/<case>{_flair,_t1,_seg}.nii.gz``."""
    return f"<case>/<case>{{{','.join((*description.suffixes, description.label_suffix))}}}.nii.gz"


def find_cases(root: Path, description: Description) -> list[Case]:
    """Return the cases of the study in `root`, sorted by name.

    Every folder in `root` that holds NIfTI files, or nothing at all, is a case, so that a badly named or
    lost one is reported by the check; hidden files and folders and everything else are passed over. Raises
    `InputError` if no folder holds a file named as the description says.
    """
    cases = [_case(folder, names, description) for folder, names in _folders(root)]
    if not any(case.files or case.label for case in cases):
        raise InputError(_no_study(root, layout(description)))
    return cases


def recognise(root: Path) -> Description:
    """Return the first known description whose naming fits most files of `root`.

    Raises `InputError`, saying which layouts are known, if none fits any file.
    """
    folders = _folders(root)
    fits: dict[str, int] = {}
    for name in DATASETS:
        cases = [_case(folder, names, DATASETS.get(name)) for folder, names in folders]
        fits[name] = sum(len(case.files) + (case.label is not None) for case in cases)
    best = max(fits, key=lambda name: fits[name])
    if not fits[best]:
        layouts = dict.fromkeys(layout(DATASETS.get(name)) for name in DATASETS)
        raise InputError(_no_study(root, " or ".join(layouts)))
    return DATASETS.get(best)


def read_nifti(path: Path) -> Image:
    """Read a 3-D NIfTI file completely; `InputError` names an unusable file and says what is wrong with it.

    A compressed file is inflated to its end, where gzip's checksum stands: a reader that stops at the last
    voxel does not notice damage.
    """
    try:
        packed = path.read_bytes()
        image = _parse(raw := _inflate(path, packed))
        _check_header(image, len(raw))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check file and permissions") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = tuple(float(edge) for edge in image.header.get_zooms())
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what scaling makes infinite is for the check to report
        data = np.asanyarray(image.dataobj)
    return Image(path, data, affine, spacing, hashlib.sha256(packed).hexdigest())


def _inflate(path: Path, packed: bytes) -> bytes:
    if not packed:
        raise InputError("the file is empty (0 bytes): copy it again")
    if not packed.startswith(GZIP_MAGIC):
        if path.name.endswith(".gz"):
            raise InputError(
                f"not a gzip file (it begins with {packed[:12]!r}): a text file or wrongly named?"
            )
        return packed
    try:
        return gzip.decompress(packed)
    except EOFError:
        found = f"truncated: the gzip data end after {len(packed)} bytes, expected more"
        raise InputError(f"{found}: copy it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"damaged gzip data ({error}): copy it again") from None


def _parse(raw: bytes) -> nib.Nifti1Image:
    # nibabel repairs headers and logs each repair, where one line about the file is wanted.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    kinds = (nib.Nifti1Image, nib.Nifti2Image)
    kind = next((k for k in kinds if k.header_class.may_contain_header(raw)), None)
    if kind is None or len(raw) < kind.header_class.sizeof_hdr:
        raise InputError(f"not a NIfTI file (it begins with {raw[:12]!r}): export it as NIfTI")
    try:
        return kind.from_bytes(raw)
    except Exception as error:  # nibabel raises whatever a damaged header leads it to
        raise InputError(f"damaged NIfTI header ({' '.join(str(error).split())}): copy it again") from None


def _check_header(image: nib.Nifti1Image, held: int) -> None:
    """Raise `InputError` unless the header describes a volume that `held` inflated bytes can hold."""
    if len(image.shape) != 3:
        shape = "x".join(map(str, image.shape))
        raise InputError(f"found {len(image.shape)} dimensions ({shape}), expected 3: give one volume a file")
    if min(image.shape) < 1:
        raise InputError(
            f"found no voxel (shape {image.shape}), expected some: copy or export the file again"
        )
    dtype = image.header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(f"found voxels of type {dtype}, expected real numbers: export the file again")
    promised = prod(image.shape) * dtype.itemsize
    proxy: Any = image.dataobj
    voxels = max(held - proxy.offset, 0)
    if voxels < promised or proxy.offset < 0:
        raise InputError(f"truncated: found {voxels} bytes of voxels, expected {promised}: copy it again")
    affine = np.asarray(image.affine)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError("the header's affine has no inverse, so voxels have no place: export the file again")


def _folders(root: Path) -> list[tuple[Path, list[str]]]:
    """Folders in `root` that may be cases, by name, each with the names of its visible NIfTI files."""
    try:
        entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
        found = []
        for entry in entries:
            if entry.is_dir():
                names = sorted(os.listdir(entry))
                images = [n for n in names if n.endswith(ENDINGS) and not n.startswith(".")]
                if images or not names:
                    found.append((entry, images))
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}): expected a folder with one folder a case"
        ) from None
    if not any(names for _, names in found) and any(entry.name.endswith(ENDINGS) for entry in entries):
        raise InputError(
            f"{root} holds NIfTI files itself, expected one folder a case: give the folder above it"
        )
    return found


def _case(folder: Path, names: list[str], description: Description) -> Case:
    def path(suffix: str) -> Path | None:
        wanted = (folder.name + suffix + ending for ending in ENDINGS)
        return next((folder / name for name in wanted if name in names), None)

    found = {m: path(s) for m, s in zip(description.modalities, description.suffixes, strict=True)}
    files = {m: p for m, p in found.items() if p}
    label = path(description.label_suffix)
    used = {p.name for p in (*files.values(), label) if p}
    return Case(folder.name, folder, files, label, tuple(n for n in names if n not in used))


def _no_study(root: Path, expected: str) -> str:
    return (
        f"{root} is no study: no folder in it holds files named {expected}: give the folder above the cases"
    )
