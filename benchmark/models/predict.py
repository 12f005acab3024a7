"""Segment new patients with a trained run: NIfTI in, NIfTI out, whatever modalities there are.

    bench predict RUN --image flair=a.nii.gz --image t2=b.nii.gz --out seg.nii.gz
    bench predict RUN --study FOLDER --out SEGMENTATIONS

Images are checked, cropped and normalised by the code that prepares studies for training, turned to the
orientation that training saw, and the result goes back to the grid and under the header of the first image,
with the labels of the dataset's files. One pass of windows fuses the one subset that is there.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from torch import Tensor

from bench_errors import InputError
from bench_registry import unknown
from benchmark.evaluation import example_slices
from benchmark.evaluation.sliding_window import averaged, flips_of, most_probable
from benchmark.models.confidence import Confidence
from benchmark.models.segmentation_files import (
    VOLUMES,
    PatientSegmentation,
    labelled_as,
    table_head,
    values_text,
    write_segmentation,
    write_volumes,
)
from benchmark.models.trained_model import Trained, check_alike, load_trained
from benchmark.training.device import chosen_device
from datasets.preparation.crop import CENTRAL, crop
from datasets.preparation.examine import Examined, examine_images
from datasets.preparation.find import Case, find_cases
from datasets.preparation.likeness import Appearance
from datasets.preparation.nifti import Image, turned, turned_sizes
from datasets.preparation.nifti import orientation as axes
from datasets.preparation.voxel_grids import resampled
from datasets.store.store import check_name
from datasets.studies.names import DATASETS
from datasets.vocabulary import Description, subset_name

ASTRAY = 0.25
"""Share of a segmentation outside the head from which on it is said; soft edges of a mask leave far less."""
MASK = "mask"
"""What `--image` calls a file that is positive within the head."""


def predict_images(
    run: str,
    images: Mapping[str, Path],
    out: Path,
    runs: Path,
    ensemble: Sequence[str] = (),
    device: str = "auto",
    resample: bool = False,
    probabilities: bool = False,
    orientation: str = "",
    flips: bool = False,
    picture: bool = False,
) -> None:
    """Segment one patient, given modality -> file, and print what came of it; warnings go to standard error.

    Args:
        run: path or name of a run folder, or path of a model folder.
        images: any non-empty subset of the run's modalities, and a `mask` of the head if need be; the first
            modality gives grid and header.
        out: the segmentation, `.nii.gz` or `.nii`.
        runs: folder of the run folders.
        ensemble: more runs, whose probabilities are averaged with those of the first.
        device: auto, cpu or cuda.
        resample: bring images on another grid to that of the first, instead of refusing them.
        probabilities: also write `<out>_probabilities.nii.gz`, the classes on its fourth axis.
        orientation: where the axes point of images whose header does not say it, such as ``LPS``.
        flips: also segment all flips of the images, to say how far they agree.
        picture: also write `<out>.png`, slices of the images with the outlines of the regions.
    """
    place = torch.device(chosen_device(device))
    models = _load(run, ensemble, runs, place)
    study = models[0].description
    for modality in images:
        if modality not in (*study.modalities, MASK):
            known = [*study.modalities, MASK]
            raise InputError(f"--image {modality}: {unknown('modality', modality, known)}")
        for model in models:
            if modality in model.unseen:
                raise InputError(
                    f"--image {modality}: no training case of {model.name} showed {modality}, so the network "
                    "does not know it: leave it out, or use another run"
                )
    absolute = {modality: Path.cwd() / path for modality, path in images.items()}
    mask = absolute.pop(MASK, None)
    # Each file holds one volume, also of a dataset that keeps several in one.
    case = Case("patient", Path.cwd(), absolute, None, (), {}, {}, mask=mask)
    segmentation = segment_patient(
        models, case, replace(study, channels=()), place, resample, probabilities, orientation, flips
    )
    if orientation and (told := segmentation.like.orientation):
        raise InputError(f"--orientation {orientation} has no effect, the header says {told}: leave it out")
    for warning in segmentation.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for note in segmentation.notes:
        print(note)
    written = write_segmentation(segmentation, study, out, picture)
    found = ", ".join(f"{region} {volume:.2f} mL" for region, volume in segmentation.volumes.items())
    print(f"wrote {', '.join(map(str, written))} from {segmentation.subset}: {found}")
    print(f"how far to trust it: {segmentation.confidence.words}")
    print(values_text(study))


def predict_study(
    run: str,
    study: Path,
    out: Path,
    runs: Path,
    ensemble: Sequence[str] = (),
    device: str = "auto",
    resample: bool = False,
    probabilities: bool = False,
    orientation: str = "",
    flips: bool = False,
    picture: bool = False,
    dataset: str | None = None,
) -> int:
    """Segment every case of a study into `out`, with a table of volumes; return how many could not be.

    `out` gets `<case>.nii.gz` and `volumes.csv`: a row a case with the images it had, of each region the mL
    and how far to trust them, and its warnings, or why it has no segmentation. The files lie as those the run
    was trained on, or as `dataset` says (a name, or the path of a YAML file), whose label values are then
    written too if it has the run's classes; labels are not looked at.
    """
    place = torch.device(chosen_device(device))
    models = _load(run, ensemble, runs, place)
    trained = models[0].description
    layout: Description = DATASETS.get(dataset) if dataset else trained
    if strange := [m for m in layout.modalities if m not in trained.modalities]:
        raise InputError(
            f"--dataset {dataset}: {unknown('modality', strange[0], list(trained.modalities))}: "
            "call the modalities as the run does"
        )
    labelled = labelled_as(trained, layout)
    unseen = {modality for model in models for modality in model.unseen}
    regions = [region.name for region in trained.regions]
    rows: list[list[str]] = []
    failed = 0
    for case in find_cases(study, layout):
        used = {m: path for m, path in case.files.items() if m not in unseen}
        left_out = [f"{m} left out: no training case showed it" for m in case.files if m in unseen]
        try:
            made = segment_patient(
                models, replace(case, files=used), layout, place, resample, probabilities, orientation, flips
            )
            write_segmentation(made, labelled, out / f"{check_name(case.name)}.nii.gz", picture)
        except InputError as error:
            failed += 1
            rows.append([case.name, *[""] * (len(table_head(regions)) - 2), str(error)])
            print(f"{case.name}: {error}", file=sys.stderr)
        else:
            remarks = "; ".join([*left_out, *made.warnings, *made.notes])
            rows.append([case.name, *made.table_row(regions), remarks])
            print(f"{case.name} from {made.subset}{f': {remarks}' if remarks else ''}", flush=True)
            print(f"{case.name}, how far to trust it: {made.confidence.words}", flush=True)
        write_volumes(out, regions, rows)
    print(f"{len(rows) - failed} of {len(rows)} cases segmented, volumes in {out / VOLUMES}")
    print(values_text(labelled))
    return failed


def segment_patient(
    models: Sequence[Trained],
    case: Case,
    description: Description,
    device: torch.device,
    resample: bool = False,
    probabilities: bool = False,
    orientation: str = "",
    flips: bool = False,
) -> PatientSegmentation:
    """Segment one case, averaging the models' probabilities.

    Args:
        models: one or more, alike in what `check_alike` asks for.
        case: its images, the first of which gives the grid.
        description: how its files are to be read; networks of voxels of some mm get such.
        device: where the models are.
        resample, probabilities, orientation, flips: see `predict_images`.

    Raises `InputError` for images that cannot be used.
    """
    first, study = models[0], models[0].description
    prepared = replace(description, whole=study.whole, grid=study.grid or description.grid)
    examined = examine_images(case, prepared, resample)
    _refuse(examined)
    if examined.head is None:
        raise ValueError("a case without errors has a head")
    like, own = next(iter(examined.images.values())), examined.first
    trained_on = first.likeness.orientation if first.likeness else ""
    held = like.orientation or orientation or trained_on or axes(like.affine)
    wanted = trained_on or held
    # In the order of training: sums of floats depend on it.
    volumes = {
        m: turned(examined.volumes[m], held, wanted) for m in study.modalities if m in examined.volumes
    }
    subset = tuple(volumes)
    for model in models:
        if model.subset and model.subset != subset:
            raise InputError(
                f"{case.name}: found {'+'.join(subset)}, but {model.name} is dedicated to "
                f"{'+'.join(model.subset)}: give all of these, or use another run"
            )
    head = examined.head.turned(held, wanted)
    look = Appearance.of(head, turned_sizes(like.affine, held, wanted))
    warnings = [f"{p.file}: {p.message}" for p in examined.problems if p.severity == "warning"]
    unlike = _warnings(first, look, held)
    warnings += unlike
    silent = [image for image in examined.images.values() if not image.orientation]
    if silent and (like.orientation or not orientation):
        usual = f"{', as in training' * bool(trained_on)}; say it with --orientation"
        as_what = f", as {case.relative(like.path)} lies" if like.orientation else usual
        warnings.append(
            f"the header of {case.relative(silent[0].path)} does not say where its axes point (qform and "
            f"sform have code 0): taken as {held}{as_what}"
        )
    notes = [f"{p.file} {p.message}" for p in examined.problems if p.severity == "note"]
    if wanted != held:
        notes.append(f"turned from {held} to {wanted}, as in training, and the segmentation back")
    shape = next(iter(volumes.values())).shape
    cut = crop(volumes, head, first.box, study)
    del examined, volumes  # two thirds of what a case takes, while the network computes
    normalised = torch.from_numpy(cut.normalised(study.modalities))
    window = tuple(slice(start, end) for start, end in cut.box)
    seen = np.count_nonzero(head.tissue[window]) / np.count_nonzero(head.tissue)
    if first.box == CENTRAL and seen < 1:
        notes.append(f"{1 - seen:.1%} of the head is not segmented: it lies outside the middle of the slices")
    members: list[NDArray[np.uint8]] = []

    def each() -> Iterator[Tensor]:
        """Yield the sums of each model; its segmentation, or that of each flip, becomes a member."""
        for model in models:
            sums = model.class_sums(normalised, subset, device, model.flips)
            for turned_by in [[flip] for flip in flips_of(model.backbone)] if flips else [model.flips]:
                known = turned_by == model.flips
                member = sums if known else model.class_sums(normalised, subset, device, turned_by)
                members.append(most_probable(member).numpy())
            yield sums

    total = averaged(each())
    classes = np.zeros(shape, dtype=np.uint8)
    classes[window] = most_probable(total).numpy()
    warnings += _implausible(classes, head.tissue, _millilitres(like))
    slices = _slices(case.name, cut.normalised(subset), classes[window], wanted)
    classes, found = turned(classes, wanted, held), None
    if probabilities or own:
        everywhere = np.zeros((*shape, len(study.classes)), dtype=np.float32)
        everywhere[..., 0] = 1
        everywhere[window] = (total / total.sum(dim=0)).movedim(0, -1).numpy()
        found = turned(everywhere, wanted, held)
    if found is not None and own:
        found = _brought_back(found, like, own)
        like, classes = own, found.argmax(axis=-1).astype(np.uint8)
    counts, voxel = np.bincount(classes.ravel(), minlength=len(study.classes)), _millilitres(like)
    name = subset_name(subset, study.modalities)
    contents = [model.content for model in models]
    return PatientSegmentation(
        name,
        classes,
        found if probabilities else None,
        {
            region.name: voxel * voxels
            if (voxels := int(counts[list(region.classes)].sum())) >= region.min_voxels
            else 0.0
            for region in study.regions
        },
        like,
        tuple(warnings),
        tuple(notes),
        Confidence.of(contents, name, members, study.regions, bool(unlike)),
        slices,
    )


def _slices(
    case: str, volumes: NDArray[np.float32], classes: NDArray[np.uint8], held: str
) -> tuple[example_slices.Example, ...]:
    """Cut slices of the images [M, *space], whose axes point as `held` says, with the classes [*space]."""
    affine = np.diag([1.0 if end in "RA" else -1.0 for end in held[:2]])
    return tuple(
        example_slices.cut(case, volumes, classes, {}, affine.tolist(), place)
        for place in example_slices.places(classes)
    )


def _millilitres(image: Image) -> float:
    """Return the volume of a voxel in mL."""
    return float(np.prod(voxel_sizes(image.affine))) / 1000


def _brought_back(probabilities: NDArray[np.float32], held: Image, own: Image) -> NDArray[np.float32]:
    """Interpolate probabilities [X, Y, Z, C] on the grid of `held` to that of `own`; around is background."""
    return np.stack(
        [
            resampled(
                replace(held, data=probabilities[..., c]), own, outside=float(c == 0), to_faces=True
            ).data
            for c in range(probabilities.shape[-1])
        ],
        axis=-1,
    )


def _load(run: str, ensemble: Sequence[str], runs: Path, device: torch.device) -> list[Trained]:
    torch.set_flush_denormal(True)  # as training and its test do
    models = [load_trained(name, runs, device) for name in (run, *ensemble)]
    check_alike(models)
    for model in models:
        if (used := model.precision(device)) != model.config.precision:
            print(
                f"{model.name} computes in {used}: {device} has no {model.config.precision}", file=sys.stderr
            )
    return models


def _refuse(examined: Examined) -> None:
    """Raise `InputError` for the first error, if there is one."""
    errors = [p for p in examined.problems if p.severity == "error"]
    if not errors:
        return
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    raise InputError(f"{errors[0].file}: {errors[0].message}{more}")


def _warnings(model: Trained, look: Appearance, held: str) -> list[str]:
    if model.likeness is None:
        return [
            f"{model.name} was made by an earlier version and does not say what its training images "
            "looked like: these are taken as they lie, see that they are like them"
        ]
    found = model.likeness.differences(look)
    if not model.likeness.orientation:
        found.append(f"training images lay in different orientations: this one is taken as it lies, {held}")
    return found


def _implausible(classes: NDArray[np.uint8], head: NDArray[np.bool_], voxel: float) -> list[str]:
    """Say where a segmentation cannot be right: much of it lies outside the head, or it is larger than that.

    Args:
        classes: [X, Y, Z].
        head: [X, Y, Z], where there is tissue.
        voxel: its volume in mL.
    """
    found, inside, whole = (int(np.count_nonzero(part)) for part in (classes, classes[head], head))
    if found <= whole and found - inside <= ASTRAY * found:
        return []
    return [
        f"{(found - inside) / found:.0%} of the segmentation, which fills {found * voxel:.4g} mL, lies "
        f"outside the head of {whole * voxel:.4g} mL: it is worthless, look at it over the images"
    ]
