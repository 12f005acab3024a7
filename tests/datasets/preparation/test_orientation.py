"""However the files of a case lie, its prepared volumes lie alike, and lead back to the files' grid."""

import nibabel as nib
import numpy as np
import pytest
from nifti_study import AFFINE, head, rewrite, write_case, write_image

from datasets.preparation.check import check_study
from datasets.preparation.nifti import turned
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

SHAPE = (140, 9, 8)
CODES = ["LPS", "RAS", "LAS", "SRA", "PIR"]


def lay(path, code):
    image = nib.Nifti1Image(np.asanyarray(nib.load(path).dataobj), AFFINE)
    steps = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code))
    image = image.as_reoriented(steps)
    write_image(path, np.asanyarray(image.dataobj), image.affine)


@pytest.mark.parametrize("code", CODES)
def test_volumes_of_all_orientations_are_prepared_alike(tmp_path, code):
    for folder, way in (("a", "LPS"), ("b", code)):
        for path in write_case(tmp_path / folder, BRATS2020, "one", SHAPE).values():
            lay(path, way)
    usual, other = (prepare(tmp_path / f, BRATS2020, tmp_path / f"store {f}") for f in "ab")
    first, second = usual.record("one"), other.record("one")
    assert (first.orientation, second.orientation) == ("LPS", code)
    assert first.stored_orientation == second.stored_orientation == "LPS"
    assert second.box == first.box == ((1, 139), (0, 9), (0, 8))
    np.testing.assert_allclose(second.affine, first.affine)
    assert np.array_equal(other.volumes("one"), usual.volumes("one"))
    assert np.array_equal(other.labels("one"), usual.labels("one"))
    assert second.prints == first.prints
    assert other.hash == usual.hash

    whole = np.zeros(second.original_shape, dtype=np.uint8)
    values = np.array([0, 1, 2, 4], dtype=np.uint8)
    whole[tuple(slice(*limits) for limits in second.box)] = values[np.asarray(other.labels("one"))]
    file = nib.load(tmp_path / "b" / "one" / "one_seg.nii.gz")
    back = turned(whole, second.stored_orientation, second.orientation)
    assert np.array_equal(back, np.asanyarray(file.dataobj))


def test_files_that_do_not_say_how_they_lie_are_taken_as_they_should(tmp_path):
    for folder in "ab":
        write_case(tmp_path / folder, BRATS2020, "one")
    for path in (tmp_path / "b" / "one").iterdir():
        image = nib.load(path)
        image.header.set_sform(None, 0)
        image.header.set_qform(None, 0)
        image.header.set_zooms((1, 1, 1))
        nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), None, image.header), tmp_path / "x.nii.gz")
        (tmp_path / "x.nii.gz").rename(path)
    (warning,) = check_study(tmp_path / "b", BRATS2020)
    assert warning.file == "one_flair.nii.gz and 4 more"
    assert "qform and sform are 0): it is taken as LPS, as BraTS lies: look at it" in warning.message
    said, silent = (prepare(tmp_path / f, BRATS2020, tmp_path / f"store {f}") for f in "ab")
    assert np.array_equal(silent.volumes("one"), said.volumes("one"))
    assert silent.record("one").orientation == silent.record("one").stored_orientation == "LPS"
    assert silent.hash == said.hash


def test_a_file_that_does_not_say_how_it_lies_lies_as_the_first_on_its_grid(tmp_path):
    """That of a file which says it may be nibabel's own for those which do not."""
    paths = write_case(tmp_path / "study", BRATS2020, "one")
    rewrite(paths["t1"], lambda array, _: (array, None))
    by_nibabel = nib.load(paths["t1"]).affine
    for name in paths.keys() - {"t1"}:
        rewrite(paths[name], lambda array, _: (array, by_nibabel))
    (warning,) = check_study(tmp_path / "study", BRATS2020)
    assert warning.file == "one_t1.nii.gz"
    assert "it is taken as LAS, as one_flair.nii.gz lies: look at it" in warning.message


def test_slices_stay_as_they_are(tmp_path):
    for path in write_case(tmp_path / "study", MYOPS2020, "one").values():
        lay(path, "SRA")
    record = prepare(tmp_path / "study", MYOPS2020, tmp_path / "store").record("one")
    assert record.orientation == record.stored_orientation == "SRA"
    assert record.shape == (8, 12, 10)


def test_case_by_case(tmp_path):
    """Half one way, half the other: what training sees of each is the same side up."""
    for name, code in (("one", "LPS"), ("two", "RAS"), ("three", "RAS"), ("four", "LPS")):
        for path in write_case(tmp_path / "study", BRATS2020, name).values():
            lay(path, code)
    store = prepare(tmp_path / "study", BRATS2020, tmp_path / "store")
    for name in store.cases:
        _, labels = head(name, BRATS2020.modalities)
        assert np.array_equal(store.labels(name), np.where(labels == 4, 3, labels))
