"""Grids are compared in voxels; nothing is lost where one image is brought to another's grid."""

import nibabel as nib
import numpy as np
import pytest
from nifti_study import AFFINE, write_image

from datasets.preparation.nifti import read_nifti, turned
from datasets.preparation.voxel_grids import disagreement, resampled, same_grid

TURN = 0.3
OBLIQUE = np.array(
    [
        [np.cos(TURN), -np.sin(TURN), 0, 30],
        [np.sin(TURN), np.cos(TURN), 0, 60],
        [0, 0, 5.5, -98.396],
        [0, 0, 0, 1],
    ]
)
SHAPE = (40, 44, 20)


def image(folder, voxels, affine, name="a"):
    return read_nifti(write_image(folder / f"{name}.nii.gz", voxels, affine))


def moved(affine, axis, voxels):
    """The affine of a grid that lies some voxels further along an axis."""
    step = np.eye(4)
    step[axis, 3] = voxels
    return affine @ step


@pytest.fixture
def voxels():
    return np.random.default_rng(0).integers(1, 500, SHAPE).astype(np.int16)


@pytest.mark.parametrize("code", ["RAI", "LPS", "SRA", "PIR"])
def test_a_turned_oblique_grid_loses_no_plane(tmp_path, voxels, code):
    like = image(tmp_path, voxels, OBLIQUE)
    steps = nib.orientations.ornt_transform(nib.io_orientation(OBLIQUE), nib.orientations.axcodes2ornt(code))
    nib.save(nib.Nifti1Image(voxels, OBLIQUE).as_reoriented(steps), tmp_path / "turned.nii.gz")
    found = resampled(read_nifti(tmp_path / "turned.nii.gz"), like)
    np.testing.assert_allclose(found.data, voxels, atol=0.5)
    assert np.array_equal(found.affine, like.affine)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_equal_within_a_thousandth_of_a_voxel_is_equal(tmp_path, voxels, axis, sign):
    like = image(tmp_path, voxels, OBLIQUE)
    near = image(tmp_path, voxels + 1, moved(OBLIQUE, axis, sign * 0.0009), "near")
    assert same_grid(near, like)
    found = resampled(near, like)
    assert found.data is near.data
    assert np.array_equal(found.affine, like.affine)
    far = image(tmp_path, voxels, moved(OBLIQUE, axis, sign * 0.0011), "far")
    assert not same_grid(far, like)
    assert resampled(far, like).data.dtype == np.float32


@pytest.mark.parametrize("axis", range(3))
def test_linear_between_centres_and_0_beyond_them(tmp_path, voxels, axis):
    like = image(tmp_path, voxels, OBLIQUE)
    half = image(tmp_path, voxels, moved(OBLIQUE, axis, 0.5), "half")  # its index is ours less 0.5
    found, inside = resampled(half, like).data, np.moveaxis(voxels.astype(float), axis, 0)
    found = np.moveaxis(found, axis, 0)
    np.testing.assert_allclose(found[1:], (inside[1:] + inside[:-1]) / 2, atol=1e-2)
    assert not found[0].any()


def test_finer_and_coarser_grids_keep_a_ramp(tmp_path):
    ramp = np.arange(60, dtype=np.int16)[:, None, None].repeat(8, 1).repeat(6, 2)
    fine = image(tmp_path, ramp, np.eye(4))
    coarse = image(tmp_path, np.zeros((20, 8, 6), np.int16), np.diag([3, 1, 1, 1]), "coarse")
    np.testing.assert_allclose(resampled(fine, coarse).data[:, 3, 3], np.arange(20) * 3)
    back = resampled(image(tmp_path, ramp[::3], np.diag([3, 1, 1, 1]), "back"), fine).data[:, 3, 3]
    np.testing.assert_allclose(back[:58], np.arange(58), atol=1e-4)
    assert not back[58:].any()  # beyond the last centre at 57


@pytest.mark.parametrize(
    ("centre", "filled"), [(5.5, [4, 5, 6, 7]), (7, [5, 6, 7, 8, 9]), (5.75, [4, 5, 6, 7])]
)
def test_one_slice_covers_its_thickness(tmp_path, centre, filled):
    affine = np.diag([1, 1, 4.0, 1])
    affine[2, 3] = centre
    like = image(tmp_path, np.zeros((9, 9, 12), np.int16), np.eye(4))
    found = resampled(image(tmp_path, np.full((9, 9, 1), 7, np.int16), affine, "slice"), like).data
    assert np.flatnonzero(found.any(axis=(0, 1))).tolist() == filled
    assert set(np.unique(found)) == {0, 7}


def test_a_volume_to_one_slice_is_that_plane(tmp_path, voxels):
    like = image(tmp_path, voxels[:, :, :1], moved(OBLIQUE, 2, 7), "one")
    np.testing.assert_allclose(
        resampled(image(tmp_path, voxels, OBLIQUE), like).data, voxels[:, :, 7:8], atol=0.1
    )


def test_masks_stay_masks(tmp_path, voxels):
    like = image(tmp_path, voxels, OBLIQUE)
    mask = image(tmp_path, (voxels > 250).astype(np.uint8), moved(OBLIQUE, 0, 0.4), "mask")
    found = resampled(mask, like, nearest=True).data
    assert set(np.unique(found)) == {0, 1}
    assert np.array_equal(found[1:], (voxels > 250)[1:])


def header_of(folder, voxels, **values):
    made = nib.Nifti1Image(voxels, AFFINE)
    made.header.set_qform(AFFINE, 1)
    for key, value in values.items():
        made.header[key] = value
    nib.save(nib.Nifti1Image(voxels, None, made.header), folder / "a.nii.gz")
    return read_nifti(folder / "a.nii.gz")


@pytest.mark.parametrize(
    ("values", "apart"),
    [
        ({}, 0),
        ({"qoffset_y": 209}, 30),
        ({"qoffset_y": 209, "qform_code": 0}, 0),
        ({"srow_x": [-1.5, 0, 0, 0]}, 19.5),  # 39 steps of half a millimetre
        ({"srow_x": [-1.5, 0, 0, 0], "qform_code": 0}, 19.5),
        ({"srow_x": [-1.5, 0, 0, 0], "sform_code": 0}, 0),
    ],
)
def test_what_a_header_says_twice_is_compared(tmp_path, voxels, values, apart):
    assert disagreement(header_of(tmp_path, voxels, **values)) == pytest.approx(apart, abs=1e-4)


def test_turned_as_the_header_says(tmp_path, voxels):
    """Where nibabel puts a voxel, it stays."""
    found = nib.Nifti1Image(voxels, OBLIQUE)
    steps = nib.orientations.ornt_transform(nib.io_orientation(OBLIQUE), nib.orientations.axcodes2ornt("SLA"))
    expected = np.asanyarray(found.as_reoriented(steps).dataobj)
    assert np.array_equal(turned(voxels, "".join(nib.aff2axcodes(OBLIQUE)), "SLA"), expected)
