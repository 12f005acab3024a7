import numpy as np
import pytest

from datasets.missingness.rates import Rule, draw_table, outcomes, settle

ALL = (True,) * 4
NAMES = [f"case{i:04}" for i in range(4000)]
T1CE_WITH_T1 = Rule(absent=(1,), when=(2,), when_present=False)


def marginals(ends):
    return sum(np.array(row) * p for row, p in ends)


def test_without_rules_it_is_the_law_of_redrawing():
    rates = np.array([0.6, 0.4, 0.2, 0.8])
    ends = outcomes(tuple(rates), ALL, ())
    nothing = rates.prod()
    assert len(ends) == 15
    assert sum(p for _, p in ends) == pytest.approx(1)
    assert 1 - marginals(ends) == pytest.approx((rates - nothing) / (1 - nothing))


def test_only_what_exists_is_drawn():
    ends = outcomes((0.5, 0.9, 0.99, 0.0), (True, False, True, False), ())
    assert {row: pytest.approx(p) for row, p in ends} == {
        (True, False, False, False): 0.495 / 0.505,
        (False, False, True, False): 0.005 / 0.505,
        (True, False, True, False): 0.005 / 0.505,
    }


def test_a_rate_of_0_is_never_missing_and_extreme_rates_are_drawn_at_once():
    assert all(row[1] for row, _ in outcomes((0.5, 0.0, 0.5, 0.5), ALL, ()))
    assert len(outcomes((1 - 1e-12,) * 4, ALL, ())) == 15


@pytest.mark.parametrize(
    ("row", "rules", "expected"),
    [
        ("1111", [Rule((1,), (2,), False)], "1111"),
        ("1101", [Rule((1,), (2,), False)], "1001"),
        ("1111", [Rule((1, 3), (0, 2), True)], "1010"),
        ("1011", [Rule((1,), (0,), True), Rule((0,), (1,), False)], "0011"),
        # The second rule sets off the first.
        ("0110", [Rule((1,), (2,), False), Rule((2,), (0,), False)], "0000"),
    ],
)
def test_rules_are_applied_until_they_change_nothing(row, rules, expected):
    assert "".join("01"[has] for has in settle(tuple(c == "1" for c in row), rules)) == expected


def test_draws_follow_the_law_of_rates_and_rules():
    ends = outcomes((0.4, 0.5, 0.3, 0.9), ALL, (T1CE_WITH_T1,))
    table, given = draw_table([ends] * len(NAMES), NAMES, 1037)
    assert not given
    assert not (table[:, 1] & ~table[:, 2]).any()
    for row, p in ends:
        share = (table == row).all(axis=1).mean()
        assert share == pytest.approx(p, abs=4 * (p * (1 - p) / len(NAMES)) ** 0.5)


def test_a_case_keeps_its_row_in_any_study_and_order():
    ends = outcomes((0.6, 0.4, 0.2, 0.8), ALL, ())
    whole, _ = draw_table([ends] * 40, NAMES[:40], 1)
    part, _ = draw_table([ends] * 10, NAMES[9::-1], 1)
    assert np.array_equal(part, whole[9::-1])
    other, _ = draw_table([ends] * 40, NAMES[:40], 2)
    assert not np.array_equal(whole, other)


@pytest.mark.parametrize(
    "rates", [(0.3, 0.999999, 0.2, 0.4), (0.999999,) * 4, (0.0, 0.999999, 0.999999, 0.999999)]
)
def test_every_modality_is_had_by_one_case_at_least(rates):
    ends = outcomes(rates, ALL, (T1CE_WITH_T1,))
    table, given = draw_table([ends] * 12, NAMES[:12], 5)
    assert table.any(axis=0).all()
    assert not (table[:, 1] & ~table[:, 2]).any()
    assert 1 in {m for m, _ in given}
    for m, i in given:
        assert table[i, m]
    again, _ = draw_table([ends] * 12, NAMES[11::-1], 5)
    assert np.array_equal(again[::-1], table)


@pytest.mark.parametrize("seed", [1, 2])
def test_quotas_give_each_row_its_expected_number_whatever_the_seed(seed):
    laws = [outcomes((0.2, 0.95, 0.4, 0.6), ALL, ()), outcomes((0.5,) * 4, ALL, (T1CE_WITH_T1,))]
    ends = [laws[i % 3 == 0] for i in range(300)]
    table, given = draw_table(ends, NAMES[:300], seed, quotas=True)
    assert not given
    for law in laws:
        mine = [i for i, possible in enumerate(ends) if possible == law]
        for row, p in law:
            assert abs((table[mine] == row).all(axis=1).sum() - p * len(mine)) < 1
    backwards, _ = draw_table(ends[::-1], NAMES[299::-1], seed, quotas=True)
    assert np.array_equal(backwards[::-1], table)
    other, _ = draw_table(ends, NAMES[:300], seed + 10, quotas=True)
    assert (other.sum(axis=0) == table.sum(axis=0)).all()
    assert not np.array_equal(other, table)


def test_what_cannot_be_had_is_not_given_and_too_few_cases_are_refused():
    nobody = outcomes((0.5,) * 4, (True, False, True, True), ())
    table, given = draw_table([nobody] * 40, NAMES[:40], 1)
    assert not table[:, 1].any()
    assert not given
    either = outcomes((0.5,) * 4, ALL, (Rule((1, 2, 3), (0,), True),))
    with pytest.raises(ValueError, match="no case can have"):
        draw_table([either], ["a"], 1)
