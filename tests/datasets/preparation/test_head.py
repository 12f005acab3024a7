"""Head and background are told apart in raw, shifted and normalised images, by mask, description or faces."""

from dataclasses import replace

import numpy as np
import pytest

from datasets.preparation.head import face_value, find_head, masked
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

BALL = np.sum((np.indices((24, 20, 16)) - np.array([12, 10, 8])[:, None, None, None]) ** 2, axis=0) < 36


def raw(seed=0, low=1.0):
    """A head of positive intensities in a background of 0."""
    return np.where(BALL, np.random.default_rng(seed).uniform(low, 900, BALL.shape), 0).astype(np.float32)


def zscored(volume, background):
    inside = (volume - volume[BALL].mean()) / volume[BALL].std()
    return np.where(BALL, inside, background).astype(np.float32)


@pytest.mark.parametrize("background", [0.0, -3.6, 5.0, -1024.0])
def test_a_normalised_or_shifted_head_is_what_differs_from_the_faces(background):
    volumes = {"flair": zscored(raw(), background), "t1": zscored(raw(1), background - 1)}
    head = find_head(volumes, BRATS2020)
    assert np.array_equal(head.tissue, BALL)
    assert not head.as_released
    assert head.outside == pytest.approx({"flair": background, "t1": background - 1})
    assert head.negative["flair"] == pytest.approx((zscored(raw(), 0)[BALL] < 0).mean())
    moved = find_head({"flair": raw() + np.float32(100)}, BRATS2020)
    assert np.array_equal(moved.tissue, BALL)
    assert moved.outside == {"flair": 100}


def test_raw_images_go_by_the_released_rule():
    volumes = {"flair": raw(), "t1": raw(1)}
    volumes["flair"][3, 3, 3] = -4  # as resampling leaves some
    volumes["t1"][4, 3, 3] = 4
    head = find_head(volumes, BRATS2020)
    assert head.as_released
    assert np.array_equal(head.tissue, volumes["flair"] + volumes["t1"] > 0)
    assert head.tissue[4, 3, 3]
    assert not head.tissue[3, 3, 3]
    assert head.outside == {"flair": 0, "t1": 0}


def test_a_head_that_reaches_the_faces_and_one_without_background():
    cut = raw()[12:]  # half of the head, through its middle
    assert face_value(cut) == 0
    unstripped = raw() + np.random.default_rng(2).uniform(1, 9, BALL.shape).astype(np.float32)
    assert face_value(unstripped) is None
    head = find_head({"flair": unstripped}, BRATS2020)
    assert head.as_released
    assert head.tissue.all()
    normalised = unstripped - unstripped.mean()
    head = find_head({"flair": normalised, "t1": zscored(raw(), -3)}, BRATS2020)
    assert (head.told["flair"], head.told["t1"]) == (None, -3)
    assert np.array_equal(head.tissue, BALL)
    assert find_head({"flair": normalised}, BRATS2020).tissue.all()


def test_faces_of_slices_are_their_edges():
    slices = np.full((20, 20, 2), 7, np.float32)
    slices[1:-1, 1:-1] = np.random.default_rng(0).uniform(10, 20, (18, 18, 2))
    assert face_value(slices, axes=2) == 7
    assert face_value(slices) is None
    assert find_head({"lge": slices}, MYOPS2020).outside == {"lge": 7}


def test_the_description_goes_before_the_faces():
    volume = zscored(raw(), -3.6)
    volume[:, :, 0] = -1
    for given in (-3.6, -1.0):
        head = find_head({"flair": volume}, replace(BRATS2020, background=given))
        assert np.array_equal(head.tissue, volume != np.float32(given))
        assert head.outside == {"flair": given}
    assert find_head({"flair": raw()}, replace(BRATS2020, background=0.0)).as_released


@pytest.mark.parametrize("background", [0.0, -3.6, None])
def test_a_mask_goes_before_all_and_clears_what_is_outside(background):
    volume = zscored(
        raw(), np.random.default_rng(3).uniform(-9, 9, BALL.shape) if background is None else background
    )
    mask = BALL & (np.arange(24) > 9)[:, None, None]
    head = find_head({"flair": volume}, BRATS2020, mask)
    assert head.tissue is mask
    assert not head.as_released
    outside = volume[mask].min() if background is None else np.float32(background)
    cleared = masked(volume, head, "flair")
    assert np.array_equal(cleared[mask], volume[mask])
    assert set(np.unique(cleared[~mask])) == {outside}
    assert head.negative["flair"] == (volume[mask] < 0).mean()
