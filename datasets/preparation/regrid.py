"""Brings the files of a case to one grid: ``regrid(images, "flair", description, sound)``."""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from nibabel.affines import voxel_sizes

from bench_errors import InputError
from datasets.preparation.head import face_value
from datasets.preparation.nifti import SILENT, Image, orientation
from datasets.preparation.voxel_grids import resampled, same_grid, spaced, uncovered
from datasets.vocabulary import Description, is_spacing

LOST_LABELS, LOST_IMAGE = 0.01, 0.9
"""Share of the labelled voxels, and of an image, that may lie outside the grid that a case is brought to."""

Finding = tuple[str, Literal["error", "note"], str]
"""Name of the file in the case, severity and message."""


def regrid(
    images: dict[str, Image], grid: str, description: Description, sound: Callable[[str, np.ndarray], bool]
) -> Iterator[Finding]:
    """Bring all images to the grid of a modality (if the case lacks it, of its first), or to voxels of mm.

    Replaces what it brings in `images`, and yields what was done, and the errors of what lies elsewhere. A
    file that is not `sound`, and cannot be interpolated, stays as it is.

    Args:
        images: modality, `label` or `mask` -> file.
        grid: as in `Description`; empty: nothing is done.
        description: what is known of backgrounds and slices.
        sound: whether the voxels of a file are what they should be.
    """
    if not (grid and images):
        return
    first = grid if grid in images else next(iter(images))
    like, as_what = images[first], f" as {first}"
    if is_spacing(grid):
        try:
            like, as_what = spaced(like, float(grid), description.spatial_dims), ""
        except InputError as error:
            yield first, "error", str(error)
            return
    for name, image in list(images.items()):
        if same_grid(image, like):
            images[name] = resampled(image, like)
        elif bool(image.orientation) != bool(like.orientation):
            # The place that nibabel makes up for such a file is mirrored to most others.
            silent, so = name, f"it cannot be brought to the grid of {first}"
            if not like.orientation:
                silent, so = first, "nothing can be brought to its grid"
            yield silent, "error", f"the header {SILENT}, so {so}: write the codes"
            if silent == first:
                return
        elif sound(name, image.data):
            if problem := _elsewhere(name, image, like, first):
                yield name, "error", problem
                continue
            yield name, "note", f"resampled from {_text(image)}, to {_text(like)}{as_what}"
            discrete = name in ("label", "mask")
            outside = 0.0 if discrete else _background(image, description)
            images[name] = resampled(image, like, discrete, outside, to_faces=is_spacing(grid))


def _elsewhere(name: str, image: Image, like: Image, first: str) -> str:
    """Say how much of a file lies outside the grid where that is too much; empty where it is not."""
    lost = uncovered(image, like, image.data if name == "label" else None)
    if lost <= (LOST_LABELS if name == "label" else LOST_IMAGE):
        return ""
    what = "of its labelled voxels lie" if name == "label" else "of it lies"
    advice = "see whether its header is right, or name another grid"
    return f"{lost:.0%} {what} outside the grid of {first}: {advice}"


def _text(image: Image) -> str:
    edges = "x".join(f"{edge:.3g}" for edge in voxel_sizes(image.affine))
    return f"{'x'.join(map(str, image.data.shape))} voxels of {edges} mm, {orientation(image.affine)}"


def _background(image: Image, description: Description) -> float:
    """What stands where an image has no voxel: what is outside the head, else its lowest value."""
    if description.background is not None:
        return description.background
    value = face_value(image.data, description.spatial_dims)
    return float(image.data.min()) if value is None or description.whole else value
