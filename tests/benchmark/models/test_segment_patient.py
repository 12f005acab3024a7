"""What is made of a patient's images, with a network that is plain: class 1 where a voxel is bright."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from nifti_study import AFFINE, write_image

from benchmark.commands.predict import check_orientation
from benchmark.models import predict
from benchmark.models.confidence import Confidence
from benchmark.models.segmentation_files import (
    class_values,
    labelled_as,
    output_files,
    values_text,
    write_segmentation,
)
from datasets.preparation.find import Case
from datasets.preparation.likeness import Likeness
from datasets.preparation.nifti import read_nifti
from datasets.studies.brats import BRATS2020, BRATS2023, BRATS2024
from datasets.studies.from_yaml import read_description
from datasets.studies.msd import MSD01

SHAPE = (12, 10, 8)


def bright(volumes, subset, device, flips=None):
    """Sums [C, *space]: class 1 where the first volume of the subset is above its mean, else background."""
    sums = torch.zeros(4, *volumes.shape[1:])
    there = volumes[BRATS2020.modalities.index(subset[0])] > 0
    sums[0], sums[1] = (~there).float() + 0.1, there.float()
    return sums


def model(orientation="LPS", sums=bright, subset=None):
    likeness = Likeness(orientation, ((1.0, 1.0),) * 3, (0.001, 2000.0))
    return SimpleNamespace(
        name="RUN",
        description=BRATS2020,
        likeness=likeness,
        box="full",
        subset=subset,
        unseen=(),
        class_sums=sums,
        content={"config": {"test": {}, "split": "auto"}},
        flips=[()],
        backbone=SimpleNamespace(spatial_dims=3),
    )


def volume():
    """A head [X, Y, Z] with nothing alike on its two sides: bright towards the end of the first axis."""
    array = np.zeros(SHAPE, dtype=np.int16)
    array[1:-1, 1:-1, 1:-1] = 100
    array[7:-1, 1:4, 1:3] = 900
    return array


def case(path):
    return Case("patient", path.parent, {"flair": path}, None, (), {}, {})


def segment(path, like=None, **options):
    return predict.segment_patient([like or model()], case(path), BRATS2020, torch.device("cpu"), **options)


def silent(path, array):
    """Write a file whose header does not say where its axes point."""
    image = nib.Nifti1Image(array, None)
    image.header["pixdim"][1:4] = 1
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nib.save(image, path)
    return path


def test_a_header_that_does_not_say_where_axes_point(tmp_path):
    said = segment(write_image(tmp_path / "said.nii.gz", volume(), AFFINE))
    assert np.array_equal(said.classes, volume() == 900)
    assert not any("orientation" in warning for warning in said.warnings)
    path = silent(tmp_path / "silent.nii.gz", volume())
    # nibabel takes such a file for LAS.
    assert nib.aff2axcodes(nib.load(path).affine) == ("L", "A", "S")
    made = segment(path)
    assert np.array_equal(made.classes, said.classes)
    assert made.notes == ()
    (warning,) = [text for text in made.warnings if "orientation" in text]
    assert "silent.nii.gz does not say where its axes point" in warning
    assert "taken as LPS, as in training; say it with --orientation" in warning


def test_orientation_says_what_the_header_does_not(tmp_path):
    seen = []

    def remembered(volumes, subset, device, flips):
        seen.append(np.asarray(volumes[0]))
        return bright(volumes, subset, device)

    turned = np.flip(volume(), (0, 1))
    made = segment(silent(tmp_path / "s.nii.gz", turned), model(sums=remembered), orientation="RAS")
    assert np.array_equal(made.classes, turned == 900)
    assert made.notes == ("turned from RAS to LPS, as in training, and the segmentation back",)
    assert not any("orientation" in warning or "LPS" in warning for warning in made.warnings)
    segment(write_image(tmp_path / "v.nii.gz", volume(), AFFINE), model(sums=remembered))
    assert np.array_equal(*seen)


def test_where_training_does_not_say_either_a_silent_image_is_taken_as_it_lies(tmp_path):
    made = segment(silent(tmp_path / "s.nii.gz", volume()), model(orientation=""))
    assert np.array_equal(made.classes, volume() == 900)
    assert any("taken as LAS; say it" in warning for warning in made.warnings)


def test_another_image_that_does_not_say_where_axes_point(tmp_path):
    """`--orientation` would be refused, as the first image says it: it is not advised."""
    by_name = nib.load(silent(tmp_path / "t1.nii.gz", volume() + (volume() > 0))).affine
    files = {"flair": write_image(tmp_path / "flair.nii.gz", volume(), by_name), "t1": tmp_path / "t1.nii.gz"}
    both = Case("patient", tmp_path, files, None, (), {}, {})

    def made(**options):
        return predict.segment_patient([model()], both, BRATS2020, torch.device("cpu"), **options)

    for options in ({}, {"orientation": "RAS"}):
        found = made(**options)
        assert found.warnings == (
            "the header of t1.nii.gz does not say where its axes point (qform and sform have code 0): taken "
            "as LAS, as flair.nii.gz lies",
        )
        assert found.notes == ("turned from LAS to LPS, as in training, and the segmentation back",)
    write_image(files["flair"], volume(), AFFINE)
    for resample in (False, True):
        with pytest.raises(
            predict.InputError, match=r"t1.nii.gz: .*header.* does not say where it lies"
        ) as caught:
            made(resample=resample)
        assert "--" not in str(caught.value)


@pytest.mark.parametrize(("text", "fits"), [
    ("", True), ("LPS", True), ("SAR", True), ("LPI", True),
    ("lps", False), ("LP", False), ("LPSS", False), ("LRS", False), ("LPX", False),
])  # fmt: skip
def test_three_letters(text, fits):
    if fits:
        check_orientation(text)
    else:
        with pytest.raises(predict.InputError, match="such as LPS"):
            check_orientation(text)


def test_a_segmentation_outside_the_head_gets_a_warning(tmp_path):
    """A tenth outside is a soft edge; two thirds are not, and there it is larger than the head."""
    path = write_image(tmp_path / "f.nii.gz", volume(), AFFINE)
    assert not segment(path).warnings

    def everywhere(volumes, subset, device, flips):
        return torch.stack([torch.zeros(volumes.shape[1:]), *[torch.ones(volumes.shape[1:])] * 3])

    made = segment(path, model(sums=everywhere))
    inside, whole = 10 * 8 * 6, int(np.prod(SHAPE))
    assert made.classes.all()
    (warning,) = made.warnings
    assert warning.startswith(
        f"{(whole - inside) / whole:.0%} of the segmentation, which fills {whole / 1000:.4g} mL, lies "
        f"outside the head of {inside / 1000:.4g} mL"
    )

    def moved_by_a_voxel(volumes, subset, device, flips):
        sums = torch.zeros(4, *volumes.shape[1:])
        sums[0], sums[1, 2:, 1:-1, 1:-1] = 0.5, 1
        return sums

    assert not segment(path, model(sums=moved_by_a_voxel)).warnings


def test_what_is_cut_off_slices_is_said(tmp_path):
    sliced = model()
    sliced.description, sliced.box = replace(BRATS2020, spatial_dims=2), "central"
    sliced.backbone = SimpleNamespace(spatial_dims=2)
    array = np.zeros((320, 10, 8), np.int16)
    array[10:-10, 1:-1] = 100
    array[160:-10, 1:-1] = 200
    path = write_image(tmp_path / "f.nii.gz", array, AFFINE)
    made = predict.segment_patient([sliced], case(path), sliced.description, torch.device("cpu"))
    assert made.notes == ("14.7% of the head is not segmented: it lies outside the middle of the slices",)
    array[:40] = array[-40:] = 0
    write_image(path, array, AFFINE)
    assert not predict.segment_patient([sliced], case(path), sliced.description, torch.device("cpu")).notes


def test_what_the_header_says_of_values_and_time_is_left_out(tmp_path):
    image = nib.Nifti1Image(volume(), AFFINE)
    image.header.set_intent("t test", (7.0,), name="p")
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.5
    image.header["toffset"] = 3
    nib.save(image, tmp_path / "f.nii.gz")
    made = segment(tmp_path / "f.nii.gz", probabilities=True)
    for path in write_segmentation(made, BRATS2020, tmp_path / "seg.nii"):
        header = nib.load(path).header
        assert header.get_intent() == ("none", (), "")
        assert header.get_xyzt_units() == ("mm", "unknown")
        assert header["toffset"] == 0
        assert np.array_equal(header.get_zooms(), [1, 1, 1, 1][: len(header.get_zooms())])
    assert nib.load(tmp_path / "seg_probabilities.nii").shape == (*SHAPE, 4)


def test_of_several_values_of_a_class_the_first_is_written(tmp_path):
    (tmp_path / "d.yaml").write_text(
        'modalities: {flair: "{case}/f.nii", t1: "{case}/t.nii"}\nlabel: "{case}/l.nii"\n'
        "labels: {background: [0, 4], core: [7, 2]}\nregions: {core: core}\n"
    )
    description = read_description(tmp_path / "d.yaml")
    assert class_values(description) == [0, 7]
    classes = np.zeros((4, 4, 4), np.uint8)
    classes[1, 1, 1] = 1
    like = read_nifti(write_image(tmp_path / "like.nii.gz", np.ones((4, 4, 4), np.int16)))
    made = predict.PatientSegmentation("flair", classes, None, {}, like, (), (), Confidence({}, {}, ""), ())
    write_segmentation(made, description, tmp_path / "out.nii.gz")
    values, counts = np.unique(np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj), return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([0, 7], [63, 1])


@pytest.mark.parametrize(
    ("dataset", "values", "name"),
    [
        (BRATS2020, [0, 1, 2, 4], "brats2020"),
        (BRATS2023, [0, 1, 2, 3], "brats2023"),
        (BRATS2024, [0, 1, 2, 3], "brats2024"),
        (MSD01, [0, 2, 1, 3], "msd01"),
        (replace(BRATS2023, name="other", classes=("background", "a", "b", "c")), [0, 1, 2, 4], "brats2020"),
    ],
)
def test_a_study_gets_the_values_of_its_own_labels(dataset, values, name):
    labelled = labelled_as(BRATS2020, dataset)
    assert class_values(labelled) == values
    assert values_text(labelled) == (
        f"labels as in {name}: {values[0]} background, {values[1]} necrosis, {values[2]} oedema, "
        f"{values[3]} enhancing"
    )


def test_a_study_of_another_dataset(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predict, "_load", lambda *_: [model()])
    for name in ("BraTS-GLI-00001-000", "=HYPERLINK(A1)"):
        for suffix in ("t2f", "t1n"):
            write_image(tmp_path / "study" / name / f"{name}-{suffix}.nii.gz", volume() + (suffix == "t1n"))
    out = tmp_path / "out"
    failed = predict.predict_study(
        "RUN", tmp_path / "study", out, tmp_path, device="cpu", dataset="brats2023"
    )
    printed, errors = capsys.readouterr()
    assert failed == 1
    assert "which a spreadsheet takes for a formula: rename it" in errors
    assert printed.splitlines()[-1].startswith(
        "labels as in brats2023: 0 background, 1 necrosis, 2 oedema, 3 "
    )
    assert sorted(path.name for path in out.iterdir()) == ["BraTS-GLI-00001-000.nii.gz", "volumes.csv"]
    with (out / "volumes.csv").open() as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["case", "'=HYPERLINK(A1)", "BraTS-GLI-00001-000"]
    assert len({len(row) for row in rows}) == 1
    made = dict(zip(rows[0], rows[2], strict=True))
    assert made["confidence"] == "no test with flair+t1 alone is on record: how good this is, nobody knows"
    assert (made["test_cases"], made["WT_test_dice"], made["WT_agreement"]) == ("0", "", "")
    assert "found case name" in dict(zip(rows[0], rows[1], strict=True))["remarks"]


def test_files_of_too_few_or_more_volumes_are_named(tmp_path, monkeypatch, capsys):
    """Of the Decathlon: four contrasts along the fourth axis."""
    monkeypatch.setattr(predict, "_load", lambda *_: [model()])
    volumes = np.stack([volume() + i * (volume() > 0) for i in range(5)], axis=-1).astype(np.int16)
    for name, channels in (("few", 3), ("four", 4), ("more", 5)):
        write_image(tmp_path / "imagesTr" / f"{name}.nii.gz", volumes[..., :channels])
    failed = predict.predict_study("RUN", tmp_path, tmp_path / "out", tmp_path, device="cpu", dataset="msd01")
    printed, errors = capsys.readouterr()
    assert failed == 1
    assert errors.startswith(
        "few: imagesTr/few.nii.gz: found 4 dimensions (12x10x8x3), expected 4 with 4 or more volumes along"
    )
    four, more = (line for line in printed.splitlines() if " from " in line)
    assert four == "four from flair+t1ce+t1+t2"
    assert more.endswith("more.nii.gz found 5 volumes along the fourth axis, no modality takes 4 (from 0)")


def flipped(volumes, subset, device, flips):
    """As `bright`, but under a flip along the first axis it does not see the first row of what is bright."""
    sums = bright(volumes, subset, device)
    for flip in flips:
        if 0 in flip:
            sums[1, :, :2] = 0
    return sums


@pytest.mark.parametrize("number", [1, 2])
def test_members_are_the_flips_of_each_network(tmp_path, number):
    path = write_image(tmp_path / "flair.nii.gz", volume(), AFFINE)
    models = [model(sums=flipped)] * number
    made = predict.segment_patient(models, case(path), BRATS2020, torch.device("cpu"), flips=True)
    assert np.array_equal(made.classes, volume() == 900)
    # Half of the flips turn the first axis; their masks lack a row.
    half, members = 4 * number, 8 * number
    alike, pairs = 2 * half * (half - 1) / 2, members * (members - 1) / 2
    inside = np.count_nonzero(volume() == 900)
    less = np.count_nonzero(volume()[:, 2:] == 900)
    dice = (alike + (pairs - alike) * 2 * less / (inside + less)) / pairs
    assert made.confidence.agreement["WT"] == pytest.approx(dice)
    assert made.confidence.agreement["ET"] == 1
    who = "8 flips of the images" if number == 1 else "2 networks and 8 flips of the images"
    assert f"; {who} agree on this patient by Dice WT {dice:.2f}, TC {dice:.2f}, ET nowhere in all" in (
        made.confidence.words
    )


def test_networks_that_are_averaged_are_members(tmp_path):
    path = write_image(tmp_path / "flair.nii.gz", volume(), AFFINE)

    def nothing(volumes, subset, device, flips):
        return torch.stack([torch.ones(volumes.shape[1:]), *[torch.zeros(volumes.shape[1:])] * 3])

    made = predict.segment_patient(
        [model(), model(), model(sums=nothing)], case(path), BRATS2020, torch.device("cpu")
    )
    assert made.confidence.agreement["WT"] == pytest.approx(1 / 3)
    assert "3 networks agree on this patient by Dice WT 0.33" in made.confidence.words
    assert (
        predict.segment_patient([model()], case(path), BRATS2020, torch.device("cpu")).confidence.agreement
        == {}
    )


def test_names_of_files(tmp_path):
    names = [path.name for path in output_files(tmp_path / "a.nii", True, True)]
    assert names == ["a.nii", "a_probabilities.nii", "a.png"]
    assert output_files(tmp_path / "a.nii.gz", False) == [tmp_path / "a.nii.gz"]
    with pytest.raises(predict.InputError, match=r"ends in \.nii\.gz or \.nii"):
        output_files(tmp_path / "a.png", False)


def test_a_dedicated_network_takes_its_subset_alone(tmp_path):
    path = tmp_path / "flair.nii.gz"
    write_image(path, volume())
    assert segment(path, model(subset=("flair",))).subset == "flair"
    with pytest.raises(predict.InputError, match=r"found flair, but RUN is dedicated to flair\+t2: give all"):
        segment(path, model(subset=("flair", "t2")))
