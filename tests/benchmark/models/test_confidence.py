"""What is said of how far to trust a prediction: tests on record, and agreement, in numbers and words."""

import numpy as np
import pytest

from benchmark.evaluation.metrics import POLICIES, score_masks
from benchmark.models.confidence import Confidence, agreement, recorded_dice
from benchmark.run_folder.case_rows import CaseRow, write_rows
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import Region

REGIONS = (Region("WT", (1, 2)), Region("ET", (2,)))
NOBODY = "no test with flair alone is on record: how good this is, nobody knows"


def content(scores=None, split="auto", **test):
    return {"config": {"test": test, "split": split}, **({"scores": scores} if scores else {})}


def words(*contents, members=1, **options):
    mask = np.zeros((4, 4, 4), np.uint8)
    return Confidence.of(contents, "flair", [mask] * members, REGIONS, **options).words


def test_scores_are_those_of_the_cases(tmp_path):
    rows = [
        CaseRow(case, subset, region, metric, "passion", value)
        for case, subset, region, metric, value in (
            ("a", "flair", "WT", "dice", 0.5),
            ("b", "flair", "WT", "dice", 0.75),
            ("c", "flair", "WT", "dice", float("nan")),
            ("a", "flair", "ET", "dice", 0.123456),
            ("a", "flair", "WT", "hd95", 9.0),
            ("a", "flair+t2", "WT", "dice", 0.9),
        )
    ]
    write_rows(tmp_path / "cases.csv", rows)
    assert recorded_dice(tmp_path / "cases.csv") == {
        "flair": {"WT": [2, 0.625, 0.5, 0.75], "ET": [1, 0.1235, 0.1235, 0.1235]},
        "flair+t2": {"WT": [1, 0.9, 0.9, 0.9]},
    }
    assert recorded_dice(tmp_path / "none.csv") == {}


def test_agreement_is_the_mean_dice_of_all_pairs():
    rng = np.random.default_rng(3)
    members = [rng.integers(0, 4, (5, 6, 7)).astype(np.uint8) for _ in range(4)]
    members.append(np.zeros((5, 6, 7), np.uint8))
    regions = (*BRATS2020.regions[:3], Region("ETpp", (3,), 48))
    found = agreement(members, regions)
    for region in regions:
        masks = [np.isin(member, region.classes) for member in members]
        masks = [mask & (np.count_nonzero(mask) >= region.min_voxels) for mask in masks]
        pairs = [
            score_masks("dice", masks[i], masks[j], POLICIES["passion"], (1, 1, 1))
            for i in range(5)
            for j in range(i)
        ]
        assert found[region.name] == pytest.approx(np.mean(pairs), abs=1e-9)
    assert 0 < found["ETpp"] < 1
    assert agreement(members[-1:] * 3, regions) == dict.fromkeys(found, 1.0)
    assert agreement(members[:1] * 2, regions[:3]) == {"WT": 1.0, "TC": 1.0, "ET": 1.0}


SCORES = {"flair": {"WT": [4, 0.7, 0.6, 0.8], "ET": [3, 0.25, 0.0, 0.5]}}
ONE = {"flair": {"WT": [1, 0.4, 0.4, 0.4]}}


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (
            [content(SCORES)],
            "on the 4 test cases with flair: Dice WT 0.70 (0.60 to 0.80), ET 0.25 (0.00 to 0.50)",
        ),
        ([content(ONE)], "on the 1 test case with flair: Dice WT 0.40"),
        (
            [content(SCORES), content(ONE)],
            "each network by itself, on 4 + 1 test cases with flair: Dice WT 0.64 (0.40 to 0.80), "
            "ET 0.25 (0.00 to 0.50)",
        ),
        (
            [content(ONE), content()],
            "each network by itself, on 1 test case with flair (1 of 2 networks have no test on record): "
            "Dice WT 0.40",
        ),
        (
            [content(SCORES, split="same")],
            "on 4 cases with flair that taught the network, so new patients will do worse: Dice WT 0.70 "
            "(0.60 to 0.80), ET 0.25 (0.00 to 0.50)",
        ),
        ([content()], NOBODY),
        ([content({"t2": SCORES["flair"]})], NOBODY),
        ([content(SCORES, outside="noise-2")], NOBODY),
    ],
)
def test_what_is_on_record_in_words(contents, says):
    assert words(*contents) == says


def test_images_unlike_those_of_training_and_members_in_words():
    assert words(content(ONE), unlike=True).endswith(
        "0.40; these images are not like those of training: expect less"
    )
    assert words(content(), unlike=True) == NOBODY
    assert words(content(), members=8).endswith(
        "knows; 8 flips of the images agree on this patient by Dice WT nowhere in all, ET nowhere in all"
    )
