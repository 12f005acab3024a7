"""Examples: one slice of a few tested cases with label and predictions, a run's `examples.npz`.

    example = cut(case, volumes, label, predictions, affine)
    chosen = choose(rows)               # {"case 7": ("first", "worst"), ...}
    save(path, examples)
    examples = load(path)

They are what can be shown of a run where its data are not. Needs neither torch nor a store.
"""

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from benchmark.run_folder.case_rows import CaseRow
from benchmark.run_folder.files import write_atomically

FILE = "examples.npz"
ROLES = ("first", "worst", "median", "best")
"""`first` is the same case in every run of a split; the others are by the run's mean Dice."""
LEVELS = 64
"""Grey levels that are kept: the eye tells no more apart, and the file has two thirds of the size."""
WINDOW = (0.5, 99.5)
"""Percentiles of a slice's intensities that become black and white."""

Slice = NDArray[np.uint8]


@dataclass(frozen=True)
class Example:
    """One slice of a case as one looks at it: anterior above, the patient's right on the left.

    Attributes:
        case: its name.
        roles: why it was chosen, out of `ROLES`; empty before.
        place: index of the slice on the last axis of the stored volume.
        volumes: grey values uint8 [M, rows, columns]; zeros where the case lacks the modality.
        label: class indices uint8 [rows, columns].
        predictions: the same by name of the subset.
    """

    case: str
    roles: tuple[str, ...]
    place: int
    volumes: Slice
    label: Slice
    predictions: dict[str, Slice]


def choose(rows: Sequence[CaseRow]) -> dict[str, tuple[str, ...]]:
    """Return the cases to keep and why: the first tested and the worst, median and best by mean Dice.

    Args:
        rows: those of `cases.csv`, in the order of testing.

    The mean is over all subsets and regions of a case that have a value; equal means go by name.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        dice = values.setdefault(row.case, [])
        if row.metric == "dice" and not np.isnan(row.value):
            dice.append(row.value)
    ranked = sorted(values, key=lambda case: (float(np.mean(values[case] or [0.0])), case))
    if not ranked:
        return {}
    of_role = (next(iter(values)), ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1])
    chosen: dict[str, tuple[str, ...]] = {}
    for role, case in zip(ROLES, of_role, strict=True):
        chosen[case] = (*chosen.get(case, ()), role)
    return chosen


def cut(
    case: str,
    volumes: NDArray[np.float32],
    label: Slice,
    predictions: Mapping[str, Slice],
    affine: Sequence[Sequence[float]],
    place: int | None = None,
) -> Example:
    """Cut one slice.

    Args:
        case: its name.
        volumes: [M, *space]; zeros where the case lacks the modality.
        label: class indices [*space].
        predictions: class indices [*space] by name of the subset.
        affine: [4, 4], voxel index to mm, of the volumes.
        place: index of the slice on the last axis; None: the first of `places(label)`.
    """
    place = places(label)[0] if place is None else place
    return Example(
        case,
        (),
        place,
        np.stack([upright(_grey(volume[..., place]), affine) for volume in volumes]),
        upright(label[..., place], affine),
        {name: upright(found[..., place], affine) for name, found in predictions.items()},
    )


def places(label: Slice) -> tuple[int, ...]:
    """Return the slice in which a label [*space] is largest, and those halfway from it to its two ends.

    Of an empty label, the middle one.
    """
    area = np.count_nonzero(label, axis=(0, 1))
    if not area.any():
        return (label.shape[-1] // 2,)
    largest, ends = int(area.argmax()), np.flatnonzero(area)[[0, -1]].tolist()
    return tuple(dict.fromkeys([largest, *((largest + end) // 2 for end in ends)]))


def upright(plane: Slice, affine: Sequence[Sequence[float]]) -> Slice:
    """Turn a plane [x, y] into a picture: rows from anterior to posterior, the patient's right on the left.

    NIfTI's millimetres grow towards right and anterior, so an axis that grows with them is turned round.
    """
    turned = plane.T[:: -1 if affine[1][1] > 0 else 1, :: -1 if affine[0][0] > 0 else 1]
    return np.ascontiguousarray(turned)


def save(path: Path, examples: Sequence[Example]) -> None:
    """Write the examples; equal ones give equal bytes."""
    arrays: dict[str, NDArray[np.generic]] = {
        "cases": np.array([e.case for e in examples], dtype=np.str_),
        "roles": np.array([" ".join(e.roles) for e in examples], dtype=np.str_),
        "places": np.array([e.place for e in examples], dtype=np.int64),
    }
    for i, example in enumerate(examples):
        arrays[f"volumes{i}"] = example.volumes
        arrays[f"label{i}"] = example.label
        arrays[f"subsets{i}"] = np.array(list(example.predictions), dtype=np.str_)
        arrays[f"predictions{i}"] = np.stack(list(example.predictions.values()))
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(path, content.getvalue())


def load(path: Path) -> list[Example]:
    """Return the examples of a file, none where there is no file; `ValueError` or `KeyError` if damaged."""
    if not path.exists():
        return []
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [_example(arrays, i) for i in range(len(arrays["cases"]))]
    except (BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name}: {error}") from None


def _example(arrays: Mapping[str, NDArray[Any]], i: int) -> Example:
    return Example(
        str(arrays["cases"][i]),
        tuple(str(arrays["roles"][i]).split()),
        int(arrays["places"][i]),
        arrays[f"volumes{i}"],
        arrays[f"label{i}"],
        dict(zip(arrays[f"subsets{i}"].tolist(), arrays[f"predictions{i}"], strict=True)),
    )


def _grey(plane: NDArray[np.float32]) -> Slice:
    """Spread a slice's intensities over the grey values; its lowest one is the background, and black."""
    background = plane.min()
    if plane.max() == background:
        return np.zeros(plane.shape, dtype=np.uint8)
    low, high = np.percentile(plane[plane > background], WINDOW)
    share = np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * (plane > background)
    return (np.round(share * (LEVELS - 1)) * (255 / (LEVELS - 1))).astype(np.uint8)
