"""A small study of NIfTI files to be spoilt by the tests: `write_study(root, description, names)`."""

import re
import zlib

import nibabel as nib
import numpy as np

SHAPE = (12, 10, 8)
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])


def head(name, modalities, shape=SHAPE, file_labels=(0, 1, 2, 4)):
    """Volumes {modality: int16 array} of a head with an empty margin of 1, and its labels (uint16)."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    inside = tuple(slice(1, edge - 1) for edge in shape)
    volumes = {m: np.zeros(shape, dtype=np.int16) for m in modalities}
    for volume in volumes.values():
        volume[inside] = rng.integers(1, 1000, volume[inside].shape)
    labels = np.zeros(shape, dtype=np.uint16)
    centre = tuple(slice(3, edge - 3) for edge in shape)
    labels[centre] = rng.choice(file_labels, labels[centre].shape)
    return volumes, labels


def write_image(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_case(root, description, name, shape=SHAPE, layout=0, **columns):
    """Write one case in one of the description's layouts; return its path per modality, and under `label`.

    `columns` says what the layout's other words in braces stand for.
    """
    where = description.layouts[layout]
    words = {"case": name, **columns}
    files = {m: file for m, file in zip(description.modalities, where.files, strict=True)}
    paths = {
        key: root / (re.sub(r"\{(\w+)[^}]*\}", lambda word: words[word[1]], pattern) + ".nii.gz")
        for key, pattern in {**files, "label": where.label, "mask": where.mask}.items()
        if pattern
    }
    volumes, labels = head(name, description.modalities, shape, tuple(description.file_labels))
    if description.channels:
        in_order = [description.modalities[place] for place in np.argsort(description.channels)]
        write_image(paths[in_order[0]], np.stack([volumes[m] for m in in_order], axis=-1))
    else:
        for modality, volume in volumes.items():
            write_image(paths[modality], volume)
    write_image(paths["label"], labels)
    if where.mask:
        write_image(paths["mask"], (next(iter(volumes.values())) > 0).astype(np.float32) * np.float32(0.9999))
    return paths


def write_study(root, description, names=("one", "two"), shape=SHAPE):
    return {name: write_case(root, description, name, shape) for name in names}


def rewrite(path, change):
    """Apply `change(array, affine) -> (array, affine)` to an image file."""
    image = nib.load(path)
    array, affine = np.asanyarray(image.dataobj), image.affine.copy()
    del image
    write_image(path, *change(array, affine))
