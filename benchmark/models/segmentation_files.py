"""Segmentations as files: ``write_segmentation(segmentation, description, out)``, and a table of volumes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench_errors import InputError
from benchmark.evaluation.example_slices import Example
from benchmark.models.confidence import Confidence
from benchmark.report.figures.quick_look import quick_look
from benchmark.report.figures.style import save
from benchmark.report.tables.csv_text import csv_text
from benchmark.run_folder.files import write_atomically
from datasets.preparation.nifti import Image, write_like
from datasets.vocabulary import ENDINGS, Description

VOLUMES = "volumes.csv"
"""The table of a study's volumes, beside its segmentations."""


@dataclass(frozen=True)
class PatientSegmentation:
    """One patient's segmentation, on the grid of the first image.

    Attributes:
        subset: the modalities it was made from, such as ``flair+t2``.
        classes: the most probable class, uint8 [X, Y, Z].
        probabilities: float32 [X, Y, Z, C], 1 for the background outside the crop; None if not asked for.
        volumes: region -> its volume in mL, 0 where it has fewer voxels than its `min_voxels`.
        like: the image whose grid and header it has.
        warnings: what may make it worthless, one line each.
        notes: what was done to the images beyond what training does.
        confidence: how far it can be trusted.
        slices: some of the images as the network saw them, with the classes as label.
    """

    subset: str
    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None
    volumes: dict[str, float]
    like: Image
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    confidence: Confidence
    slices: tuple[Example, ...]

    def table_row(self, regions: Sequence[str]) -> list[str]:
        """Return its cells under `table_head`, between those of case and remarks."""
        known, tested = self.confidence, self.confidence.tested
        return [
            self.subset,
            *(f"{self.volumes[r]:.3f}" for r in regions),
            str(max((test.cases for test in tested.values()), default=0)),
            *(f"{tested[r].mean:.4f}" if r in tested else "" for r in regions),
            *(f"{known.agreement[r]:.4f}" if r in known.agreement else "" for r in regions),
            known.words,
        ]


def output_files(out: Path, probabilities: bool, picture: bool = False) -> list[Path]:
    """Return the files of a segmentation that is to be `out`; `InputError` if that is no name of an image.

    After it the file of the probabilities, last that of the picture, where they are wanted.
    """
    ending = next((ending for ending in ENDINGS if out.name.endswith(ending)), None)
    if ending is None:
        raise InputError(f"--out {out}: expected a name that ends in {' or '.join(ENDINGS)}")
    stem = out.name.removesuffix(ending)
    files = {f"{stem}_probabilities{ending}": probabilities, f"{stem}.png": picture}
    return [out, *(out.with_name(name) for name, wanted in files.items() if wanted)]


def labelled_as(trained: Description, dataset: Description) -> Description:
    """Return `trained` with the values of another dataset's label files, where that has all its classes."""
    if not set(trained.classes) <= set(dataset.classes):
        return trained
    values = {
        value: trained.classes.index(dataset.classes[index])
        for value, index in dataset.file_labels.items()
        if dataset.classes[index] in trained.classes
    }
    return replace(trained, name=dataset.name, file_labels=values)


def class_values(description: Description) -> list[int]:
    """Return the value that stands for each class in a label file: the first of several."""
    of_class: dict[int, int] = {}
    for value, index in description.file_labels.items():
        of_class.setdefault(index, value)
    return [of_class[index] for index in range(len(description.classes))]


def values_text(description: Description) -> str:
    """Say which values a segmentation has: ``labels as in brats2020: 0 background, 1 necrosis, ...``."""
    pairs = zip(class_values(description), description.classes, strict=True)
    return f"labels as in {description.name}: {', '.join(f'{value} {name}' for value, name in pairs)}"


def write_segmentation(
    segmentation: PatientSegmentation, description: Description, out: Path, picture: bool = False
) -> list[Path]:
    """Write a segmentation in the values of a dataset's label files, what probabilities it has, a picture."""
    values = np.array(class_values(description))
    labels = values.astype(np.min_scalar_type(int(values.max())))[segmentation.classes]
    written = output_files(out, segmentation.probabilities is not None, picture)
    write_like(out, labels, segmentation.like)
    if segmentation.probabilities is not None:
        write_like(written[1], segmentation.probabilities, segmentation.like)
    if picture:
        regions = [r for r in description.regions if r.name in description.plain_regions]
        figure = quick_look(segmentation.slices, segmentation.subset.split("+"), regions)
        save(figure, written[-1].with_suffix(""), ["png"])
    return written


def table_head(regions: Sequence[str]) -> list[str]:
    """Return the columns of the table of a study's volumes; without case and remarks those of `table_row`."""
    columns = [[f"{region}_{what}" for region in regions] for what in ("ml", "test_dice", "agreement")]
    return ["case", "images", *columns[0], "test_cases", *columns[1], *columns[2], "confidence", "remarks"]


def write_volumes(folder: Path, regions: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write the table of a study's volumes, and how far they can be trusted: rows under `table_head`."""
    text = csv_text(table_head(regions), rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / VOLUMES, text.encode())
    except OSError as error:
        raise InputError(
            f"{folder / VOLUMES} cannot be written ({error.strerror}): choose another --out"
        ) from None
