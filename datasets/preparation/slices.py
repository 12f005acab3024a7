"""Slices of a prepared volume as cases of their own: ``for case in slices_of(volume, description): ...``

So what is said of cases is said of slices: who lacks what, what is tested, and each by itself. The protocol
is that of HGA's experiments on MSSEG 2016: slices with enough of the lesion, numbered as in a volume that is
cut to the box of FLAIR and padded on both sides to `edge` slices.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from datasets.store.store import CaseRecord
from datasets.vocabulary import SLICE, Slices


class Arrays(NamedTuple):
    """A case as it is to be stored.

    Attributes:
        name: of the case.
        record: without checksums.
        stored: intensities [M, X, Y, Z], as the files have them.
        classes: uint8 [X, Y, Z].
    """

    name: str
    record: CaseRecord
    stored: np.ndarray
    classes: np.ndarray


def slices_of(volume: Arrays, slices: Slices) -> Iterator[Arrays]:
    """Yield the slices of a volume that have enough labelled voxels.

    A slice has the modalities that show something there: one of a single value does not, and a slice with
    none that does is left out.
    """
    record = volume.record
    first, end = record.box[2]
    before = max(slices.edge - (end - first), 0) // 2 if slices.box else first
    for z in range(volume.record.shape[2]):
        part = slice(z, z + 1)
        stored, classes = volume.stored[..., part].copy(), volume.classes[..., part]
        shows = stored.reshape(len(stored), -1).min(axis=1) != stored.reshape(len(stored), -1).max(axis=1)
        if not shows.any() or np.count_nonzero(classes) < slices.labelled:
            continue
        stored[~shows] = 0

        def shown(facts: tuple[float | None, ...], shows: np.ndarray = shows) -> tuple[float | None, ...]:
            return tuple(fact if there else None for fact, there in zip(facts, shows, strict=True))

        of_slice = replace(
            record,
            shape=classes.shape,
            box=(*record.box[:2], (first + z, first + z + 1)),
            available=tuple(shows.tolist()),
            mean=shown(record.mean),
            std=shown(record.std),
            background=shown(record.background),
            negative=shown(record.negative),
            labelled=tuple(np.count_nonzero(classes, axis=(1, 2)).tolist()),
            content=hashlib.sha256(f"{record.content} {z}".encode()).hexdigest(),
            slice_of=volume.name,
        )
        yield Arrays(f"{volume.name}{SLICE}{before + z}", of_slice, stored, classes)
