"""Files of a case on several grids are brought to one: that of a modality, or voxels of so many mm."""

from dataclasses import replace

import numpy as np
import pytest
from nifti_study import AFFINE, SHAPE, rewrite, write_case, write_image

from bench_errors import InputError
from datasets.preparation.check import check_study
from datasets.preparation.nifti import Image
from datasets.preparation.prepare import prepare
from datasets.preparation.voxel_grids import spaced
from datasets.studies.brats import BRATS2020
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
