"""A study that is not prepared yet: what is known of it beforehand, and noise of its size.

store = expected_store(BRATS2020, names, (150, 180, 150))      # its cases and their shape, no voxels
store = noise_store(BRATS2020, (150, 180, 150), folder)        # one case, to be read as any other
"""

from math import prod
from pathlib import Path

import numpy as np

from datasets.preparation.prepare import packed_case
from datasets.randomness import generator
from datasets.store.store import CaseRecord, Store
from datasets.vocabulary import Description

NOISE = "noise"
"""The name of the one case of a `noise_store`."""


def expected_store(description: Description, names: list[str], shape: tuple[int, ...]) -> Store:
    """Return a store of cases that have every modality and one shape [X, Y, Z], but no voxels to read."""
    record = CaseRecord(
        key=NOISE,
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
    return Store(Path(), description, {}, dict.fromkeys(names, record))


def noise_store(description: Description, shape: tuple[int, ...], folder: Path) -> Store:
    """Write a store of one case, `NOISE`, with noise in every modality and nested shells of all classes.

    Reading, cropping and scoring it costs what a real case of the shape [X, Y, Z] does, about.
    """
    random = generator(0, NOISE)
    volumes = random.integers(-3000, 3000, (len(description.modalities), *shape), dtype=np.int16)
    centre = np.ogrid[tuple(slice(-1.0, 1.0, n * 1j) for n in shape)]
    distance = np.sqrt(sum(axis**2 for axis in centre[: description.spatial_dims]))
    shells = len(description.classes) - 1
    inside = np.broadcast_to(distance, shape) < 0.4
    labels = np.where(inside, 1 + np.minimum(distance / 0.4 * shells, shells - 1), 0).astype(np.uint8)
    store = expected_store(description, [NOISE], shape)
    labelled = tuple(np.count_nonzero(labels, axis=(1, 2)).tolist())
    case = folder / NOISE / NOISE
    case.mkdir(parents=True)
    for name, content in packed_case(volumes, labels, description).items():
        (case / name).write_bytes(content)
    record = CaseRecord.from_dict({**store.record(NOISE).to_dict(), "labelled": labelled})
    return Store(folder, description, {}, {NOISE: record})
