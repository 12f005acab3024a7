"""Every problem a case can have is reported, by file, with its severity; a sound study has none."""

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_study import rewrite, write_case, write_image, write_study

from bench_errors import InputError
from datasets.preparation.check import check_case, check_cases, check_study
from datasets.preparation.find import find_cases
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import Slices

REAL = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def study(tmp_path):
    root = tmp_path / "study"
    return root, write_case(root, BRATS2020, "one")


def problems(root, description=BRATS2020):
    (case,) = find_cases(root, description)
    return check_case(case, description)


def only(root):
    (problem,) = problems(root)
    assert problem.case == "one"
    assert "\n" not in problem.message
    return problem


@pytest.mark.parametrize("description", [BRATS2020, MYOPS2020])
def test_sound_study_has_no_problem(tmp_path, description):
    write_study(tmp_path, description, ("one", "two", "a Ünit"))
    seen = []
    assert check_study(tmp_path, workers=2, progress=lambda done, total: seen.append((done, total))) == []
    assert seen == [(1, 3), (2, 3), (3, 3)]


def voxel(value):
    def change(array, affine):
        array = array.astype(np.float32)
        array[5, 5, 4] = value
        return array, affine

    return change


def scaled(factor):
    return lambda array, affine: (array, affine @ np.diag([1, 1, factor, 1]))


def moved(mm):
    return lambda array, affine: (array, affine + np.outer([1, 0, 0, 0], [0, 0, 0, mm]))


def turned(array, affine):
    return array, affine[[1, 0, 2, 3]]


@pytest.mark.parametrize("name", ["flair", "t1", "label"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda array, affine: (array[:, :, :-1], affine), "shape 12x10x7, expected 12x10x8"),
        (scaled(1.01), "spacing 1x1x1.01, expected 1x1x1"),
        (moved(0.5), "origin 0.5x239x0, expected 0x239x0"),
    ],
)
def test_the_odd_grid_is_named(study, name, change, says):
    root, paths = study
    rewrite(paths[name], change)
    problem = only(root)
    assert problem.severity == "error"
    assert problem.file == paths[name].name
    assert says in problem.message


def test_other_direction(study):
    root, paths = study
    rewrite(paths["t2"], turned)
    found = [p for p in problems(root) if p.message.startswith("direction")]
    assert [p.file for p in found] == ["one_t2.nii.gz"]


def test_spacing_that_only_pixdim_tells(study):
    root, paths = study
    image = nib.load(paths["t1ce"])
    image.header.set_zooms((1, 1, 2))
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), None, image.header), root / "x.nii.gz")
    header = nib.load(root / "x.nii.gz").header
    assert header.get_zooms() == (1, 1, 2)
    shutil.move(root / "x.nii.gz", paths["t1ce"])
    error, warning = problems(root)
    assert "spacing 1x1x2, expected 1x1x1" in error.message
    assert "qform, or pixdim, and sform of the header disagree by 7 mm" in warning.message


def test_grids_within_the_tolerance(study):
    root, paths = study
    rewrite(paths["t1"], moved(0.0009))
    assert problems(root) == []
    rewrite(paths["t2"], moved(-0.0009))
    assert only(root).message.startswith("origin")


@pytest.mark.parametrize(
    ("name", "change", "severity", "says"),
    [
        ("t1", voxel(np.nan), "error", "found 1 NaN or infinite"),
        ("t2", voxel(np.inf), "error", "found 1 NaN or infinite"),
        ("t1", lambda a, m: (np.full_like(a, 7), m), "error", "constant (all voxels are 7)"),
        ("t1", lambda a, m: (a * 0, m), "error", "empty"),
        (
            "t1ce",
            lambda a, m: ((a > 0).astype(np.uint8), m),
            "error",
            "constant (1) wherever there is tissue",
        ),
        ("flair", voxel(-3), "warning", "found 1 negative voxels, down to -3"),
        ("label", voxel(3), "error", "found label 3.0 (1 voxels), expected 0, 1, 2, 4"),
        ("label", lambda a, m: (np.where(a == 4, 3.9999998, a), m), "error", "found label 3.9999998"),
        ("label", voxel(np.nan), "error", "found 1 NaN or infinite voxels, expected labels"),
        ("label", lambda a, m: (a * 0, m), "note", "no labelled voxel"),
        (
            "label",
            lambda a, m: (np.pad(a[1:], ((0, 1), (0, 0), (0, 0)), constant_values=1), m),
            "warning",
            "outside",
        ),
    ],
)
def test_voxels(study, name, change, severity, says):
    root, paths = study
    rewrite(paths[name], change)
    problem = only(root)
    assert problem.severity == severity
    assert problem.file == paths[name].name
    assert says in problem.message


def test_unexpected_labels_are_summed_up(study):
    root, paths = study
    rewrite(paths["label"], lambda a, m: (np.arange(a.size, dtype=np.int16).reshape(a.shape), m))
    assert "and 951 more" in only(root).message


def test_no_tissue(tmp_path):
    paths = write_case(tmp_path, BRATS2020, "one", (40, 40, 40))
    for number, modality in enumerate(BRATS2020.modalities):
        dark = (np.arange(64000) % 99 - 100 - number).astype(np.int16).reshape(40, 40, 40)
        dark[1:-1, 1:-1] = 0  # four faces are dark, all else is 0
        rewrite(paths[modality], lambda a, m, dark=dark: (dark, m))
    errors = [p for p in problems(tmp_path) if p.severity == "error"]
    assert [p.file for p in errors] == ["one"]
    assert "sum of the modalities is positive" in errors[0].message


def test_cases_that_look_unlike_the_others_are_named(tmp_path):
    study = write_study(tmp_path, BRATS2020, ("one", "two", "three", "four", "thick", "skull", "dark"))
    for name in ("label", *BRATS2020.modalities):
        rewrite(study["thick"][name], scaled(5.5))
    for modality in BRATS2020.modalities:
        rewrite(
            study["skull"][modality],
            lambda a, m: (np.where(a, a, 1 + np.arange(960, dtype=a.dtype).reshape(a.shape) % 9), m),
        )
        rewrite(study["dark"][modality], lambda a, m: (a - np.int16(50), m))
    found = check_study(tmp_path)
    assert {p.severity for p in found} == {"warning"}
    assert {p.case for p in found} == {"thick", "skull", "dark"}
    thick = [p.message for p in found if p.case == "thick"]
    assert "the voxels are 1x1x5.5 mm, in most cases they were 1x1x1: resample" in thick[0]
    assert "the head fills 2.64 mL, in most cases 0.5 to 0.6" in thick[1]
    (skull,) = [p.message for p in found if p.case == "skull"]
    assert "the head fills 0.96 mL, in most cases 0.5 to 0.6: it looks like a skull that is not" in skull
    dark = [p for p in found if p.case == "dark"]
    assert [p.file for p in dark] == [f"dark_{m}.nii.gz" for m in BRATS2020.modalities]
    assert all("the background is -50, as the faces are, expected 0" in p.message for p in dark)


def test_a_study_of_two_kinds_or_of_two_cases_has_no_usual_one(tmp_path):
    study = write_study(tmp_path / "a", BRATS2020, ("one", "two", "three", "four"))
    for case in ("one", "two"):
        for name in ("label", *BRATS2020.modalities):
            rewrite(study[case][name], scaled(5.5))
    assert check_study(tmp_path / "a") == []
    for case in ("one", "three"):
        shutil.copytree(tmp_path / "a" / case, tmp_path / "b" / case)
    assert check_study(tmp_path / "b") == []


def lies_as(code):
    """Turn a file, so that the same voxels lie at the same places."""

    def change(array, affine):
        image = nib.Nifti1Image(array, affine)
        steps = nib.orientations.ornt_transform(
            nib.io_orientation(affine), nib.orientations.axcodes2ornt(code)
        )
        image = image.as_reoriented(steps)
        return np.asanyarray(image.dataobj), image.affine

    return change


def test_heads_that_are_all_larger_than_a_brain_are_told(tmp_path):
    """Their voxels of 20 mm make a head of 480 voxels one of 3.8 L."""
    wide = np.diag([20.0, 20, 20, 1]) @ np.diag([-1.0, -1, 1, 1])
    for name in ("one", "two"):
        for path in write_case(tmp_path, BRATS2020, name).values():
            rewrite(path, lambda array, affine: (array, wide))
    found = [p for p in check_study(tmp_path, BRATS2020) if "more than a brain" in p.message]
    assert [(p.case, p.severity) for p in found] == [("one", "warning"), ("two", "warning")]
    assert found[0].message.startswith("what is not background fills 3840 mL, more than a brain (2200 mL)")
    assert not any("brain" in p.message for p in check_study(tmp_path, replace(BRATS2020, whole=True)))
    write_case(tmp_path, BRATS2020, "three")  # a brain beside them: they are unlike it, not all too large
    assert not any("more than a brain" in p.message for p in check_study(tmp_path, BRATS2020))


def test_cases_that_lie_otherwise_are_noted(tmp_path):
    study = write_study(tmp_path, BRATS2020, ("one", "two", "three"))
    for path in study["two"].values():
        rewrite(path, lies_as("RAS"))
    (note,) = check_study(tmp_path)
    assert (note.case, note.severity) == ("two", "note")
    assert note.message == "lies RAS, where most cases lie LPS: all are turned to LPS when they are prepared"


def test_slices_that_lie_otherwise_are_a_warning(tmp_path):
    study = write_study(tmp_path, MYOPS2020, ("one", "two", "three"))
    for path in study["two"].values():
        rewrite(path, lies_as("RAS"))
    (warning,) = check_study(tmp_path)
    assert (warning.case, warning.severity) == ("two", "warning")
    assert "slices lie RAS, where most cases lie LPS, and stay as they are: turn them" in warning.message


def test_what_is_cut_off_slices_is_told(tmp_path):
    label = write_case(tmp_path, MYOPS2020, "one", (300, 262, 8))["label"]
    values = np.asanyarray(nib.load(label).dataobj).copy()
    lost = np.count_nonzero(values) - np.count_nonzero(values[22:278, 3:259])
    (problem,) = problems(tmp_path, MYOPS2020)
    assert (problem.file, problem.severity) == ("one", "warning")
    share = f"{1 - 256 * 256 / (298 * 260):.1%} of the head outside the middle 256x256 voxels of slices, "
    share += "which alone are kept"
    assert problem.message == (
        f"found {lost} labelled voxels and {share}: take larger voxels (--resample 2, say), "
        "spatial_dims: 3 or whole: true in a YAML file"
    )
    values[:22] = values[278:] = values[:, :3] = values[:, 259:] = 0
    write_image(label, values)
    (problem,) = problems(tmp_path, MYOPS2020)
    assert problem.severity == "note"
    assert problem.message.startswith(f"found 0 labelled voxels and {share}")
    (problem,) = check_cases(tmp_path, find_cases(tmp_path, MYOPS2020), MYOPS2020, labelled=False)
    assert problem.severity == "warning"
    assert problem.message.startswith(f"found {share}")
    for kept in (replace(MYOPS2020, whole=True), replace(MYOPS2020, slices=Slices(1))):
        assert problems(tmp_path, kept) == []


def test_a_turned_duplicate_is_found(tmp_path):
    study = write_study(tmp_path, BRATS2020)
    for name, path in study["one"].items():
        shutil.copy(path, study["two"][name])
        rewrite(study["two"][name], lies_as("SRP"))
    assert [p.severity for p in check_study(tmp_path)] == ["error", "note"]


def test_patients_to_predict_need_no_label(study):
    root, paths = study
    paths["label"].unlink()
    cases = find_cases(root, BRATS2020)
    assert [p.severity for p in check_cases(root, cases, BRATS2020)] == ["error"]
    assert check_cases(root, cases, BRATS2020, labelled=False) == []
    paths["t1"].write_bytes(b"")
    (error,) = check_cases(root, cases, BRATS2020, labelled=False)
    assert "the file is empty" in error.message


@pytest.mark.parametrize("name", ["flair", "label"])
def test_unreadable_file(study, name):
    root, paths = study
    packed = paths[name].read_bytes()
    paths[name].write_bytes(packed[:-8] + b"\0\0\0\0" + packed[-4:])
    problem = only(root)
    assert (problem.severity, problem.file) == ("error", paths[name].name)
    assert problem.message.startswith("damaged gzip data (CRC check failed")


def test_wrong_dimensions(study):
    root, paths = study
    rewrite(paths["t1"], lambda a, m: (a[..., None].repeat(2, 3), m))
    assert only(root).message.startswith("found 4 dimensions (12x10x8x2)")


def test_missing_files(study):
    root, paths = study
    paths["t1"].unlink()
    assert (only(root).severity, only(root).file) == ("note", "one_t1.nii.gz")
    paths["label"].rename(root / "one" / "W39_Segm.nii.gz")
    error = problems(root)[0]
    assert error.severity == "error"
    assert "found no label, expected one_seg.nii.gz (found also W39_Segm.nii.gz" in error.message


def test_label_alone_and_empty_folder(study):
    root, paths = study
    for modality in BRATS2020.modalities:
        paths[modality].unlink()
    (root / "two").mkdir()
    errors = [p for p in check_study(root, BRATS2020) if p.severity == "error"]
    assert [(p.case, p.file) for p in errors] == [("one", "one"), ("two", "two"), ("two", "two_seg.nii.gz")]


def test_twice_in_a_case(study):
    root, paths = study
    write_image(root / "one" / "one_t1.nii", np.ones((2, 2, 2)))
    found = [p for p in problems(root) if p.severity == "error"]
    assert "found both one_t1.nii.gz and one_t1.nii, expected one" in found[0].message
    (root / "one" / "one_t1.nii").unlink()
    shutil.copy(paths["t1"], paths["t2"])
    assert "the same voxels as modality t1" in only(root).message


def test_duplicate_patient(tmp_path):
    study = write_study(tmp_path, BRATS2020)
    for name, path in study["one"].items():
        rewrite(
            study["two"][name],
            lambda a, m, path=path: (np.asanyarray(nib.load(path).dataobj).astype("f8"), m),
        )
    (problem,) = check_study(tmp_path)
    assert (problem.case, problem.severity) == ("two", "error")
    assert "as case 'one'" in problem.message


def test_all_problems_of_a_case_at_once(study):
    root, paths = study
    rewrite(paths["flair"], voxel(-1))
    rewrite(paths["t1"], moved(1))
    rewrite(paths["t2"], voxel(np.nan))
    paths["t1ce"].unlink()
    rewrite(paths["label"], voxel(9))
    assert [(p.severity, p.file) for p in problems(root)] == [
        ("error", "one_t1.nii.gz"),
        ("error", "one_t2.nii.gz"),
        ("error", "one_seg.nii.gz"),
        ("warning", "one_flair.nii.gz"),
        ("note", "one_t1ce.nii.gz"),
    ]


def test_name_that_leaves_the_folder(tmp_path):
    write_case(tmp_path, BRATS2020, "a\\one")
    assert "plain name of a folder" in problems(tmp_path)[0].message


def test_no_study_and_no_workers(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no study"):
        check_study(tmp_path)
    write_study(tmp_path, BRATS2020)
    with pytest.raises(InputError, match="found 0 workers"):
        check_study(tmp_path, workers=0)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real patient is not on this machine")
def test_real_patient_has_only_warnings():
    found = [problem for problem in check_study(REAL, BRATS2020) if problem.case]
    assert {p.severity for p in found} == {"warning"}
    assert all("negative voxels" in p.message for p in found)
