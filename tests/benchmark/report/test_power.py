"""How many trainings a gain takes: against the textbook's t-test, and against studies that are simulated."""

import numpy as np
import pytest
from recorded_runs import record

from bench_errors import InputError
from benchmark.report.data.effects import Training, Trainings, mean
from benchmark.report.data.power import Variances, pooled, power, trainings_needed, variances
from benchmark.report.show_power import print_power

KEYS = tuple(Training(seed, 1037, "table", "auto") for seed in range(8))


def test_variances_by_hand():
    # Training means 0 and 2, patient means -1 and 3, nothing else.
    values = np.array([[-2.0, 2.0], [0.0, 4.0]])[..., None]
    found = variances(Trainings(KEYS[:2], values), Trainings(KEYS[:2], np.zeros((2, 2, 1))))
    assert (found.training, found.patient, found.rest) == pytest.approx((2, 8, 0))
    halves = pooled([found, Variances(0.0, 4.0, 1.0)])
    assert (halves.training, halves.patient, halves.rest) == pytest.approx((1, 6, 0.5))


def test_tables_of_a_seed_are_averaged_before_variances_are_formed():
    values = np.array([[-2.0, 2.0], [0.0, 4.0]])
    keys = tuple(Training(seed, t, str(t), "auto") for seed in (1, 2) for t in (1037, 2037))
    swung = np.array([values[0] - 3, values[0] + 3, values[1] + 5, values[1] - 5])[..., None]
    found = variances(Trainings(keys, swung), Trainings(keys, np.zeros((4, 2, 1))))
    assert (found.training, found.patient, found.rest) == pytest.approx((2, 8, 0))


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


@pytest.fixture
def grid(tmp_path):
    """PASSION gains 0.04 more with each seed, the same for every patient."""
    for seed in (1, 2, 3):
        record(tmp_path / "g", "baseline", seed=seed)
        record(tmp_path / "g", "passion", seed=seed, strength=0.04 * seed)
    return tmp_path / "g"


def test_a_plan_says_what_a_gain_takes_by_the_finished_runs(grid, capsys):
    print_power(grid, 2.0)
    text = capsys.readouterr().out
    assert "4.0 between trainings, 0.0 between patients, 0.0 beyond both (from 1 method)" in text
    rows = [
        [cell.strip() for cell in line.strip("│ ").split("│")]
        for line in text.splitlines()
        if line.startswith("│")
    ]
    assert [row[0] for row in rows] == ["2", "4", "10", "20"]
    needed = trainings_needed(Variances(16.0, 0.0, 0.0), 2.0, 2)
    assert {row[1] for row in rows} == {str(needed)} == {"34"}
    assert {row[2] for row in rows} == {f"{100 * power(Variances(16.0, 0.0, 0.0), 2.0, 5, 2):.0f} %"}


def test_a_plan_takes_runs_that_are_tested_under_two_policies(grid, capsys):
    for seed in (1, 2, 3):
        for objective in ("baseline", "passion"):
            other = {"metrics": {"policy": "brats-2022"}, "test": {"policy": "brats-2022"}}
            record(grid, objective, seed=seed, name=f"{objective}-{seed}-brats", **other)
    print_power(grid, 2.0)
    text = capsys.readouterr().out
    assert "phantom, mr2468, policy passion: mean Dice (%)" in text
    assert "4.0 between trainings, 0.0 between patients" in text


def test_a_plan_by_power_needs_a_gain_and_repeated_trainings(grid, tmp_path):
    for gain in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="--power: expected a gain above 0"):
            print_power(grid, gain)
    record(tmp_path / "once", "baseline")
    record(tmp_path / "once", "passion")
    with pytest.raises(InputError, match="tell no variances: finish two trainings"):
        print_power(tmp_path / "once", 2.0)
