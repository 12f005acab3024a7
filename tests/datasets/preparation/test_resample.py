"""Files of a case on several grids are brought to one: that of a modality, or voxels of so many mm."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from nifti_study import AFFINE, SHAPE, rewrite, write_case, write_image

from bench_errors import InputError
from benchmark.launch.stores import _check_description
from datasets.preparation.check import check_study
from datasets.preparation.examine import examine
from datasets.preparation.find import find_cases
from datasets.preparation.nifti import Image, read_nifti, write_like
from datasets.preparation.prepare import prepare
from datasets.preparation.voxel_grids import spaced
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.studies.names import DATASETS, regridded

ISLES = DATASETS.get("isles2022")
HECKTOR = DATASETS.get("hecktor2022")
FINE = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
FINE[:3, 3] = (AFFINE @ [-0.25, -0.25, -0.25, 1])[:3]
"""Voxels of half the edge, eight in each of `AFFINE`."""


def halved(volume):
    return volume.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def refine(path):
    rewrite(path, lambda array, _: (halved(array), FINE))


def messages(root, description):
    return {p.file: (p.severity, p.message) for p in check_study(root, description)}


def test_a_finer_image_is_brought_to_the_grid_that_the_description_names(tmp_path):
    for name in ("sub-1", "sub-2"):
        paths = write_case(tmp_path / "study", ISLES, name)
        refine(paths["flair"])
    found = messages(tmp_path / "study", ISLES)
    note = "resampled from 24x20x16 voxels of 0.5x0.5x0.5 mm, LPS, to 12x10x8 voxels of 1x1x1 mm, LPS as dwi"
    assert found["sub-1/ses-0001/anat/sub-1_ses-0001_flair.nii.gz"] == ("note", note)
    store = prepare(tmp_path / "study", ISLES, tmp_path / "store")
    plain = tmp_path / "plain"
    for name in ("sub-1", "sub-2"):
        write_case(plain, ISLES, name)
    as_they_lie = prepare(plain, replace(ISLES, grid=""), tmp_path / "plain-store")
    np.testing.assert_allclose(store.volumes("sub-1"), as_they_lie.volumes("sub-1"), atol=1e-4)
    assert np.array_equal(store.labels("sub-1"), as_they_lie.labels("sub-1"))
    assert store.description.grid == "dwi"
    assert store.hash != as_they_lie.hash


def test_without_a_grid_the_check_names_the_way_out(tmp_path):
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    refine(paths["t1"])
    severity, message = messages(tmp_path / "study", BRATS2020)["one_t1.nii.gz"]
    assert severity == "error"
    assert message.endswith("resample it to the same grid, or let --resample do it")
    with pytest.raises(InputError, match="let --resample do it"):
        prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    store = prepare(tmp_path / "study", regridded(BRATS2020, "flair"), tmp_path / "store")
    assert store.record("one").original_shape == SHAPE


def test_labels_take_the_nearest_voxel(tmp_path):
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    refine(paths["label"])
    for modality in ("t1ce", "t1", "t2"):
        refine(paths[modality])
    store = prepare(tmp_path / "study", regridded(BRATS2020, "flair"), tmp_path / "store")
    write_case(tmp_path / "plain", BRATS2020, "one")
    assert np.array_equal(
        store.labels("one"), prepare(tmp_path / "plain", BRATS2020, tmp_path / "other").labels("one")
    )


def test_a_case_without_the_named_modality_takes_its_first(tmp_path):
    paths = write_case(tmp_path / "study", ISLES, "sub-1")
    paths["dwi"].unlink()
    refine(paths["flair"])
    assert messages(tmp_path / "study", ISLES)["sub-1/ses-0001/anat/sub-1_ses-0001_flair.nii.gz"][1].endswith(
        " as adc"
    )


def test_voxels_of_so_many_mm(tmp_path):
    write_case(tmp_path / "study", BRATS2020, "one", shape=(24, 20, 16))
    store = prepare(tmp_path / "study", regridded(BRATS2020, "2"), tmp_path / "store")
    record = store.record("one")
    assert record.original_shape == (12, 10, 8)
    spacing = np.linalg.norm(np.array(record.affine)[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, 2)
    # The outer faces stay: the first centre lies half a voxel further in.
    np.testing.assert_allclose(np.array(record.affine)[:3, 3], (AFFINE @ [0.5, 0.5, 0.5, 1])[:3])


def test_a_plane_keeps_one_voxel():
    image = Image(None, np.zeros((4, 4, 1)), np.diag([1.0, 1, 5, 1]), (1, 1, 5), "", None)
    assert spaced(image, 20.0).data.shape == (1, 1, 1)


@pytest.mark.parametrize("grid", ["t9", "0", "-1", "nan", "1e3"])
def test_what_is_no_grid_is_refused(grid):
    with pytest.raises(InputError, match=f"--resample {grid}: .*or an edge of the voxels in mm such as 1.5"):
        regridded(BRATS2020, grid)


def test_bodies_are_taken_whole(tmp_path):
    """The air around a body in CT is no constant, and PET is 0 in places within it."""
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        paths = write_case(tmp_path / "study", HECKTOR, name)
        write_image(paths["ct"], rng.integers(-1024, 1500, SHAPE).astype(np.int16))
        write_image(paths["pet"], rng.random(SHAPE).astype(np.float32))
    assert messages(tmp_path / "study", HECKTOR) == {}
    store = prepare(tmp_path / "study", HECKTOR, tmp_path / "store")
    ct, pet = store.volumes("one")
    assert store.record("one").shape == SHAPE
    assert (ct.min(), ct.max()) == (-1, 1)
    np.testing.assert_allclose((pet.mean(), pet.std()), (0, 1), atol=1e-5)
    broken = write_image(tmp_path / "study" / "imagesTr" / "one__PT.nii.gz", np.zeros(SHAPE, np.float32))
    assert messages(tmp_path / "study", HECKTOR)[f"imagesTr/{broken.name}"][0] == "error"
    hot = rng.random(SHAPE).astype(np.float32)
    hot[:2, :2, :2] = 40  # as the tracer in a bladder
    write_image(broken, hot)
    severity, message = messages(tmp_path / "study", HECKTOR)[f"imagesTr/{broken.name}"]
    assert severity == "warning"
    assert message == (
        "found 8 voxels, up to 40, that decide the z-score alone: see whether they are meant, as a full "
        "bladder in PET is, or clip them (normalise: {pet: {percentiles: [0.5, 99.5]}})"
    )
    assert prepare(tmp_path / "study", HECKTOR, tmp_path / "store").cases == ["one", "two"]


def test_refining_loses_no_outer_plane(tmp_path):
    """Thick slices made thin: the new centres beyond the outermost old ones are covered too."""
    thick = AFFINE @ np.diag([1, 1, 5, 1])
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    for name, path in paths.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        values = np.ones(SHAPE) if name == "label" else rng.integers(1, 99, SHAPE)
        write_image(path, values.astype(np.int16), thick)
    found = [p for p in check_study(tmp_path / "study", regridded(BRATS2020, "1")) if p.severity == "error"]
    assert found == []
    store = prepare(tmp_path / "study", regridded(BRATS2020, "1.0"), tmp_path / "store")
    assert store.description.grid == "1"
    assert store.record("one").original_shape == (12, 10, 40)
    assert (np.asarray(store.labels("one")) == 1).all()


def test_what_an_image_does_not_cover_is_its_background(tmp_path):
    paths = write_case(tmp_path / "study", ISLES, "sub-1")
    rewrite(paths["flair"], lambda array, affine: (array[:, :, :6].astype(np.float32) - 3, affine))
    (case,) = find_cases(tmp_path / "study", ISLES)
    examined = examine(case, ISLES)
    assert examined.sound
    assert (examined.images["flair"].data[:, :, 6:] == -3).all()


@pytest.mark.parametrize("name", ["label", "flair"])
def test_a_file_that_lies_elsewhere_is_an_error(tmp_path, name):
    paths = write_case(tmp_path / "study", ISLES, "sub-1")
    rewrite(paths[name], lambda array, _: (array, np.diag([1.0, 1, 1, 1])))
    (case,) = find_cases(tmp_path / "study", ISLES)
    errors = [p.message for p in examine(case, ISLES).problems if p.severity == "error"]
    assert [e for e in errors if "100% " in e and "outside the grid of dwi" in e] == errors


def errors(root, description):
    return [problem for problem in check_study(root, description) if problem.severity == "error"]


NOWHERE = "does not say where it lies (the codes of qform and sform are 0)"


@pytest.mark.parametrize("grid", ["flair", "2"])
@pytest.mark.parametrize("name", ["label", "t1"])
def test_a_file_that_does_not_say_where_it_lies_is_brought_nowhere(tmp_path, name, grid):
    """nibabel takes it for LAS around the origin, which is where no file of these lies."""
    centred = np.diag([1.0, 1, 1, 1])
    centred[:3, 3] = -(np.array(SHAPE) - 1) / 2
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    for path in paths.values():
        rewrite(path, lambda array, _: (array, centred))
    rewrite(paths[name], lambda array, _: (array, None))
    file = paths[name].name
    (error,) = errors(tmp_path / "study", regridded(BRATS2020, grid))
    assert error.file == file
    assert (
        error.message
        == f"the header {NOWHERE}, so it cannot be brought to the grid of flair: write the codes"
    )
    found = errors(tmp_path / "study", BRATS2020)
    assert {problem.file for problem in found} == {file}
    for problem in found:
        assert "--resample" not in problem.message
        assert problem.message.endswith(f": the header of {file} {NOWHERE}: write the codes")


def test_nothing_is_brought_to_the_grid_of_a_file_that_does_not_say_where_it_lies(tmp_path):
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    rewrite(paths["flair"], lambda array, _: (array, None))
    (error,) = errors(tmp_path / "study", regridded(BRATS2020, "flair"))
    assert error.file == paths["flair"].name
    assert error.message == f"the header {NOWHERE}, so nothing can be brought to its grid: write the codes"
    # What no header says anything of lies alike.
    for path in paths.values():
        rewrite(path, lambda array, _: (array, None))
    found = check_study(tmp_path / "study", regridded(BRATS2020, "2"))
    assert [p.severity for p in found] == ["warning"] + ["note"] * 5


def test_headers_are_judged_as_they_stand(tmp_path):
    """Files of nibabel have an sform and no qform; that is no reason for a warning after resampling."""
    write_case(tmp_path / "study", BRATS2020, "one")
    found = check_study(tmp_path / "study", regridded(BRATS2020, "2"))
    assert {p.severity for p in found} == {"note"}


def test_slices_stay_as_they_are(tmp_path):
    write_case(tmp_path / "study", MYOPS2020, "101", shape=(12, 10, 8))
    store = prepare(tmp_path / "study", regridded(MYOPS2020, "0.5"), tmp_path / "store")
    assert store.record("101").original_shape == (24, 20, 8)


def test_too_many_voxels_are_refused(tmp_path):
    write_case(tmp_path / "study", BRATS2020, "one")
    found = [p.message for p in check_study(tmp_path / "study", regridded(BRATS2020, "0.001"))]
    assert any("take larger ones" in message for message in found)


def test_a_resampled_store_trains_under_the_name_of_its_dataset(tmp_path):
    write_case(tmp_path / "study", BRATS2020, "one")
    prepare(tmp_path / "study", regridded(BRATS2020, "2"), tmp_path / "store")
    _check_description(tmp_path / "store", BRATS2020)
    with pytest.raises(InputError, match="prepared with the whole False"):
        _check_description(tmp_path / "store", replace(BRATS2020, whole=True))


def test_a_file_on_another_grid_keeps_its_codes_of_space(tmp_path):
    path = write_image(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.float32))
    image = read_nifti(path)
    image.header.set_qform(image.affine, code=1)
    image.header.set_sform(image.affine, code=1)
    like = replace(image, affine=spaced(image, 2.0).affine)
    write_like(tmp_path / "b.nii.gz", np.zeros((6, 5, 4), np.uint8), like)
    written = read_nifti(tmp_path / "b.nii.gz")
    assert [int(written.header[code]) for code in ("qform_code", "sform_code")] == [1, 1]
    np.testing.assert_allclose(written.affine, like.affine, atol=1e-5)
    np.testing.assert_allclose(written.spacing, 2)
