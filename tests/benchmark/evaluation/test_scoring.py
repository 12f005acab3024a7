"""Scoring a case: all its predictions, regions and metrics at once, slices, spacing and probabilities."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mask_shapes import blob, class_map
from scipy.spatial import cKDTree

from benchmark.evaluation.device_scores import can_score, score_on_device
from benchmark.evaluation.metrics import METRICS, POLICIES, Scoring, score_case, score_masks
from benchmark.evaluation.score_maps import CPU, score_maps
from benchmark.evaluation.segment_case import Segmentation, segment_case
from benchmark.evaluation.surface_distances import nearest
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import Region

UNIT = (1.0, 1.0, 1.0)
PASSION = POLICIES["passion"]
MASKED = tuple(name for name, metric in METRICS.items() if not metric.of_probabilities)
LVB = [Region("LVB", (2,))]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_case_scores_as_its_masks_do(policy):
    reference = class_map(1)
    predictions = {"flair": class_map(2), "t2": class_map(3), "t1": np.zeros_like(reference)}
    scoring = Scoring(POLICIES[policy], MASKED)
    rows = score_case(predictions, reference, BRATS2020.regions, scoring, (1, 2, 1))
    assert [row[:3] for row in rows[: len(MASKED)]] == [("flair", "WT", metric) for metric in MASKED]
    assert len(rows) == 3 * 4 * len(MASKED)
    for name, region_name, metric, value in rows:
        region = next(r for r in BRATS2020.regions if r.name == region_name)
        truth, mask = np.isin(reference, region.classes), np.isin(predictions[name], region.classes)
        if mask.sum() < region.min_voxels:
            mask[:] = False
        assert value == pytest.approx(
            score_masks(metric, mask, truth, scoring.policy, (1, 2, 1)), rel=1e-12, abs=1e-12
        )


@pytest.mark.parametrize(("voxels", "kept"), [(499, False), (500, True)])
def test_small_enhancing_tumours_are_emptied(voxels, kept):
    reference = np.zeros((20, 20, 20), dtype=np.uint8)
    reference.ravel()[:600] = 3
    prediction = np.zeros_like(reference)
    prediction.ravel()[:voxels] = 3
    rows = score_case({"t1ce": prediction}, reference, BRATS2020.regions[2:], Scoring(PASSION), UNIT)
    values = {(region, metric): value for _, region, metric, value in rows}
    assert values["ET", "dice"] == pytest.approx(2 * voxels / (voxels + 600))
    if kept:
        assert values["ETpp", "dice"] == values["ET", "dice"]
        assert values["ETpp", "hd95"] == values["ET", "hd95"]
    else:
        assert values["ETpp", "dice"] == pytest.approx(0.0, abs=1e-9)
        assert values["ETpp", "hd95"] == 1.0


def of_slices(**options):
    """Score three slices: one that is 2 pixels off, one that is missed, one that is empty."""
    reference, prediction = np.zeros((2, 12, 12, 3), dtype=np.uint8)
    reference[2:8, 2:8, 0] = prediction[4:10, 2:8, 0] = 2
    reference[5, 5, 1] = 2
    scoring = Scoring(PASSION, MASKED, **options)
    rows = score_case({"lge": prediction}, reference, LVB, scoring, (0.5, 1.0, 8.0), spatial_dims=2)
    return {metric: value for _, _, metric, value in rows}


def test_slices_are_scored_by_themselves_and_averaged():
    values = of_slices()
    assert values["dice"] == pytest.approx((2 * 24 / 72 + 0 + 1) / 3)
    assert values["hd95"] == pytest.approx((2 * 0.5 + 1.0 + 0) / 3)
    # A volume and a number of components are of the case, whichever way slices are scored.
    assert values["volume_error"] == pytest.approx(1 * 0.5 * 8 / 1000)
    assert values["false_positives"] == 0


def test_empty_slices_are_left_out_where_the_user_says_so():
    values = of_slices(empty_slices="skip")
    assert values["dice"] == pytest.approx((2 * 24 / 72 + 0) / 2)
    assert values["hd95"] == pytest.approx((2 * 0.5 + 1.0) / 2)
    empty = np.zeros((8, 8, 2), dtype=np.uint8)
    scoring = Scoring(PASSION, empty_slices="skip")
    rows = score_case({"lge": empty}, empty, LVB, scoring, UNIT, spatial_dims=2)
    assert np.isnan([value for *_, value in rows]).all()


def test_a_study_of_slices_can_be_scored_as_volumes():
    reference, prediction = np.zeros((2, 12, 12, 3), dtype=np.uint8)
    reference[2:8, 2:8, 0] = prediction[2:8, 2:8, 2] = 2
    scoring = Scoring(PASSION, slices="per-volume")
    rows = score_case({"lge": prediction}, reference, LVB, scoring, (0.5, 1.0, 8.0), spatial_dims=2)
    assert [value for *_, value in rows] == pytest.approx([0.0, 16.0], abs=1e-9)
    whole = Scoring(PASSION, slices="per-volume", empty_slices="skip")
    assert score_case({"lge": prediction}, reference, LVB, whole, (0.5, 1.0, 8.0), spatial_dims=2) == rows


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("dims", [2, 3])
def test_an_empty_case(policy, dims):
    nothing = np.zeros((8, 8, 8), dtype=np.uint8)
    scoring = Scoring(POLICIES[policy], MASKED)
    rows = score_case({"t1": nothing}, nothing, BRATS2020.regions, scoring, UNIT, dims)
    assert {(metric, value) for _, _, metric, value in rows} == {
        (metric, 1.0 if METRICS[metric].higher_is_better else 0.0) for metric in MASKED
    }


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        score_case(
            {"t1": np.zeros((2, 2, 2), np.uint8)}, np.zeros((2, 2, 3), np.uint8), [], Scoring(PASSION), UNIT
        )


class OneCase:
    """A store of one case with labels and an affine; its volumes are noise."""

    def __init__(self, labels, affine, description):
        self.description = description
        self._labels = labels
        self._record = SimpleNamespace(affine=affine)

    def labels(self, case):
        return self._labels

    def record(self, case):
        return self._record

    def available(self, case):
        return (True,) * len(self.description.modalities)

    def volumes(self, case):
        shape = len(self.description.modalities), *self._labels.shape
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def rotated(spacing, angle):
    """An affine whose first two axes are turned, in float32 as NIfTI has it."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return (turn @ np.diag([*spacing, 1.0])).astype(np.float32).tolist()


@pytest.mark.parametrize("spacing", [UNIT, (0.75, 1.5, 5.0)])
def test_distances_are_in_mm_by_the_cases_affine(spacing):
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[5:9, 5:9, 5:9] = 3
    for axis, edge in enumerate(spacing):
        moved = {"t1": np.roll(labels, 4, axis)}
        for angle in (0.0, 0.3):
            store = OneCase(labels, rotated(spacing, angle), BRATS2020)
            rows = score_maps(store, "case", Segmentation(moved), Scoring(PASSION, ("hd95",)))
            assert {row.value for row in rows if row.region != "ETpp"} == {4 * edge}


def test_probabilities_of_the_foreground_are_those_that_decide():
    import torch

    import backbones

    torch.manual_seed(0)
    net = backbones.create("rfnet", modalities=4, classes=4, width=2, crop=16)
    labels = class_map(1)[10:34, 12:30, 12:28]
    store = OneCase(labels, np.eye(4).tolist(), BRATS2020)
    segmented = segment_case(net, store, "case", window=16, device=CPU, probabilities=True)
    alone = segment_case(net, store, "case", window=16, device=CPU)
    assert alone.probabilities == {}
    assert len(segmented.probabilities) == 15
    for name, shares in segmented.probabilities.items():
        np.testing.assert_array_equal(segmented.maps[name], alone.maps[name])
        assert shares.shape == (4, np.count_nonzero(labels))
        np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-5)
        np.testing.assert_array_equal(shares.argmax(axis=0), segmented.maps[name][labels > 0])
    scoring = Scoring(PASSION, ("dice", "ece"))
    assert scoring.of_probabilities
    rows = score_maps(store, "case", segmented, scoring)
    values = {(row.subset, row.region): row.value for row in rows if row.metric == "ece"}
    shares = segmented.probabilities["flair"].astype(np.float64)
    # Every voxel of the foreground is in WT, so that its error is what is missing to 1.
    assert values["flair", "WT"] == pytest.approx(1 - shares[1:].sum(axis=0).mean(), abs=1e-6)
    assert values["flair", "ET"] == values["flair", "ETpp"]
    dice = [row for row in rows if row.metric == "dice"]
    assert dice == score_maps(store, "case", alone, replace(scoring, metrics=("dice",)))


def test_a_calibration_error_pools_the_slices_of_a_case():
    labels = np.zeros((6, 6, 2), dtype=np.uint8)
    labels[:3, :, 0], labels[:, :, 1] = 2, 3
    inside = labels[labels > 0] == 2
    confidence = np.where(np.arange(len(inside)) % 3 == 0, 0.92, 0.31)
    shares = np.zeros((6, len(inside)), dtype=np.float32)
    shares[2], shares[3] = confidence, 1 - confidence
    store = OneCase(labels, np.eye(4).tolist(), MYOPS2020)
    segmented = Segmentation({"lge": labels}, {"lge": shares})
    rows = score_maps(store, "case", segmented, Scoring(PASSION, ("ece",)))
    expected = sum(
        abs(inside[confidence == level].mean() - level) * (confidence == level).mean()
        for level in (0.92, 0.31)
    )
    assert {row.region: row.value for row in rows}["LVB"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("pairs", [1, 300, 2**24])
def test_surfaces_compared_point_by_point_are_as_far_apart_as_by_trees(pairs, monkeypatch):
    monkeypatch.setattr("benchmark.evaluation.surface_distances.PAIRS_AT_ONCE", pairs)
    first, second = (np.argwhere(blob(seed)) * (0.5, 1.0, 3.0) for seed in (1, 2))
    first, second = first[::40], second[::50]
    expected = [cKDTree(b).query(a)[0] for a, b in ((first, second), (second, first))]
    np.testing.assert_allclose(nearest(first, second, "cpu"), np.concatenate(expected), rtol=1e-14)


@pytest.mark.parametrize("policy", ["passion", "brats-2023"])
def test_a_case_scored_by_comparing_points_has_the_same_values(policy):
    reference = class_map(1)[::2, ::2, ::2]
    maps = {"t1": class_map(2)[::2, ::2, ::2], "t2": np.zeros_like(reference)}
    arguments = maps, reference, BRATS2020.regions, Scoring(POLICIES[policy], MASKED), (0.5, 1.0, 3.0)
    rows, expected = (score_case(*arguments, nearest=f) for f in (partial(nearest, device="cpu"), None))
    assert [row[:3] for row in rows] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3] for row in rows], [row[3] for row in expected], rtol=1e-12)


def on_device(maps, reference, scoring, spacing):
    tensors = torch.stack([torch.from_numpy(each) for each in maps.values()])
    regions = BRATS2020.regions
    return score_on_device(tensors, list(maps), torch.from_numpy(reference), regions, scoring, spacing)


@pytest.mark.parametrize(
    ("policy", "spacing", "metrics"),
    [
        ("passion", UNIT, ("dice", "hd95")),
        ("brats-2022", (0.5, 1.0, 3.0), ("hd95",)),
        ("diagonal", (0.5, 1.0, 3.0), ("hd95", "dice")),
    ],
)
def test_a_case_scored_on_the_device_has_the_same_values(policy, spacing, metrics):
    reference = class_map(1)[::2, ::2, ::2].copy()
    small, border = np.zeros_like(reference), np.zeros_like(reference)
    small.ravel()[:30] = 3  # fewer than ETpp's least voxels
    border[:, :3], border[0, 5] = 2, 1
    maps = {
        "t1": class_map(2)[::2, ::2, ::2].copy(),
        "t2": np.zeros_like(reference),
        "t1ce": small,
        "all": border,
    }
    scoring = Scoring(POLICIES[policy], metrics)
    assert can_score(scoring, 3)
    for truth in (reference, np.zeros_like(reference), reference * (reference == 2)):
        rows = on_device(maps, truth, scoring, spacing)
        expected = score_case(maps, truth, BRATS2020.regions, scoring, spacing)
        assert [row[:3] for row in rows] == [row[:3] for row in expected]
        np.testing.assert_allclose([row[3] for row in rows], [row[3] for row in expected], rtol=1e-14)


def test_maps_left_on_their_device_are_scored_there(monkeypatch):
    reference = class_map(1)[::2, ::2, ::2].copy()
    maps = {"t1": class_map(2)[::2, ::2, ::2].copy()}
    store = SimpleNamespace(
        description=BRATS2020,
        labels=lambda case: reference,
        record=lambda case: SimpleNamespace(affine=np.diag((1, 1, 2, 1)).tolist()),
    )
    left = torch.from_numpy(np.stack(list(maps.values())))
    expected = score_maps(store, "a", Segmentation(maps), Scoring(PASSION))
    monkeypatch.setattr("benchmark.evaluation.score_maps.score_case", None)
    found = score_maps(store, "a", Segmentation(maps, on_device=left), Scoring(PASSION))
    assert [row.value for row in found] == pytest.approx([row.value for row in expected], rel=1e-13)


def test_what_cannot_be_scored_on_the_device_is_told():
    assert not can_score(Scoring(POLICIES["brats-2023"]), 3)
    assert not can_score(Scoring(PASSION, ("dice", "nsd")), 3)
    assert not can_score(Scoring(PASSION), 2)
    assert can_score(Scoring(PASSION, slices="per-volume"), 2)
