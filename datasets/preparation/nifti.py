"""NIfTI files: reading one to the last byte, or saying what is wrong with it.

image = read_nifti(Path("one_flair.nii.gz"))                 # one volume
image = read_nifti(Path("BRATS_001.nii.gz"), channels=4)     # four or more, along the fourth axis
write_like(Path("one_seg.nii.gz"), labels, image)            # on the same grid, under the same header
"""

import gzip
import hashlib
import logging
import os
import zlib
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from bench_errors import InputError

STORED = "LPS"
"""Where the axes of all prepared volumes point (of 3-D studies): to left, posterior and up, as BraTS's do."""

SILENT = "does not say where it lies (the codes of qform and sform are 0)"
"""What messages say of a header, of which nibabel makes a place around the origin all the same."""

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Image:
    """One NIfTI file, read to the end.

    Attributes:
        path: the file.
        data: [X, Y, Z], or [X, Y, Z, channels], in the file's own axis order; the file's type, or floats
            where it is scaled.
        affine: [4, 4] voxel index -> mm.
        spacing: edge of a voxel along each axis of space as the header says it (pixdim), in mm.
        digest: SHA-256 of the file's bytes.
        header: as it stands in the file, for images that are to lie as this one.
    """

    path: Path
    data: np.ndarray
    affine: np.ndarray
    spacing: tuple[float, ...]
    digest: str
    header: nib.Nifti1Header

    @property
    def orientation(self) -> str:
        """Where its axes point, such as ``LPS``; empty where the header does not say."""
        says = any(int(self.header[code]) for code in ("qform_code", "sform_code"))
        return orientation(self.affine) if says else ""

    def channel(self, index: int) -> "Image":
        """Return one volume of a file that has several, in the same memory."""
        return replace(self, data=self.data[..., index])


def read_nifti(path: Path, channels: int = 0) -> Image:
    """Read a NIfTI file completely; `InputError` names an unusable file and says what is wrong with it.

    The file has to have three dimensions (further ones of length 1 are dropped) or, with `channels`, a fourth
    of that length at least. A compressed file is inflated to its end, where gzip's checksum stands: a reader
    that stops at the last voxel does not notice damage. Both byte orders are read.
    """
    try:
        packed = path.read_bytes()
        image = _parse(raw := _inflate(path, packed))
        _check_header(image, len(raw), channels)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): check file and permissions") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = tuple(float(edge) for edge in image.header.get_zooms()[:3])
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what scaling makes infinite is for the check to report
        data = np.asanyarray(image.dataobj)
    if not channels:
        data = data.reshape(image.shape[:3], order="F")
    return Image(path, data, affine, spacing, hashlib.sha256(packed).hexdigest(), image.header)


def orientation(affine: np.ndarray) -> str:
    """Return where the axes of a volume point, such as ``LPS``: nearest to left, posterior and up."""
    return "".join(nib.aff2axcodes(affine))


def turned(array: np.ndarray, held: str, wanted: str) -> np.ndarray:
    """Return a view of an array [X, Y, Z] whose axes point as `held` (``RAS``), pointing as `wanted`."""
    steps = ornt_transform(axcodes2ornt(held), axcodes2ornt(wanted))
    return apply_orientation(array, steps)


def turned_sizes(affine: np.ndarray, held: str, wanted: str) -> np.ndarray:
    """Return the edges of a voxel in mm along axes that are `turned` from pointing as `held` to `wanted`."""
    steps = ornt_transform(axcodes2ornt(held), axcodes2ornt(wanted))
    return voxel_sizes(affine)[np.argsort(steps[:, 0])]


def turned_affine(affine: np.ndarray, shape: tuple[int, ...], wanted: str) -> np.ndarray:
    """Return the affine of a volume [X, Y, Z] of this shape and affine once it is `turned`."""
    steps = ornt_transform(io_orientation(affine), axcodes2ornt(wanted))
    return np.asarray(affine @ inv_ornt_aff(steps, shape))


def write_like(path: Path, array: np.ndarray, like: Image) -> None:
    """Write an array on the grid of `like`, [X, Y, Z] or with a fourth axis, under its header.

    Affine, orientation, units and codes of space stay; type and scaling become those of the array, and what
    the header says of the values (intent) and of a fourth axis (steps of time) goes. The file is whole or not
    there. Raises `InputError` where it cannot be written.
    """
    header = like.header.copy()
    header.set_data_dtype(array.dtype)
    header.set_intent("none")
    header["pixdim"][4:], header["toffset"] = 1, 0
    header.set_xyzt_units(header.get_xyzt_units()[0])
    header["cal_min"] = header["cal_max"] = 0  # the window to show an image in, which this is not
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = kind(array, like.affine, header)
        if not np.allclose(like.affine, like.header.get_best_affine()):  # brought to another grid
            for place, code in ((image.set_qform, "qform_code"), (image.set_sform, "sform_code")):
                place(like.affine, code=int(like.header[code]))
        nib.save(image, beside)
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another --out") from None
    finally:
        beside.unlink(missing_ok=True)


def _inflate(path: Path, packed: bytes) -> bytes:
    if not packed:
        raise InputError("the file is empty (0 bytes): copy it again")
    if not packed.startswith(GZIP_MAGIC):
        if path.name.endswith(".gz"):
            raise InputError(
                f"not a gzip file (it begins with {packed[:12]!r}), expected a packed image: "
                "copy it again, or rename it if it is something else"
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
        header = kind.header_class(raw[: kind.header_class.sizeof_hdr], check=False)
        if header["sizeof_hdr"] != kind.header_class.sizeof_hdr:
            raise InputError("damaged NIfTI header (its bytes are in two orders): copy it again")
        # nibabel takes a voxel of no size for one of 1 mm; some processors take denormal numbers for 0.
        edges = header["pixdim"][1:4]
        if not (np.abs(edges) >= np.finfo(np.float32).tiny).all():
            size = "x".join(f"{edge:g}" for edge in edges)
            raise InputError(f"found voxels of {size} mm, expected a size: export the file again")
        return kind.from_bytes(raw)
    except InputError:
        raise
    except Exception as error:  # nibabel raises whatever a damaged header leads it to
        raise InputError(f"damaged NIfTI header ({' '.join(str(error).split())}): copy it again") from None


def _check_header(image: nib.Nifti1Image, held: int, channels: int) -> None:
    """Raise `InputError` unless the header describes a volume that `held` inflated bytes can hold."""
    shape = image.shape if channels else image.shape[:3] + tuple(n for n in image.shape[3:] if n != 1)
    if len(shape) != (4 if channels else 3) or (channels and shape[3] < channels):
        found = f"found {len(image.shape)} dimensions ({'x'.join(map(str, image.shape))})"
        if channels:
            raise InputError(
                f"{found}, expected 4 with {channels} or more volumes along the last, by the channels the "
                "description names: export the file again"
            )
        raise InputError(f"{found}, expected 3: give one volume a file")
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
