"""A method against itself: hardly ever a difference, and intervals that cover the truth.

Simulated from crossed random effects like those of the recorded runs, and drawn from these themselves. At a
level of 5 % at most 7 % are rejected, and 95 % intervals cover 93 % or more.
"""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.report.data.effects import LEAST, Training, Trainings, difference

RESULTS = Path(__file__).parents[3] / "results"
STUDIES = 3000
REJECTED, COVERED = 0.07, 0.93
SPREADS = {
    "recorded": (1.5, 0.7, 2.0),
    "of a patient": (0.5, 2.0, 3.0),
    "of neither": (0.0, 0.0, 2.0),
    "of a training": (3.0, 0.3, 1.0),
}
"""Standard deviations of one method between trainings, of patients beyond what all methods share, and of the
rest; those of the recorded runs in points of mean Dice."""


def keys(count, first=0, folds=1):
    return tuple(
        Training(first + i // folds, 1037, "table", f"fold{i % folds}of{folds}") for i in range(count)
    )


def simulated(random, count, patients, spread, folds=1):
    """Scores [trainings, patients, studies] of a method whose true mean is 0."""
    training, patient, rest = spread
    values = (
        training * random.standard_normal((count, 1, STUDIES))
        + patient * random.standard_normal((1, patients, STUDIES))
        + rest * random.standard_normal((count, patients, STUDIES))
    )
    for i in range(count if folds > 1 else 0):
        values[i, np.arange(patients) % folds != i % folds] = np.nan
    return values


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(
    ("ours", "theirs", "paired", "folds"),
    [
        *((3, 3, True, 1), (3, 3, False, 1), (5, 5, True, 1), (5, 5, False, 1), (20, 20, False, 1)),
        *((3, 8, False, 1), (5, 9, False, 1), (5, 5, True, 5), (15, 15, True, 5), (10, 10, False, 5)),
    ],
)
def test_a_method_does_not_differ_from_itself(ours, theirs, paired, folds, spread):
    random = np.random.default_rng(ours + 100 * theirs)
    both = 7 * random.standard_normal((1, 20, STUDIES))  # some patients are hard for all
    a = both + simulated(random, ours, 20, SPREADS[spread], folds)
    b = both + simulated(random, theirs, 20, SPREADS[spread], folds)
    found = difference(
        Trainings(keys(ours, 0, folds), a), Trainings(keys(theirs, 0 if paired else 50, folds), b)
    )
    assert np.mean((found.low <= 0) & (found.high >= 0)) >= COVERED
    if min(ours, theirs) >= LEAST:
        assert np.mean(found.p < 0.05) <= REJECTED
        # The interval and the test say the same.
        assert ((found.p < 0.05) == ((found.low > 0) | (found.high < 0))).all()
    else:
        assert np.isnan(found.p).all()


@pytest.mark.parametrize("shared", [1, 2, 3, 4])
def test_some_seeds_in_common_do_no_harm(shared):
    random = np.random.default_rng(shared)
    a, b = (simulated(random, 5, 20, SPREADS["of a training"]) for _ in "ab")
    found = difference(Trainings(keys(5), a), Trainings(keys(5, 5 - shared), b))
    assert np.mean((found.low <= 0) & (found.high >= 0)) >= COVERED


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_tables_of_a_seed_are_no_repeats(seeds):
    """Trainings of a seed come out alike under two tables: 0.8 of their variance is between seeds."""
    random = np.random.default_rng(seeds)
    sides = [
        np.sqrt(4.4 * 0.8) * random.standard_normal((seeds, 1, 1, STUDIES))
        + np.sqrt(4.4 * 0.2) * random.standard_normal((seeds, 2, 1, STUDIES))
        + 0.7 * random.standard_normal((1, 1, 19, STUDIES))
        + 2.0 * random.standard_normal((seeds, 2, 19, STUDIES))
        for _ in "ab"
    ]
    keys_of = tuple(Training(s, t, f"table {t}", "auto") for s in range(seeds) for t in (1037, 2037))
    a, b = (Trainings(keys_of, side.reshape(2 * seeds, 19, STUDIES)) for side in sides)
    found = difference(a, b)
    assert np.mean((found.low <= 0) & (found.high >= 0)) >= COVERED
    if seeds >= LEAST:
        assert np.mean(found.p < 0.05) <= REJECTED
    else:
        assert np.isnan(found.p).all()


@pytest.fixture(scope="module")
def recorded():
    """Of each recorded method its trainings' mean Dice by patient, [trainings, patients]."""
    scores = {}
    for name in ("headline", "questions"):
        with tarfile.open(RESULTS / name / "runs.tar.xz") as archive:
            parts = {}
            for member in archive:
                folder, _, file = member.name.removeprefix("./").rpartition("/")
                if file in ("cases.csv", "config.yaml"):
                    parts.setdefault(folder, {})[file] = archive.extractfile(member).read()
        for files in parts.values():
            config = yaml.safe_load(files["config.yaml"])["config"]
            seed = config.pop("seed")
            rows = pd.read_csv(io.BytesIO(files["cases.csv"]))
            rows = rows[(rows["metric"] == "dice") & rows["region"].isin(["WT", "TC", "ET"])]
            means = 100 * rows.groupby("case")["value"].mean()
            scores.setdefault(yaml.safe_dump(config), {})[seed] = means.to_numpy()
    return [np.array(list(own.values())) for own in scores.values()]


def test_the_recorded_runs_are_there(recorded):
    assert len(recorded) == 28
    assert {own.shape for own in recorded} == {(3, 19)}


@pytest.mark.parametrize("count", [3, 5, 8, 12])
@pytest.mark.parametrize("paired", [True, False])
def test_recorded_trainings_of_one_kind_do_not_differ(recorded, paired, count):
    """What a training does to each patient, by drawing from what 28 methods' trainings did to theirs.

    Each method gives one of its three trainings, as a deviation from its own mean, widened by what three
    values lie nearer to their own mean than to the true one.
    """
    random = np.random.default_rng(count)
    away = np.array([own - own.mean(axis=0) for own in recorded]) * np.sqrt(3 / 2)
    level = 60 + 7 * random.standard_normal((1, 19, STUDIES))
    sides = np.empty((2 * count, 19, STUDIES))
    for study in range(STUDIES):
        methods = random.permutation(len(away))[: 2 * count]
        sides[:, :, study] = away[methods, random.integers(0, 3, 2 * count)]
    a, b = level + sides[:count], level + sides[count:]
    found = difference(Trainings(keys(count), a), Trainings(keys(count, 0 if paired else 50), b))
    assert np.mean((found.low <= 0) & (found.high >= 0)) >= COVERED
    assert np.mean(found.p < 0.05) <= REJECTED


def test_tests_over_cases_would_not_pass(recorded):
    """Two seeds of one method, told apart by their cases alone: what is shown of it is labelled so."""
    found = [
        difference(Trainings(keys(1), one[None, :, None]), Trainings(keys(1), other[None, :, None]))
        for own in recorded
        for one, other in ((own[0], own[1]), (own[0], own[2]), (own[1], own[2]))
    ]
    assert all(effect.of_these_networks and np.isnan(effect.p[0]) for effect in found)
    beside = np.mean([effect.low[0] > 0 or effect.high[0] < 0 for effect in found])
    assert beside > 0.4
