"""Paired tests against scipy, against examples by hand, and where there is hardly anything to test."""

import numpy as np
import pytest
from scipy.stats import PermutationMethod, bootstrap, wilcoxon

from benchmark.report.data.statistics import holm, mean_interval, paired


def one(*differences):
    return paired(np.array(differences, dtype=float)[:, None])


@pytest.mark.parametrize("cases", [6, 20, 50, 51, 100])
def test_p_is_that_of_scipy(cases):
    differences = np.random.default_rng(cases).normal(0.3, 1, (cases, 5))
    result = paired(differences)
    expected = wilcoxon(differences, method="exact" if cases <= 50 else "asymptotic", correction=True)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert result.difference == pytest.approx(differences.mean(axis=0))


def test_ties_are_exact_in_small_samples_and_corrected_in_large_ones():
    differences = np.array([1, 1, -1, 2, 2, 3, -2, 0, 0, 4], dtype=float)
    permuted = wilcoxon(differences[differences != 0], method=PermutationMethod(n_resamples=10**5))
    assert one(*differences).p[0] == pytest.approx(permuted.pvalue)
    many = np.random.default_rng(0).integers(-3, 6, (90, 4)).astype(float)
    assert (many == 0).any()
    for column, p in zip(many.T, paired(many).p, strict=True):
        assert p == pytest.approx(wilcoxon(column, method="asymptotic", correction=True).pvalue)


def test_by_hand():
    # Ranks 2, 1, 3, 4, 5, the negative one has 1. Sums of at most 1 out of 2^5: {}, {1}: p = 2 * 2 / 32.
    result = one(2, -1, 3, 4, 5)
    assert result.p[0] == pytest.approx(4 / 32)
    assert result.effect[0] == pytest.approx((14 - 1) / 15)
    assert (result.cases[0], result.difference[0]) == (5, pytest.approx(13 / 5))
    # Ties: |1|, |1| share rank 1.5, |2| has 3. Positive ranks 1.5 and 3; negative sum 1.5: {}, {1.5}, {1.5}.
    assert one(1, -1, 2).p[0] == pytest.approx(2 * 3 / 8)


def test_all_of_one_sign_has_the_smallest_p_of_its_number():
    assert one(1, 2, 3, 4, 5).p[0] == pytest.approx(2 / 32)
    assert one(*[0.05] * 6).p[0] == pytest.approx(2 / 64)
    assert one(*[-0.05] * 6).effect[0] == -1


def test_nothing_to_test():
    equal = one(0, 0, 0)
    assert (equal.p[0], equal.effect[0], equal.difference[0]) == (1, 0, 0)
    assert (equal.low[0], equal.high[0]) == (0, 0)
    single = one(0.5)
    assert (single.cases[0], single.p[0], single.difference[0]) == (1, 1, 0.5)
    assert np.isnan([single.low[0], single.high[0]]).all()
    none = one(np.nan, np.nan)
    assert none.cases[0] == 0
    assert np.isnan([none.p[0], none.difference[0], none.effect[0], none.low[0]]).all()


def test_rounding_errors_are_ties_not_differences():
    assert one(1e-15, -1e-16, 2e-15).p[0] == 1
    assert one(0.1 + 0.2 - 0.3, 1, -1).p[0] == one(0, 1, -1).p[0]


def test_a_missing_case_is_left_out_of_its_column_alone():
    differences = np.random.default_rng(1).normal(size=(9, 3))
    with_gap = differences.copy()
    with_gap[4, 1] = np.nan
    whole, gapped = paired(differences), paired(with_gap)
    alone = one(*np.delete(differences[:, 1], 4))
    assert list(gapped.cases) == [9, 8, 9]
    assert (gapped.p[0], gapped.p[2]) == (whole.p[0], whole.p[2])
    assert (gapped.p[1], gapped.difference[1]) == pytest.approx((alone.p[0], alone.difference[0]))
    assert gapped.low[1] < gapped.difference[1] < gapped.high[1]


def test_a_column_does_not_depend_on_its_neighbours():
    differences = np.random.default_rng(2).normal(size=(8, 3000)).round(1)
    whole = paired(differences)
    for i in (0, 1023, 1024, 2999):
        alone = paired(differences[:, i : i + 1])
        assert (whole.p[i], whole.low[i], whole.high[i]) == (alone.p[0], alone.low[0], alone.high[0])


def test_holm_by_hand():
    # Sorted: .01 * 4, .02 * 3, .03 * 2 (raised to .06), .9 * 1.
    assert holm(np.array([0.03, 0.01, 0.9, 0.02])) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm(np.array([0.5, 0.6])) == pytest.approx([1, 1])
    assert holm(np.array([0.2])) == pytest.approx([0.2])
    assert len(holm(np.array([]))) == 0
    with_gap = holm(np.array([0.01, np.nan, 0.04]))
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(with_gap[1])


def test_the_interval_is_that_of_scipy_and_the_same_every_time():
    values = np.random.default_rng(3).gamma(2, 1, (40, 2))
    low, high = mean_interval(values)
    for i in range(2):
        expected = bootstrap(
            (values[:, i],), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(0)
        ).confidence_interval
        width = expected.high - expected.low
        assert abs(low[i] - expected.low) < 0.05 * width
        assert abs(high[i] - expected.high) < 0.05 * width
    assert np.array_equal(mean_interval(values), (low, high))
