"""How many trainings a gain takes: against the textbook's t-test, and against studies that are simulated."""

import numpy as np
import pytest

from benchmark.report.data.effects import Training, Trainings, mean
from benchmark.report.data.power import Variances, pooled, power, trainings_needed, variances

KEYS = tuple(Training(seed, 1037, "table", "auto") for seed in range(8))


def test_variances_by_hand():
    # Training means 0 and 2, patient means -1 and 3, nothing else.
    values = np.array([[-2.0, 2.0], [0.0, 4.0]])[..., None]
    found = variances(Trainings(KEYS[:2], values), Trainings(KEYS[:2], np.zeros((2, 2, 1))))
    assert (found.training, found.patient, found.rest) == pytest.approx((2, 8, 0))
    halves = pooled([found, Variances(0.0, 4.0, 1.0)])
    assert (halves.training, halves.patient, halves.rest) == pytest.approx((1, 6, 0.5))


def test_there_are_no_variances_without_pairs_or_repeats():
    some = Trainings(KEYS[:2], np.zeros((2, 3, 1)))
    assert variances(some, Trainings(KEYS[2:4], some.values)) is None
    assert variances(Trainings(KEYS[:1], some.values[:1]), Trainings(KEYS[:1], some.values[:1])) is None
    folds = tuple(Training(1, 1037, "table", f"fold{i}of2") for i in range(2))
    assert variances(Trainings(folds, some.values), Trainings(folds, some.values)) is None


def test_without_patients_it_is_the_t_test_of_the_textbook():
    # A difference of one standard deviation takes 10 pairs for 80 %, one of half 34.
    assert trainings_needed(Variances(1.0, 0.0, 0.0), 1.0, 50) == 10
    assert trainings_needed(Variances(1.0, 0.0, 0.0), 0.5, 50) == 34
    assert trainings_needed(Variances(1.0, 0.0, 0.0), 100.0, 50) == 5
    assert trainings_needed(Variances(0.0, 0.0, 0.0), 1.0, 50) == 5


def test_more_patients_take_fewer_trainings_and_too_few_cannot_be_made_up_for():
    spread = Variances(1.0, 4.0, 9.0)
    needed = [trainings_needed(spread, 1.0, patients) for patients in (20, 40, 100, 1000)]
    assert needed[0] is None
    assert needed[1] > needed[2] > needed[3] >= 10


@pytest.mark.parametrize(("trainings", "patients", "gain"), [(5, 19, 2.0), (8, 19, 3.0), (8, 100, 1.0)])
def test_the_chance_is_that_of_simulated_studies(trainings, patients, gain):
    random = np.random.default_rng(trainings)
    values = gain + sum(
        np.sqrt(variance) * random.standard_normal(shape)
        for variance, shape in (
            (4.4, (trainings, 1, 4000)),
            (1.0, (1, patients, 4000)),
            (7.7, (trainings, patients, 4000)),
        )
    )
    shown = np.mean(mean(Trainings(KEYS[:trainings], values)).p < 0.05)
    assert power(Variances(4.4, 1.0, 7.7), gain, trainings, patients) == pytest.approx(shown, abs=0.03)
