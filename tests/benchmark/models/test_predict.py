"""A tiny run used as docs/predict.md says: predicted with, tested again, exported."""

import csv
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from bench_program import bench
from docs_page import block
from lone_test_folder import single_test
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from benchmark.evaluation.segment_case import segment_case
from benchmark.models.predict import segment_patient
from benchmark.models.trained_model import load_trained
from benchmark.run_folder.case_rows import read_rows
from benchmark.run_folder.folder import RunFolder, run_folders
from datasets.preparation.find import Case
from datasets.preparation.nifti import read_nifti, write_like
from datasets.preparation.voxel_grids import resampled, spaced
from datasets.store.store import Store

GRID = {
    "axes": {"objective": ["baseline"]},
    "base": {
        "dataset": "phantom",
        "profile": "ir2468",
        "backbone": {"name": "rfnet", "width": 2},
        "train": {"epochs": 1, "crop": 32, "lr": 0.002},
    },
}
PAIR = ("flair", "t2")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a study, its store, and a trained run."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(GRID))
    for command in (
        ["data", "phantom", "--out", "STUDY", "--cases", 4, "--size", 40],
        ["data", "prepare", "STUDY", "--dataset", "phantom", "--out", "STORE"],
        ["run", "--grid", "tiny.yaml", "--store", "phantom=STORE", "--device", "cpu", "--no-track"],
    ):
        result = bench(*command, cwd=folder)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def run(place):
    return run_folders(place / "runs" / "tiny")[0].path


def cases_of(place):
    return sorted(path.name for path in (place / "STUDY").glob("Phantom_*"))


@pytest.fixture(scope="module")
def case(place):
    return cases_of(place)[0]


def image(place, case, modality):
    return place / "STUDY" / case / f"{case}_{modality}.nii.gz"


def predict(place, run, files, out, *options):
    given = [f"--image={m}={path}" for m, path in files.items()]
    return bench("predict", run, *given, "--out", out, "--device", "cpu", *options, cwd=place)


def dice_of(cases, subset, region):
    rows = read_rows(cases)
    return [row.value for row in rows if (row.subset, row.region, row.metric) == (subset, region, "dice")]


def test_a_prepared_case_is_predicted_as_in_the_test_of_the_run(place, run, case, tmp_path):
    store, model = Store.open(place / "STORE"), load_trained(str(run), place)
    tested = segment_case(model.backbone, store, case, window=32, device=torch.device("cpu")).maps["flair+t2"]
    files = {m: image(place, case, m) for m in PAIR}
    result = predict(place, run, files, tmp_path / "seg.nii.gz", "--probabilities")
    assert result.returncode == 0, result.stderr
    (dice,) = dice_of(single_test(run) / "cases.csv", "flair+t2", "WT")
    trust = "how far to trust it: on the 1 test case with flair+t2: Dice "
    assert f"{trust}WT {dice:.2f}, TC " in result.stdout
    found, first = nib.load(tmp_path / "seg.nii.gz"), nib.load(files["flair"])
    assert np.array_equal(found.affine, first.affine)
    assert found.header["qform_code"] == first.header["qform_code"]
    box = tuple(slice(*edge) for edge in store.record(case).box)
    labels = np.array([0, 1, 2, 4])[tested]
    assert (np.asarray(found.dataobj)[box] == labels).mean() > 0.9999
    shown = np.asarray(nib.load(tmp_path / "seg_probabilities.nii.gz").dataobj)
    assert np.allclose(shown.sum(axis=-1), 1, atol=1e-5)
    assert np.array_equal(np.array([0, 1, 2, 4])[shown.argmax(axis=-1)], np.asarray(found.dataobj))


def test_turned_images_give_the_same_segmentation_turned(place, run, case, tmp_path):
    files = {m: image(place, case, m) for m in PAIR}
    assert predict(place, run, files, tmp_path / "seg.nii.gz").returncode == 0
    turned = {m: tmp_path / f"{m}.nii.gz" for m in files}
    for modality, path in files.items():
        nib.save(nib.as_closest_canonical(nib.load(path)), turned[modality])
    result = predict(place, run, turned, tmp_path / "turned.nii.gz")
    assert "turned from RAS to LPS" in result.stdout, result.stderr
    found = nib.load(tmp_path / "turned.nii.gz")
    assert nib.aff2axcodes(found.affine) == ("R", "A", "S")
    expected = nib.as_closest_canonical(nib.load(tmp_path / "seg.nii.gz"))
    assert (np.asarray(found.dataobj) == np.asarray(expected.dataobj)).mean() > 0.9999


def test_another_grid_is_refused_or_resampled(place, run, case, tmp_path):
    files = {m: image(place, case, m) for m in PAIR}
    whole = nib.load(files["t2"])
    nib.save(whole.slicer[:-2], tmp_path / "t2.nii.gz")
    files["t2"] = tmp_path / "t2.nii.gz"
    refused = predict(place, run, files, tmp_path / "seg.nii.gz")
    assert refused.returncode == 2
    assert "--resample" in refused.stderr
    made = predict(place, run, files, tmp_path / "seg.nii.gz", "--resample")
    assert made.returncode == 0, made.stderr
    assert "resampled from 38x40x40" in made.stdout
    assert nib.load(tmp_path / "seg.nii.gz").shape == whole.shape


def test_a_network_of_larger_voxels_segments_on_the_grid_of_the_patient(place, run, case):
    """The network's own classes, away from where they change, at the place in mm where it found them."""
    model = load_trained(str(run), place)
    model = replace(model, description=replace(model.description, grid="1.5"))
    images = Case(case, place, {m: image(place, case, m) for m in PAIR}, None, (), {}, {})
    made = segment_patient([model], images, model.description, torch.device("cpu"), probabilities=True)
    own = read_nifti(images.files["flair"])
    assert made.classes.shape == own.data.shape
    assert np.array_equal(made.like.affine, own.affine)
    assert np.allclose(made.probabilities.sum(axis=-1), 1, atol=1e-5)
    assert np.array_equal(made.probabilities.argmax(axis=-1), made.classes)

    coarse = spaced(own, 1.5)
    finer = segment_patient(
        [replace(model, description=replace(model.description, grid=""))],
        replace(images, files={m: _at(path, coarse, place) for m, path in images.files.items()}),
        replace(model.description, grid=""),
        torch.device("cpu"),
    )
    there = resampled(
        replace(coarse, data=finer.classes.astype(np.float32)), own, nearest=True, to_faces=True
    )
    surface = maximum_filter(there.data, 3) != minimum_filter(there.data, 3)
    assert 0.1 < surface.mean() < 0.9
    assert (made.classes == there.data)[~surface].mean() > 0.99
    assert made.volumes["WT"] == pytest.approx(np.count_nonzero(made.classes) / 1000)  # voxels of 1 mm
    assert made.volumes["WT"] == pytest.approx(finer.volumes["WT"], rel=0.25)


def _at(path, like, folder):
    """Return a file of the image brought to another grid."""
    brought = resampled(read_nifti(path), like, to_faces=True)
    write_like(out := folder / f"coarse_{path.name}", brought.data, replace(like, header=brought.header))
    return out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda v: np.where(v > 0, v, 1 + np.arange(v.size).reshape(v.shape) % 9),
            "it looks like a skull",
        ),
        (lambda v: np.where(v > 0, v, v.max() / 20), "as the faces are, expected 0"),
        (lambda v: (v > 0) * (v - v[v > 0].mean()) / v.std(), "looks normalised already"),
    ],
)
def test_unlikely_images_get_a_warning(place, run, case, tmp_path, change, says):
    good = nib.load(image(place, case, "flair"))
    changed = change(good.get_fdata(dtype=np.float32)).astype(np.float32)
    nib.save(nib.Nifti1Image(changed, good.affine), tmp_path / "flair.nii.gz")
    result = predict(place, run, {"flair": tmp_path / "flair.nii.gz"}, tmp_path / "seg.nii.gz")
    assert result.returncode == 0
    assert says in result.stderr


def test_wrong_input_is_one_line(place, run, case, tmp_path):
    flair = image(place, case, "flair")
    unseen = tmp_path / "unseen"
    shutil.copytree(run, unseen)
    content = yaml.safe_load((unseen / "config.yaml").read_text())
    content["data"]["availability"]["realised"]["flair"] = 1.0
    (unseen / "config.yaml").write_text(yaml.safe_dump(content))
    for path, name, file, out, says in (
        (run, "fair", flair, "seg.nii.gz", "did you mean flair"),
        (run, "flair", tmp_path / "no.nii.gz", "seg.nii.gz", "cannot be read"),
        (run, "flair", flair, "seg.png", "ends in .nii.gz"),
        (run, "flair", flair, flair, "one of the files that are read"),
        (unseen, "flair", flair, "seg.nii.gz", "no training case"),
        ("nowhere", "flair", flair, "seg.nii.gz", "no run or grid"),
    ):
        result = predict(place, path, {name: file}, out)
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert says in line


@pytest.mark.long
def test_the_page_works_as_written(place, run, case):
    for modality in PAIR:
        shutil.copy(image(place, case, modality), place / f"{modality}.nii.gz")
    cases = single_test(run) / "cases.csv"
    before = cases.read_bytes()
    for line in block("predict.md", "sh").splitlines():
        result = bench(*line.replace("RUN", str(run)).split()[1:], cwd=place)
        assert result.returncode == 0, result.stderr
    assert cases.read_bytes() == before
    with Image.open(place / "seg.png") as picture:
        colours = {colour[:3] for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert any(max(colour) - min(colour) > 100 for colour in colours)  # an outline, all else is grey
    with (place / "segmentations" / "volumes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == cases_of(place)
    (dice,) = dice_of(cases, "flair+t1ce+t1+t2", "WT")
    assert [float(row["WT_test_dice"]) for row in rows] == pytest.approx([dice] * len(rows), abs=1e-4)
    assert {row["test_cases"] for row in rows} == {"1"}
    assert rows[0]["confidence"].startswith(f"on the 1 test case with flair+t1ce+t1+t2: Dice WT {dice:.2f}")
    second = bench(*line.replace("RUN", str(run)).split()[1:], cwd=place)
    assert second.returncode == 2
    assert "again.nii.gz is there already: choose another name, or add --overwrite" in second.stderr
    options = ("--image=flair=flair.nii.gz", "--agreement", "--ensemble", "model")
    again = bench("predict", run, *options, "--out", "first.nii.gz", cwd=place)
    assert again.returncode == 0, again.stderr
    (dice,) = dice_of(cases, "flair", "WT")
    trust = f"on 1 + 1 test cases with flair: Dice WT {dice:.2f} ({dice:.2f} to {dice:.2f})"
    assert f"how far to trust it: each network by itself, {trust}" in again.stdout
    assert "; 2 networks and 8 flips of the images agree on this patient by Dice WT " in again.stdout
    first, model = (np.asarray(nib.load(place / f"{n}.nii.gz").dataobj) for n in ("first", "again"))
    assert np.array_equal(first, model)
    card = (place / "model" / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    report = bench("report", "--grid", "tiny", "--out", "report", "--formats", "png", cwd=place)
    assert report.returncode == 0, report.stderr
    assert "evaluated=phantom, outside=noise-2" in (place / "report" / "report.md").read_text()
    pair = bench("evaluate", run, "--ensemble", place / "model", "--dataset", "STORE", cwd=place)
    assert pair.returncode == 0, pair.stderr
    (averaged,) = (test for test in RunFolder(run).tests() if "ensemble" in str(test.settings()))
    assert averaged.cases.read_bytes() == before  # the mean of a network and itself
    assert bench("report", "--grid", "tiny", "--out", "pair", "--formats", "png", cwd=place).returncode == 0
    assert "the mean with model" in (place / "pair" / "report.md").read_text()


def test_damaged_weights_are_noticed(place, tmp_path, run):
    assert bench("weights", "export", run, "--out", tmp_path / "model").returncode == 0
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    result = bench("predict", tmp_path / "model", "--image=flair=x", "--out", "seg.nii.gz")
    assert result.returncode == 2
    assert "another checksum" in result.stderr


def test_other_data_leave_out_the_patients_that_were_learnt_from(place, run, case, tmp_path):
    study = tmp_path / "STUDY"
    assert bench("data", "phantom", "--out", study, "--cases", 5, "--size", 40).returncode == 0
    bench("data", "prepare", study, "--dataset", "phantom", "--out", tmp_path / "STORE")
    result = bench("evaluate", run, "--dataset", tmp_path / "STORE", "--profile", "complete", cwd=place)
    assert result.returncode == 0, result.stderr
    assert "left out 3 cases" in result.stderr
