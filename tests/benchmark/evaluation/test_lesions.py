"""Lesion-wise scores: the figures of BraTS 2023's own code, and a second way to compute them."""

import json
from pathlib import Path

import numpy as np
import pytest
from mask_shapes import box
from scipy import ndimage

from benchmark.evaluation.metrics import POLICIES, score_masks
from benchmark.evaluation.metrics.lesions import Lesions, Matches

BRATS2023 = POLICIES["brats-2023"]
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "brats2023_lesions.json").read_text())
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
SHAPE = (64, 56, 48)
INDICES = np.indices(SHAPE)


def paint(*balls):
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for label, centre, radius in balls:
        labels[((INDICES - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = label
    return labels


def with_box(labels, label, start, stop):
    return np.where(box(start, stop, SHAPE), np.uint8(label), labels)


NOTHING = np.zeros(SHAPE, dtype=np.uint8)
# Two lesions that are one by dilation, some apart, one below the volume, one at the border.
TRUTH = paint(
    *[(2, (18, 18, 18), 9), (1, (18, 18, 18), 6), (3, (18, 18, 18), 3), (2, (18, 33, 18), 4)],
    *[(3, (18, 33, 18), 2), (2, (44, 16, 14), 5), (3, (44, 16, 14), 3), (2, (46, 40, 34), 6)],
    *[(1, (46, 40, 34), 4), (2, (58, 48, 8), 2), (3, (30, 50, 40), 2), (2, (62, 2, 45), 3)],
)
# Some found, one near another, two invented.
FOUND = paint(
    *[(2, (19, 19, 17), 9), (1, (19, 18, 18), 5), (3, (19, 18, 18), 4), (2, (20, 33, 19), 4)],
    *[(2, (44, 17, 15), 5), (3, (44, 17, 15), 2), (2, (47, 29, 40), 3), (3, (60, 4, 44), 2)],
    *[(2, (8, 48, 40), 3), (3, (8, 48, 40), 1), (2, (50, 8, 40), 2)],
)
PAIRS = {
    "many": (TRUTH, FOUND),
    "bridge": (TRUTH, with_box(FOUND, 2, (18, 18, 13), (46, 20, 16))),  # one component at two lesions
    "near": (TRUTH, with_box(NOTHING, 3, (44, 16, 20), (47, 19, 22))),  # at the growth of a lesion alone
    "nothing": (TRUTH, NOTHING),
    "invented": (NOTHING, FOUND),
    "both_empty": (NOTHING, NOTHING),
    "swapped": (FOUND, TRUTH),
}


@pytest.mark.parametrize("spacing", ["1.0 1.0 1.0", "0.75 1.0 2.5"])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("pair", PAIRS)
def test_the_figures_of_brats_2023(pair, region, spacing):
    reference, prediction = (np.isin(labels, REGIONS[region]) for labels in PAIRS[pair])
    edges = tuple(map(float, spacing.split()))
    values = [
        score_masks(metric, prediction, reference, BRATS2023, edges)
        for metric in ("dice", "hd95", "false_positives")
    ]
    assert values == pytest.approx(GOLDEN["figures"][pair][spacing][region], rel=1e-9)


def test_a_lesion_of_just_the_volume_is_not_scored():
    small, large = box((2, 2, 2), (4, 7, 7)), box((20, 20, 20), (25, 25, 25))
    assert small.sum() == 50
    both = small | large
    assert score_masks("dice", large, both, BRATS2023, (1, 1, 1)) == 1.0
    assert score_masks("dice", large, both, BRATS2023, (1, 1, 1.01)) == 0.5
    # What lies on a lesion that is not scored is not invented.
    assert score_masks("dice", both, both, BRATS2023, (1, 1, 1)) == 1.0
    assert score_masks("dice", both, large, BRATS2023, (1, 1, 1)) == 0.5
    assert score_masks("dice", small, small, BRATS2023, (1, 1, 1)) == 1.0


def test_a_slice_has_lesions_too():
    reference = box((2, 2), (12, 12), (40, 40)) | box((25, 25), (35, 35), (40, 40))
    prediction = box((2, 2), (12, 12), (40, 40))
    assert score_masks("dice", prediction, reference, BRATS2023, (1, 1)) == 0.5
    assert score_masks("hd95", prediction, reference, BRATS2023, (1, 1)) == pytest.approx(374 / 2)


@pytest.mark.parametrize("dilation", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_components_belong_to_the_lesions_whose_growth_they_touch(seed, dilation):
    random = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(random.normal(size=(24, 26, 22)), 1.2) for _ in range(2)]
    masks = [field > np.quantile(field, share) for field, share in zip(fields, (0.997, 0.97), strict=True)]
    lesions = Lesions(masks[0], dilation)
    matches = Matches(masks[1], lesions)
    near = ndimage.generate_binary_structure(3, 2)
    touched = set()
    for lesion in range(1, len(lesions.sizes) + 1):
        part = lesions.labels == lesion
        growth = ndimage.binary_dilation(part, near, iterations=dilation) if dilation else part
        expected = set(np.unique(matches.components[growth])) - {0}
        assert set(matches.touching[lesion - 1]) == expected
        assert lesions.sizes[lesion - 1] == part.sum()
        assert matches.overlaps[lesion - 1] == (part & masks[1]).sum()
        touched |= expected
    assert len(lesions.sizes) > 1
    assert matches.invented == matches.components.max() - len(touched)
    np.testing.assert_array_equal(lesions.labels > 0, masks[0])
