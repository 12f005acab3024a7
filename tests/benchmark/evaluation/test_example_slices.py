"""The slices that a run keeps: which cases, which slice, which way up, and the same bytes again."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark.evaluation.example_slices import LEVELS, choose, cut, load, places, save, upright
from benchmark.run_folder.case_rows import CaseRow

LPS = np.diag([-1, -1, 1, 1])
"""The affine of BraTS: indices grow towards the patient's left and back."""


def rows(**means):
    """Two subsets and a distance of each case; the mean Dice is as given."""
    return [
        row
        for case, mean in means.items()
        for row in (
            CaseRow(case, "t1", "WT", "dice", "passion", mean - 0.1),
            CaseRow(case, "t2", "WT", "dice", "passion", mean + 0.1),
            CaseRow(case, "t2", "WT", "hd95", "passion", 30.0),
        )
    ]


def test_the_first_worst_median_and_best_case_are_kept():
    chosen = choose(rows(e=0.5, a=0.9, b=0.2, c=0.4, d=0.7))
    assert chosen == {"e": ("first", "median"), "b": ("worst",), "a": ("best",)}


def test_one_case_has_all_roles_and_equal_ones_go_by_name():
    assert choose(rows(a=0.5)) == {"a": ("first", "worst", "median", "best")}
    assert choose(rows(b=0.5, a=0.5)) == {"b": ("first", "best"), "a": ("worst", "median")}
    assert choose([]) == {}


def test_a_case_without_a_value_is_the_worst():
    without = [CaseRow("x", "t1", "WT", "dice", "nan-free", float("nan"))]
    assert choose([*rows(a=0.5, b=0.6), *without])["x"] == ("worst",)


def brain():
    """Two modalities, the second lacking; the label is largest in slice 3 and lies left of the middle."""
    volumes = np.zeros((2, 6, 8, 5), dtype=np.float32)
    volumes[0] = -1
    volumes[0, 1:5, 1:7] = np.linspace(0, 3, 4 * 6 * 5).reshape(4, 6, 5)
    label = np.zeros((6, 8, 5), dtype=np.uint8)
    label[1, 1, 2] = 1
    label[1:3, 1, 3] = 2
    return volumes, label


def test_the_slice_is_the_one_with_most_label():
    volumes, label = brain()
    example = cut("a", volumes, label, {"t1": label, "t2": 0 * label}, LPS)
    assert example.place == 3
    assert example.label.shape == (8, 6)
    assert np.array_equal(example.predictions["t1"], example.label)
    assert not example.predictions["t2"].any()
    assert cut("a", volumes, 0 * label, {}, LPS).place == 2


def test_a_picture_has_the_largest_slice_and_two_towards_the_ends():
    label = np.zeros((4, 4, 20), np.uint8)
    label[0, 0, 4:17] = 1
    label[:2, :, 8] = 2
    assert places(label) == (8, 6, 12)
    label[..., :8] = label[..., 9:] = 0
    assert places(label) == (8,)
    assert places(np.zeros((4, 4, 20), np.uint8)) == (10,)


def test_grey_values_leave_the_background_black_and_lacking_modalities_empty():
    volumes, label = brain()
    grey = cut("a", volumes, label, {}, LPS).volumes
    assert grey.dtype == np.uint8
    assert grey[0, 0].max() == 0
    assert grey[0].max() == 255
    assert len(np.unique(grey)) <= LEVELS
    assert not grey[1].any()


@pytest.mark.parametrize(("x", "y"), [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_front_is_above_and_right_is_on_the_left_for_every_orientation(x, y):
    plane = np.zeros((4, 6), dtype=np.uint8)
    # The patient's right front corner: millimetres grow towards right and front.
    plane[3 if x > 0 else 0, 5 if y > 0 else 0] = 1
    picture = upright(plane, np.diag([x, y, 1, 1]))
    assert picture.shape == (6, 4)
    assert picture[0, 0] == 1


def test_saved_examples_come_back_and_have_the_same_bytes(tmp_path):
    volumes, label = brain()
    example = cut("a", volumes, label, {"t1": label, "t1+t2": 0 * label}, LPS)
    kept = [replace(example, roles=("first", "best"))]
    save(tmp_path / "one.npz", kept)
    save(tmp_path / "two.npz", kept)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    [back] = load(tmp_path / "one.npz")
    assert (back.case, back.roles, back.place) == ("a", ("first", "best"), 3)
    assert np.array_equal(back.volumes, kept[0].volumes)
    assert list(back.predictions) == ["t1", "t1+t2"]
    assert np.array_equal(back.predictions["t1"], kept[0].label)
    assert load(tmp_path / "none.npz") == []


def test_a_damaged_file_is_a_value_error(tmp_path):
    volumes, label = brain()
    save(tmp_path / "whole.npz", [cut("a", volumes, label, {"t1": label}, LPS)])
    content = (tmp_path / "whole.npz").read_bytes()
    for broken in (content[: len(content) // 2], b"no archive", b""):
        (tmp_path / "broken.npz").write_bytes(broken)
        with pytest.raises(ValueError, match=r".+"):
            load(tmp_path / "broken.npz")


def test_four_cases_of_a_brain_take_less_than_300_kb(tmp_path):
    # As large as a real patient after the crop, and noisier than one.
    random = np.random.default_rng(0)
    volumes = np.full((4, 145, 171, 3), -2, dtype=np.float32)
    x, y = np.meshgrid(np.linspace(-1, 1, 145), np.linspace(-1, 1, 171), indexing="ij")
    inside = x**2 + y**2 < 0.7
    wave = np.cumsum(random.normal(size=(4, 145, 171)), axis=1) / 12 + random.normal(size=(4, 145, 171)) / 20
    volumes[:, inside] = wave[:, inside, None]
    label = np.zeros((145, 171, 3), dtype=np.uint8)
    label[40:80, 40:90] = 1
    predictions = {f"s{i}": np.roll(label, i, axis=0) for i in range(15)}
    save(tmp_path / "e.npz", [cut(f"c{i}", volumes, label, predictions, LPS) for i in range(4)])
    assert (tmp_path / "e.npz").stat().st_size < 300_000
