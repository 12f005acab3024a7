"""What intensities become: each rule against its formula, in what is kept and in what a store gives back."""

from dataclasses import replace

import numpy as np
import pytest
from nifti_study import head, rewrite, write_case

from bench_errors import InputError
from datasets.missingness.degrade import Degradation, degraded_volume
from datasets.preparation.check import check_case
from datasets.preparation.crop import Scaling, crop, scaling
from datasets.preparation.find import find_cases
from datasets.preparation.head import find_head
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import Normalisation, Slices

MASKED = replace(BRATS2020, layouts=(replace(BRATS2020.layouts[0], mask="{case}/{case}_mask"),))
INSIDE = np.arange(-200, 801, dtype=np.float32)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Normalisation(), Scaling(300, np.sqrt((1001**2 - 1) / 12))),
        (Normalisation("none"), Scaling(0, 1)),
        (Normalisation("window", (-100, 300)), Scaling(100, 200, -100, 300)),
    ],
)
def test_rules_against_their_formula(rule, expected):
    found = scaling(INSIDE, rule)
    assert found[:2] == pytest.approx(expected[:2])
    assert found[2:] == expected[2:]


def test_percentiles_clip_first_to_values_of_the_image():
    found = scaling(INSIDE, Normalisation("percentiles", (10, 90)))
    clipped = np.clip(INSIDE.astype(float), -100, 700)
    assert (found.low, found.high) == (-100, 700)
    assert found[:2] == pytest.approx((clipped.mean(), clipped.std()))
    far = np.append(np.full(9999, 5.0, np.float32), 1e9)
    assert scaling(far, Normalisation("percentiles", (0.5, 99.5))).high == 5


def with_rules(description, **rules):
    return replace(
        description, normalise=tuple(rules.get(m, Normalisation()) for m in description.modalities)
    )


RULES = {
    "flair": Normalisation("window", (200.0, 600.0)),
    "t1ce": Normalisation("none"),
    "t1": Normalisation("percentiles", (5.0, 95.0)),
}


def test_a_store_gives_what_the_rules_say(tmp_path):
    description = with_rules(BRATS2020, **RULES)
    write_case(tmp_path / "study", description, "one")
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    raw = {m: v.astype(float) for m, v in head("one", BRATS2020.modalities)[0].items()}
    inside = sum(raw.values()) > 0
    flair, t1ce, t1, t2 = np.asarray(store.volumes("one"))
    np.testing.assert_allclose(flair, (np.clip(raw["flair"], 200, 600) - 400) / 200, atol=1e-6)
    assert np.array_equal(t1ce, raw["t1ce"])
    low, high = np.percentile(raw["t1"][inside], (5, 95), method="nearest")
    clipped = np.clip(raw["t1"], low, high)
    np.testing.assert_allclose(t1, (clipped - clipped[inside].mean()) / clipped[inside].std(), atol=1e-5)
    np.testing.assert_allclose(
        t2, (raw["t2"] - raw["t2"][inside].mean()) / raw["t2"][inside].std(), atol=1e-5
    )
    assert store.record("one").background == (200, 0, low, 0)


def test_as_predict_sees_it_and_as_the_store_gives_it_is_the_same(tmp_path):
    description = with_rules(BRATS2020, **RULES)
    write_case(tmp_path / "study", description, "one")
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    volumes = {m: v.astype(np.float32) for m, v in head("one", BRATS2020.modalities)[0].items()}
    cut = crop(volumes, find_head(volumes, description), "full", description)
    assert np.array_equal(cut.normalised(description.modalities), store.volumes("one"))


def zscored(array, affine):
    inside = array[array > 0]
    values = (array - inside.mean()) / inside.std()
    return np.where(array > 0, values, -3.6).astype(np.float32), affine


def test_normalised_images_are_cropped_to_their_head_and_kept(tmp_path):
    shape = (150, 12, 10)
    for study, changed in (("raw", None), ("zscored", zscored)):
        paths = write_case(tmp_path / study, BRATS2020, "one", shape)
        for modality in BRATS2020.modalities if changed else ():
            rewrite(paths[modality], changed)
    before = prepare(tmp_path / "raw", BRATS2020, tmp_path / "a")
    after = prepare(tmp_path / "zscored", BRATS2020, tmp_path / "b")
    kept = prepare(
        tmp_path / "zscored",
        with_rules(BRATS2020, **dict.fromkeys(BRATS2020.modalities, Normalisation("none"))),
        tmp_path / "c",
    )
    assert (
        after.record("one").box
        == before.record("one").box
        == kept.record("one").box
        == ((1, 149), (0, 12), (0, 10))
    )
    assert after.record("one").mean == pytest.approx([0] * 4, abs=1e-6)
    assert after.record("one").std == pytest.approx([1] * 4, abs=1e-6)
    inside = (slice(None), slice(1, -1), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(after.volumes("one")[inside], before.volumes("one")[inside], atol=1e-5)
    np.testing.assert_allclose(kept.volumes("one"), after.volumes("one"), atol=1e-5)
    assert kept.record("one").background == pytest.approx([-3.6] * 4)
    poor = degraded_volume(kept, "one", 0, Degradation("noise", 3))
    outside = np.asarray(kept.volumes("one"))[0] == np.float32(-3.6)
    assert (poor[outside] == np.float32(-3.6)).all()
    assert (poor[~outside] != np.asarray(kept.volumes("one"))[0][~outside]).mean() > 0.99


def test_a_mask_strips_the_skull(tmp_path):
    paths = write_case(tmp_path / "study", MASKED, "one")
    for modality in MASKED.modalities:
        rewrite(paths[modality], lambda a, m: (a + np.int16(7), m))  # no voxel is 0 any more
    volumes, _ = head("one", MASKED.modalities)
    store = prepare(tmp_path / "study", MASKED, tmp_path / "store")
    record, inside = store.record("one"), volumes["flair"] > 0
    assert record.tissue == inside.sum()
    assert record.sources.keys() == {path.name for path in paths.values()}
    found = np.asarray(store.volumes("one"))
    for m, modality in enumerate(MASKED.modalities):
        expected = (volumes[modality] - volumes[modality][inside].mean()) / volumes[modality][inside].std()
        np.testing.assert_allclose(found[m], expected, atol=1e-5)


def test_what_is_wrong_with_a_mask(tmp_path):
    paths = write_case(tmp_path, MASKED, "one")
    (case,) = find_cases(tmp_path, MASKED)
    assert check_case(case, MASKED) == []
    rewrite(paths["mask"], lambda a, m: (a * 0, m))
    assert [p.message for p in check_case(case, MASKED)] == [
        "found no voxel above 0.5, expected the head: make the mask again"
    ]
    rewrite(paths["mask"], lambda a, m: (a[:-1], m))
    assert "shape 11x10x8, expected 12x10x8" in check_case(case, MASKED)[0].message
    paths["mask"].unlink()
    (case,) = find_cases(tmp_path, MASKED)
    (error,) = check_case(case, MASKED)
    assert error.message == "found no mask, expected one_mask.nii.gz: add it or remove the case"
    with pytest.raises(InputError, match="found no mask"):
        prepare(tmp_path, MASKED, tmp_path / "store")


def test_a_mask_that_leaves_labels_outside_is_a_warning(tmp_path):
    paths = write_case(tmp_path, MASKED, "one")
    rewrite(paths["mask"], lambda a, m: (a * (np.arange(12) < 6)[:, None, None].astype(a.dtype), m))
    (case,) = find_cases(tmp_path, MASKED)
    (warning,) = check_case(case, MASKED)
    assert "labelled voxels outside the head: look at the label" in warning.message


def test_a_window_that_shows_nothing_is_an_error(tmp_path):
    description = with_rules(BRATS2020, t1=Normalisation("window", (5000.0, 6000.0)))
    write_case(tmp_path, description, "one")
    (case,) = find_cases(tmp_path, description)
    (error,) = check_case(case, description)
    assert "clipped to 5000 to 6000, is constant (5000) wherever there is tissue" in error.message


def test_where_no_head_is_needed_none_has_to_be_told(tmp_path):
    """CT without a head to find: all of it is kept, in the window's units."""
    ct = with_rules(
        BRATS2020, **dict.fromkeys(BRATS2020.modalities, Normalisation("window", (-100.0, 300.0)))
    )
    paths = write_case(tmp_path / "study", ct, "one")
    rng = np.random.default_rng(0)
    for modality in ct.modalities:
        rewrite(paths[modality], lambda a, m: (rng.integers(-1024, 900, a.shape).astype(np.int16), m))
    (case,) = find_cases(tmp_path / "study", ct)
    assert check_case(case, ct) == []
    store = prepare(tmp_path / "study", ct, tmp_path / "store")
    assert store.record("one").shape == store.record("one").original_shape
    volumes = np.asarray(store.volumes("one"))
    assert (volumes.min(), volumes.max()) == (-1, 1)


def test_slices_are_clipped_to_percentiles_of_the_whole_volume(tmp_path):
    description = with_rules(MYOPS2020, lge=Normalisation("percentiles", (10.0, 90.0)))
    write_case(tmp_path / "study", description, "myops_training_101", (270, 262, 3))
    store = prepare(tmp_path / "study", description, tmp_path / "store")
    raw = head("myops_training_101", MYOPS2020.modalities, (270, 262, 3))[0]["lge"].astype(float)
    low, high = np.percentile(raw[raw > 0], (10, 90), method="nearest")
    clipped = np.clip(raw, low, high)
    expected = (clipped - clipped[raw > 0].mean()) / clipped[raw > 0].std()
    np.testing.assert_allclose(store.volumes("myops_training_101")[1], expected[7:263, 3:259], atol=1e-5)


def test_nothing_is_cut_off_slices_that_are_taken_whole(tmp_path):
    whole, shape = replace(MYOPS2020, whole=True), (270, 262, 8)
    write_case(tmp_path / "study", whole, "myops_training_101", shape)
    store = prepare(tmp_path / "study", whole, tmp_path / "store")
    record = store.record("myops_training_101")
    volumes, label = head("myops_training_101", MYOPS2020.modalities, shape, tuple(MYOPS2020.file_labels))
    assert record.box == tuple((0, edge) for edge in shape)
    assert sum(record.labelled) == np.count_nonzero(label)
    raw = np.stack([volumes[m].astype(float) for m in MYOPS2020.modalities])
    expected = (raw - raw.mean(axis=(1, 2, 3), keepdims=True)) / raw.std(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(store.volumes("myops_training_101"), expected, atol=1e-5)
    slices = prepare(tmp_path / "study", replace(whole, slices=Slices(1)), tmp_path / "slices")
    assert {slices.record(case).shape for case in slices.cases} == {(270, 262, 1)}
    cut = prepare(tmp_path / "study", MYOPS2020, tmp_path / "cut")
    assert (store.preparation["box"], cut.preparation["box"]) == ("full", "central")
    with pytest.raises(InputError, match="with --box central, now it is full: give another --out; runs"):
        prepare(tmp_path / "study", whole, tmp_path / "cut")


def test_of_larger_voxels_as_many_are_kept_as_are_as_long():
    volume = np.zeros((120, 120, 120), dtype=np.float32)
    volume[40:60, 40:100, 40:100] = 1
    coarse = replace(BRATS2020, grid="2")
    cut = crop({"t1": volume}, find_head({"t1": volume}, coarse), "full", coarse)
    assert cut.box == ((18, 82), (38, 102), (38, 102))
    usual, *finer = (
        crop({"t1": volume}, find_head({"t1": volume}, study), "full", study).box
        for study in (BRATS2020, replace(BRATS2020, grid="1"), replace(BRATS2020, grid="0.5"))
    )
    assert finer == [usual, usual]
