"""What the images of a study look like, so that a new patient's that do not can be told.

    likeness = Likeness.of(store, cases)           # of the training cases; stands in a run's config.yaml
    for warning in likeness.differences(examined.volumes, edges): ...

A network normalises whatever it is given; these are the signs that it was given something else than what it
has learnt from: a head with its skull, a background that is not 0, intensities normalised before, voxels of
another size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes

from datasets.preparation.examine import sum_of
from datasets.preparation.nifti import orientation
from datasets.store.store import Store

SPARE = 1.25
"""Sizes may be this many times those of training before it is said: a head this much larger has its skull
(head to brain is more than 2), and voxels this much larger blur what the network goes by."""

NEGATIVE = 0.1
"""Share of the voxels of a head below 0 that tells a normalised image; resampling leaves less than 0.01."""


@dataclass(frozen=True)
class Likeness:
    """What is alike among the images of a study.

    Attributes:
        orientation: where the axes point, such as ``LPS``; empty where the cases differ.
        spacing: (smallest, largest) edge of a voxel along each axis, in mm.
        tissue: (smallest, largest) volume of a head in mL, where the sum of the modalities is positive; None
            in stores of older versions.
    """

    orientation: str
    spacing: tuple[tuple[float, float], ...]
    tissue: tuple[float, float] | None

    @classmethod
    def of(cls, store: Store, cases: Iterable[str]) -> "Likeness":
        """Return what the prepared `cases` have in common."""
        records = [store.records[case] for case in cases]
        affines = [np.array(record.affine) for record in records]
        codes = {orientation(affine) for affine in affines}
        edges = np.array([voxel_sizes(affine) for affine in affines])
        volumes = [
            record.tissue * float(np.prod(edge)) / 1000
            for record, edge in zip(records, edges, strict=True)
            if record.tissue is not None
        ]
        return cls(
            codes.pop() if len(codes) == 1 else "",
            tuple(zip(_rounded(edges.min(axis=0)), _rounded(edges.max(axis=0)), strict=True)),
            (round(min(volumes), 1), round(max(volumes), 1)) if len(volumes) == len(records) else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers, as written to YAML."""
        content = asdict(self)
        return {
            **content,
            "spacing": [list(edge) for edge in self.spacing],
            "tissue": self.tissue and list(self.tissue),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Likeness":
        """Inverse of `to_dict`."""
        tissue = values["tissue"]
        return cls(
            values["orientation"],
            tuple((edge[0], edge[1]) for edge in values["spacing"]),
            (tissue[0], tissue[1]) if tissue else None,
        )

    def differences(self, volumes: Mapping[str, np.ndarray], edges: np.ndarray) -> list[str]:
        """Say in what a case differs so much that its segmentation is not to be trusted; nothing if in none.

        Args:
            volumes: modality -> the whole volume [X, Y, Z] as its file has it, axes as in training.
            edges: [3] of a voxel of all of them, in mm.
        """
        found = []
        for modality, volume in volumes.items():
            below = np.count_nonzero(volume < 0) / np.count_nonzero(volume)
            if below > NEGATIVE:
                found.append(
                    f"{modality} looks normalised already: {below:.0%} of its voxels that are not 0 are "
                    "negative; give the intensities as the scanner made them, 0 outside the head"
                )
        tissue = np.count_nonzero(sum_of(list(volumes.values())) > 0) * float(np.prod(edges)) / 1000
        return found + self.differences_of_size(edges, tissue)

    def differences_of_size(self, edges: np.ndarray, tissue: float) -> list[str]:
        """Say the same of the edges of a voxel, in mm, and the volume of a head, in mL."""
        found = []
        if any(
            not low / SPARE <= e <= high * SPARE for e, (low, high) in zip(edges, self.spacing, strict=True)
        ):
            trained = "x".join(
                f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in self.spacing
            )
            found.append(
                f"the voxels are {'x'.join(f'{edge:.3g}' for edge in edges)} mm, in training they "
                f"were {trained}: resample the images to that"
            )
        if self.tissue and not self.tissue[0] / SPARE / SPARE <= tissue <= self.tissue[1] * SPARE:
            what = (
                "a skull that is not stripped, or a background that is not 0"
                if tissue > self.tissue[1]
                else "a part of the head, or a mask that takes away too much"
            )
            found.append(
                f"the voxels above 0 fill {tissue:.4g} mL, in training {self.tissue[0]:.4g} to "
                f"{self.tissue[1]:.4g}: it looks like {what}; bring the images into the form of "
                "the training data"
            )
        return found


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
