"""The embedded synthetic studies: files that look and behave like BraTS (or MyoPS), from a seed.

    names = write_study(Path("data/phantom"), cases=40, size=64, seed=0)      # bench data phantom

Anatomy and contrasts are in `datasets.phantom.brain`, its second edition in `datasets.phantom.patient`,
hearts in `datasets.phantom.heart`; here they become NIfTI.
"""

from collections.abc import Callable
from dataclasses import dataclass
from gzip import GzipFile
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from bench_errors import InputError
from bench_registry import unknown
from datasets.phantom.brain import brain
from datasets.phantom.heart import SLICE_MM, VIEW_MM, heart
from datasets.phantom.patient import patient, voxel_mm
from datasets.phantom.scanners import hospital_of
from datasets.studies.brats import BRATS2020, PHANTOM2
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import Description

MAX_SIZE = (240, 240, 155)
MIN_SIZE = 32
MYOPS_SLICES = 5
GZIP_LEVEL = 6

Shape = tuple[int, int, int]
DrawCase = Callable[[Shape, int, str], tuple[dict[str, Any], Any]]


@dataclass(frozen=True)
class PhantomKind:
    """A kind of study.

    Attributes:
        description: how its files are named.
        draw: draws a case of a shape, from a seed and its name.
        name: of a case, by its number from 0.
        spacing: edges of a voxel in mm, by the volume's shape.
        depth: the third length of a volume whose size is a single number; None: that number.
        columns: what else than its name the path of a case tells, by seed and name.
    """

    description: Description
    draw: DrawCase
    name: Callable[[int], str]
    spacing: Callable[[Shape], tuple[float, float, float]]
    depth: int | None = None
    columns: Callable[[int, str], dict[str, str]] = lambda seed, case: {}


LAYOUTS = {
    # The first edition's files say 1 mm, whatever the size.
    "brats": PhantomKind(
        BRATS2020, brain, lambda index: f"Phantom_{index + 1:03d}", lambda shape: (1.0, 1.0, 1.0)
    ),
    "gliomas": PhantomKind(
        PHANTOM2,
        patient,
        lambda index: f"Phantom2_{index + 1:03d}",
        lambda shape: (voxel_mm(shape),) * 3,
        columns=lambda seed, case: {"hospital": hospital_of(seed, case)},
    ),
    "myops": PhantomKind(
        MYOPS2020,
        heart,
        lambda index: str(101 + index),
        lambda shape: (VIEW_MM / shape[0], VIEW_MM / shape[0], SLICE_MM),
        depth=MYOPS_SLICES,
    ),
}


def write_study(
    out: Path,
    cases: int,
    size: int | tuple[int, int, int] = 64,
    seed: int = 0,
    layout: str = "brats",
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Write a synthetic study below `out` and return its case names.

    A case depends on seed, layout, size and its own number only: case 3 is the same, to the byte, in a
    study of 10 and of 40. Files of the same name are replaced, others are left alone.

    Args:
        out: folder; `<case>/<case><suffix>.nii.gz` are written into it, for `gliomas` by hospital.
        cases: how many, at least 1.
        size: edge of the volume in voxels, or its three lengths; at most 240x240x155. For `myops` the
            third length is the number of slices (5 with a single number).
        seed: of all draws, at least 0.
        layout: "brats" (four contrasts of a brain), "gliomas" (their second edition) or "myops" (three
            contrasts of a heart, slices).
        progress: called with the number of cases written so far, after each.

    Raises:
        InputError: unknown layout, impossible size, number or seed, or a folder that cannot be written.
    """
    if layout not in LAYOUTS:
        raise InputError(unknown("layout", layout, list(LAYOUTS)))
    if cases < 1:
        raise InputError(f"found {cases} cases, expected at least 1: ask for more with --cases")
    if seed < 0:
        raise InputError(f"found seed {seed}, expected 0 or more: give another --seed")
    kind = LAYOUTS[layout]
    shape = study_shape(size, layout)
    affine = _affine(shape, kind)
    names = case_names(cases, layout)
    for done, name in enumerate(names, start=1):
        volumes, labels = kind.draw(shape, seed, name)
        files = {
            suffix: volumes[modality]
            for modality, suffix in zip(kind.description.modalities, kind.description.suffixes, strict=True)
        }
        files[kind.description.label_suffix] = labels
        # The folders above a case's are its columns, in the order of the layout.
        folder = Path(out, *kind.columns(seed, name).values(), name)
        _write(folder, name, files, affine)
        if progress:
            progress(done)
    return names


def case_names(cases: int, layout: str) -> list[str]:
    """Return the names of the cases of a study."""
    return [LAYOUTS[layout].name(index) for index in range(cases)]


def case_columns(cases: int, seed: int, layout: str) -> dict[str, dict[str, str]]:
    """Return what the paths tell of each case of a study besides its name: hospitals, of "gliomas"."""
    return {name: LAYOUTS[layout].columns(seed, name) for name in case_names(cases, layout)}


def study_shape(size: int | tuple[int, int, int], layout: str) -> tuple[int, int, int]:
    """Return the shape [X, Y, Z] of a study's volumes; raise `InputError` for an impossible size."""
    return _shape(size, LAYOUTS[layout].depth)


def _shape(size: int | tuple[int, int, int], depth: int | None) -> tuple[int, int, int]:
    """Check the size; `depth` is the third length that a single number stands for (None: the number)."""
    shape = (size, size, depth or size) if isinstance(size, int) else size
    smallest = (MIN_SIZE, MIN_SIZE, 1 if depth else MIN_SIZE)
    if any(not low <= n <= high for n, low, high in zip(shape, smallest, MAX_SIZE, strict=True)):
        found, low, high = ("x".join(map(str, s)) for s in (shape, smallest, MAX_SIZE))
        raise InputError(f"found size {found}, expected {low} to {high}: give another --size")
    return shape


def _affine(shape: tuple[int, int, int], kind: PhantomKind) -> np.ndarray:
    """Voxel to world as in BraTS: x to the left, y to the back, z up, the last row of y at the origin."""
    spacing = kind.spacing(shape)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing[1]
    return affine


def _write(folder: Path, name: str, files: dict[str, np.ndarray], affine: np.ndarray) -> None:
    """Write `<name><suffix>.nii.gz` for every suffix, with nothing in the files but what the data say."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, volume in files.items():
            image = nibabel.Nifti1Image(volume, affine)
            image.header.set_xyzt_units("mm")
            packed = BytesIO()
            with GzipFile(
                filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=packed, mtime=0
            ) as stream:
                stream.write(image.to_bytes())
            (folder / f"{name}{suffix}.nii.gz").write_bytes(packed.getvalue())
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}): choose another folder with --out"
        ) from error


def study_size(text: str) -> int | tuple[int, int, int]:
    """Read the size of a phantom study: one edge in voxels, ``"64"``, or three, ``"240x240x155"``."""
    try:
        edges = [int(part) for part in text.lower().split("x")]
    except ValueError:
        edges = []
    if len(edges) == 1:
        return edges[0]
    if len(edges) == 3:
        return (edges[0], edges[1], edges[2])
    raise InputError(f"size '{text}': expected one edge such as 64, or three such as 240x240x155")
