"""Intervals and tests over trainings and patients: by hand, and against SciPy where one alone varies."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from benchmark.report.data.effects import Training, Trainings, difference, holm, mean

RANDOM = np.random.default_rng(0)


def method(values, first_seed=0, split=lambda seed: "auto"):
    """A method of [trainings, patients] or [trainings, patients, columns]."""
    values = np.asarray(values, dtype=float)
    seeds = range(first_seed, first_seed + len(values))
    keys = tuple(Training(seed, 1037, "table", split(seed)) for seed in seeds)
    return Trainings(keys, values if values.ndim == 3 else values[..., None])


def test_by_hand():
    # Means of the trainings 2 and 5, of the patients 1.5 and 5.5; the rest is 1, -1, -1, 1.
    found = mean(method([[1, 3], [2, 8]]))
    assert found.mean[0] == 3.5
    # 4.5 / 2 over trainings, 8 / 2 over patients, less 4 / 4 that both of them hold.
    assert found.error[0] ** 2 == pytest.approx(2.25 + 4 - 1)
    assert found.freedom[0] == pytest.approx(5.25**2 / (2.25**2 + 4**2 + 1**2))
    assert (found.high + found.low)[0] == pytest.approx(7)
    assert (found.patients[0], found.trainings) == (2, 2)


def test_where_trainings_alone_vary_it_is_a_t_test_over_trainings():
    a, b = RANDOM.normal(size=(2, 6, 1)) + np.zeros((1, 1, 9))
    paired = difference(method(a), method(b))
    expected = ttest_1samp((a - b)[:, 0], 0)
    assert paired.p[0] == pytest.approx(expected.pvalue)
    assert (paired.low[0], paired.high[0]) == pytest.approx(tuple(expected.confidence_interval()))
    unpaired = difference(method(a), method(b[:5], first_seed=10))
    assert unpaired.p[0] == pytest.approx(ttest_ind(a[:, 0], b[:5, 0], equal_var=False).pvalue)
    assert unpaired.trainings == 5


def test_where_patients_alone_vary_it_is_a_t_test_over_patients():
    a, b = RANDOM.normal(size=(2, 1, 12)) + np.zeros((1, 6, 1))
    found = difference(method(a), method(b))
    assert found.p[0] == pytest.approx(ttest_1samp((a - b)[0], 0).pvalue)


def test_trainings_are_paired_by_what_they_are_not_by_their_order():
    a, b = RANDOM.normal(size=(2, 5, 8))
    other = method(b)
    turned = Trainings(other.keys[::-1], other.values[::-1])
    assert difference(method(a), turned).error[0] == difference(method(a), other).error[0]


def under(tables, values, split="auto"):
    """Trainings of [seeds, tables, patients], seed by seed."""
    seeds, count, patients = values.shape
    keys = tuple(Training(seed, t, f"table {t}", split) for seed in range(seeds) for t in tables[:count])
    return Trainings(keys, values.reshape(seeds * count, patients, 1))


def test_trainings_of_one_seed_under_several_tables_are_one():
    a, b = RANDOM.normal(size=(2, 5, 2, 9))
    found = difference(under([1037, 2037], a), under([1037, 2037], b))
    averaged = difference(method(a.mean(axis=1)), method(b.mean(axis=1)))
    for name in ("mean", "low", "high", "p"):
        assert getattr(found, name)[0] == pytest.approx(getattr(averaged, name)[0])
    assert (found.trainings, found.tables, averaged.tables) == (5, (10,), (5,))
    apart = difference(under([1037, 2037], a), under([3037], b[:, :1]))
    assert (apart.trainings, apart.tables) == (5, (10, 5))
    # One seed says nothing of others, under however many tables.
    assert mean(under([1037, 2037], a[:1])).of_these_networks


def test_methods_are_compared_within_the_trainings_that_both_have():
    base = 10 * np.arange(5.0)[:, None] + RANDOM.normal(size=(5, 8))
    early = difference(method(base[:2] + 1), method(base))
    assert (early.mean[0], early.low[0], early.high[0]) == pytest.approx((1, 1, 1))
    assert (early.trainings, early.unpaired) == (2, 3)
    assert difference(method(base), method(base[:2] - 1)).unpaired == 3
    assert difference(method(base), method(base)).unpaired == 0
    # One of five in common is too few to leave the other eight out.
    few = difference(method(base), method(base, first_seed=4))
    assert (few.trainings, len(few.sides), few.unpaired) == (5, 2, 0)
    # Folds that are not done yet are other patients: nothing of the others' levels enters the gain.
    folds = np.full((5, 10), np.nan)
    for fold in range(5):
        folds[fold, 2 * fold : 2 * fold + 2] = 20 * fold + RANDOM.normal(size=2)
    keys = tuple(Training(1, 1037, "table", f"fold{i}of5") for i in range(5))
    done = Trainings(keys[:2], folds[:2, :, None] + 1)
    assert difference(done, Trainings(keys, folds[..., None])).mean[0] == pytest.approx(1)


def test_a_single_training_speaks_for_its_patients_alone():
    a, b = RANDOM.normal(size=(2, 1, 12))
    found = difference(method(a), method(b))
    expected = ttest_1samp((a - b)[0], 0).confidence_interval()
    assert found.of_these_networks
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(expected))
    assert np.isnan([found.p[0], found.detectable[0], found.equivalence(1.0)[0]]).all()
    # One of two sides is enough for that.
    assert difference(method(a), method(RANDOM.normal(size=(3, 12)), first_seed=5)).of_these_networks


def test_fewer_than_five_trainings_are_not_tested_and_one_patient_has_no_interval():
    four = mean(method(RANDOM.normal(size=(4, 9))))
    assert np.isnan(four.p[0])
    assert four.low[0] < four.mean[0] < four.high[0]
    assert np.isnan(mean(method(RANDOM.normal(size=(5, 1)))).low[0])


def test_folds_of_a_cross_validation_are_trainings_with_patients_of_their_own():
    folds = np.full((5, 10), np.nan)
    for fold in range(5):
        folds[fold, 2 * fold : 2 * fold + 2] = RANDOM.normal()
    found = mean(method(folds, split=lambda seed: f"fold{seed}of5"))
    expected = ttest_1samp(np.nanmean(folds, axis=1), 0)
    assert found.p[0] == pytest.approx(expected.pvalue)
    assert found.patients[0] == 10


def test_a_patient_without_a_value_is_left_out_of_its_column_alone():
    values = RANDOM.normal(size=(5, 9, 3))
    gapped = values.copy()
    gapped[2, 4, 1] = np.nan
    whole, found = mean(method(values)), mean(method(gapped))
    alone = mean(method(np.delete(values[..., 1], 4, axis=1)))
    assert found.patients.tolist() == [9, 8, 9]
    assert (found.mean[[0, 2]] == whole.mean[[0, 2]]).all()
    assert (found.mean[1], found.error[1], found.p[1]) == pytest.approx(
        (alone.mean[0], alone.error[0], alone.p[0])
    )
    nothing = mean(method(np.full((5, 9), np.nan)))
    assert np.isnan([nothing.mean[0], nothing.low[0], nothing.p[0]]).all()


def test_equal_methods_have_no_difference_and_rounding_makes_none():
    values = RANDOM.normal(size=(5, 9))
    found = difference(method(values), method(values + 1e-13))
    assert (found.mean[0], found.low[0], found.high[0], found.p[0]) == (0, 0, 0, 1)
    assert found.superiority[0] == 0.5
    apart = difference(method(values), method(values - 2.0))
    assert (apart.mean[0], apart.low[0], apart.high[0], apart.p[0]) == (2, 2, 2, 0)


def test_equivalence_is_two_one_sided_tests():
    gaps = RANDOM.normal(0.2, 0.5, size=(7, 1)) + np.zeros((1, 9))
    found = difference(method(gaps), method(np.zeros((7, 9))))
    below = ttest_1samp(gaps[:, 0], 1.0, alternative="less").pvalue
    above = ttest_1samp(gaps[:, 0], -1.0, alternative="greater").pvalue
    assert found.equivalence(1.0)[0] == pytest.approx(max(below, above))


def test_superiority_counts_pairs_of_trainings():
    a, b = np.array([[3.0], [1.0], [2.0]]), np.array([[1.0], [2.0], [2.0]])
    ones = np.ones((1, 4))
    assert difference(method(a * ones), method(b * ones)).superiority[0] == pytest.approx(1.5 / 3)
    # Of all nine pairs four are larger, three of 3 and one of 2, and three are equal.
    assert difference(method(a * ones), method(b * ones, 7)).superiority[0] == pytest.approx(5.5 / 9)


def test_holm_by_hand():
    # Sorted: .01 * 4, .02 * 3, .03 * 2 (raised to .06), .9 * 1.
    assert holm(np.array([0.03, 0.01, 0.9, 0.02])) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm(np.array([0.5, 0.6])) == pytest.approx([1, 1])
    assert len(holm(np.array([]))) == 0
    with_gap = holm(np.array([0.01, np.nan, 0.04]))
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(with_gap[1])
