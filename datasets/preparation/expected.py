"""A study that is not prepared yet, of which cases and shape are known beforehand, but no voxels.

store = expected_store(BRATS2020, names, (150, 180, 150))
"""

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from datasets.store.store import CaseRecord, Store
from datasets.vocabulary import Description


def expected_store(
    description: Description,
    names: list[str],
    shape: tuple[int, ...],
    columns: Mapping[str, dict[str, str]] | None = None,
) -> Store:
    """Return a store of cases that have every modality and one shape [X, Y, Z], but no voxels to read.

    `columns`: what else is known of each case, by its name.
    """
    record = CaseRecord(
        key="expected",
        shape=shape,
        original_shape=shape,
        box=tuple((0, n) for n in shape),
        affine=tuple(map(tuple, np.eye(4).tolist())),
        orientation="RAS",
        available=(True,) * len(description.modalities),
        mean=(0.0,) * len(description.modalities),
        std=(1000.0,) * len(description.modalities),
        background=(0.0,) * len(description.modalities),
        negative=(0.0,) * len(description.modalities),
        labelled=(0,) * shape[0],
        prints={},
        sources={},
        content="",
        checksums={},
        tissue=prod(shape),
    )
    told = columns or {}
    records = {name: replace(record, columns=told.get(name, {})) for name in names}
    return Store(Path(), description, {}, records)
