"""Lesions: the reference's, and which components of a prediction belong to which of them.

    lesions = Lesions(reference, dilation=3)
    matches = Matches(prediction, lesions)
    matches.touching[0], matches.invented       # components at the first lesion; how many are at none

As in BraTS 2023 (github.com/rachitsaluja/BraTS-2023-Metrics): a connected component of the prediction belongs
to every lesion whose growth it touches. Of the growths no two touch, so one image of labels holds them all.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmark.evaluation.metrics.surfaces import Mask

Labels = NDArray[np.int32]


class Lesions:
    """The lesions of a reference mask [*space].

    Attributes:
        grown: number of the lesion, from 1, in whose growth a voxel lies; 0 outside all.
        labels: the same, of the voxels that are in the mask itself.
        sizes: [lesions], in voxels.
    """

    def __init__(self, mask: Mask, dilation: int):
        near = ndimage.generate_binary_structure(mask.ndim, 2)
        grown = ndimage.binary_dilation(mask, near, iterations=dilation) if dilation else mask
        self.grown = _components(grown)
        self.labels: Labels = np.where(mask, self.grown, 0)
        self.sizes = _sizes(self.labels)


class Matches:
    """The components of a prediction [*space] and the lesions they belong to.

    Attributes:
        components: number of the component, from 1; 0 outside the prediction.
        sizes: [components], in voxels.
        touching: for each lesion, the numbers of the components at it.
        overlaps: [lesions], voxels of each that are predicted.
        invented: how many components are at no lesion.
    """

    def __init__(self, mask: Mask, lesions: Lesions):
        count = len(lesions.sizes)
        self.components = _components(mask)
        self.sizes = _sizes(self.components)
        pairs = np.unique(
            lesions.grown[mask].astype(np.int64) * (len(self.sizes) + 1) + self.components[mask]
        )
        lesion, component = np.divmod(pairs, len(self.sizes) + 1)
        self.touching = np.split(component, np.searchsorted(lesion, np.arange(count) + 1))[1:]
        self.overlaps = np.bincount(lesions.labels[mask], minlength=count + 1)[1:]
        self.invented = len(self.sizes) - len(np.unique(component[lesion > 0]))


def _components(mask: Mask) -> Labels:
    """Number the components of a mask, whose voxels touch at a face, an edge or a corner."""
    return np.asarray(ndimage.label(mask, np.ones((3,) * mask.ndim))[0], dtype=np.int32)


def _sizes(labels: Labels) -> NDArray[np.int64]:
    return np.bincount(labels.ravel())[1:]
