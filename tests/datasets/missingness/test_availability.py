import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench_errors import InputError
from datasets.missingness.availability import PROFILES, availability, check_profile, read_csv
from datasets.missingness.degrade import Degradation
from datasets.missingness.quotas import named_rates
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.studies.names import DATASETS

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "availability_brats2020.json").read_text())
NAMES = [f"case{i:03}" for i in range(40)]


def bits(table):
    return ["".join("01"[int(has)] for has in row) for row in table]


@pytest.mark.parametrize("profile", GOLDEN["profiles"])
def test_all_rows_of_the_released_tables(profile):
    prefixed = availability(profile, GOLDEN["cases"], BRATS2020)
    assert bits(prefixed.table) == list(GOLDEN["profiles"][profile])
    plain = availability(profile, [case[3:] for case in GOLDEN["cases"]], BRATS2020)
    assert bits(plain.table) == list(GOLDEN["profiles"][profile])


def test_a_decimal_of_a_digit_follows_a_p():
    table = availability("mr009p50", NAMES, BRATS2020)
    assert table.nominal == {"flair": 0.95, "t1ce": 0.0, "t1": 0.0, "t2": 0.0}
    assert named_rates("ir0p52468") == [0.05, 0.2, 0.4, 0.6, 0.8]
    assert availability("mr357p5", NAMES, MYOPS2020).nominal == {"bssfp": 0.3, "lge": 0.5, "t2": 0.75}
    for wrong in ("mr", "mrp5", "mr2p", "mr2p46x", "mr24.68", "xr2468"):
        assert named_rates(wrong) is None


def test_a_subset_without_a_modality_whose_rate_is_zero_does_not_occur():
    for count in (1, 3, 7, 40, 219):
        table = availability("mr0050", [f"c{i}" for i in range(count)], BRATS2020)
        assert all(rate == 0 for m, rate in table.realised.items() if m != "flair")


def test_published_rates_of_mr2468():
    rates = availability("mr2468", GOLDEN["cases"], BRATS2020).realised
    assert [round(100 * rates[m]) for m in BRATS2020.profile_order] == [16, 38, 59, 80]


@pytest.mark.parametrize(
    ("count", "rates"),
    [(8, [0, 0.5, 0.5, 0.5]), (24, [0.29, 0.42, 0.54, 0.67]), (40, [0.20, 0.43, 0.57, 0.78])],
)
def test_quotas_degenerate_with_few_cases(count, rates):
    realised = availability("mr2468", NAMES[:count], BRATS2020).realised
    assert [realised[m] for m in BRATS2020.profile_order] == pytest.approx(rates, abs=0.0051)


@pytest.mark.parametrize("profile", ["mr2468", "ir2468", "complete"])
def test_order_of_the_cases_changes_nothing(profile):
    one = availability(profile, NAMES, BRATS2020)
    other = availability(profile, NAMES[::-1], BRATS2020)
    assert other.cases == tuple(NAMES[::-1])
    assert np.array_equal(one.table, other.table[::-1])
    assert one.hash == other.hash
    assert one.to_csv() != other.to_csv()


def test_profiles_of_three_modalities():
    table = availability("mr357", [f"{i}" for i in range(400)], MYOPS2020)
    assert table.nominal == {"bssfp": 0.3, "lge": 0.5, "t2": 0.7}
    assert table.table.any(axis=1).all()
    assert len(np.unique(table.table, axis=0)) == 7
    # A row that is left with nothing is drawn again: rates become (p - nothing) / (1 - nothing).
    assert list(table.realised.values()) == pytest.approx([0.218, 0.441, 0.665], abs=0.02)


def test_independent_rates_follow_the_law_of_redrawing():
    table = availability("ir2468", [f"c{i}" for i in range(4000)], BRATS2020)
    nothing = 0.2 * 0.4 * 0.6 * 0.8
    for modality, rate in {"t1": 0.2, "t1ce": 0.4, "flair": 0.6, "t2": 0.8}.items():
        assert table.realised[modality] == pytest.approx((rate - nothing) / (1 - nothing), abs=0.025)
        assert table.nominal is not None
        assert table.nominal[modality] == rate
    assert table.table.any(axis=1).all()


def test_an_independent_case_keeps_its_row_in_any_study():
    whole = availability("ir2468", NAMES, BRATS2020)
    part = availability("ir2468", NAMES[5:9], BRATS2020)
    assert np.array_equal(whole.table[5:9], part.table)


def test_complete_and_its_csv():
    table = availability("complete", ["b", "a, c"], BRATS2020)
    assert table.to_csv() == 'case,flair,t1ce,t1,t2\nb,1,1,1,1\n"a, c",1,1,1,1\n'
    assert set(table.realised.values()) == {0.0}


def test_within_what_exists_on_disk():
    existing = np.ones((40, 4), dtype=bool)
    existing[:, 1] = False
    existing[3] = [False, False, False, True]
    table = availability("mr2468", NAMES, BRATS2020, existing=existing)
    drawn = availability("mr2468", NAMES, BRATS2020).table
    assert table.realised["t1ce"] == 1.0
    assert table.table[3].tolist() == [False, False, False, True]
    assert table.table.any(axis=1).all()
    untouched = (drawn & existing).any(axis=1)
    assert np.array_equal(table.table[untouched], (drawn & existing)[untouched])


def test_our_csv_comes_back(tmp_path):
    table = availability("mr2468", NAMES, BRATS2020)
    path = tmp_path / "mine.csv"
    path.write_text(table.to_csv())
    back = read_csv(path, BRATS2020)
    assert back.cases == table.cases
    assert np.array_equal(back.table, table.table)
    assert back.hash == table.hash
    assert back.nominal is None
    assert availability(f"csv:{path}", NAMES[:5], BRATS2020).table.tolist() == table.table[:5].tolist()
    with pytest.raises(InputError, match=r"says nothing of 1 of 2 cases \(new\)"):
        availability(f"csv:{path}", [NAMES[0], "new"], BRATS2020)


def test_columns_may_stand_in_any_order(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("case,t2,t1,t1ce,flair\r\na,0,0,0,1\r\n")
    assert bits(read_csv(path, BRATS2020).table) == ["1000"]


def test_a_released_csv(tmp_path):
    path = tmp_path / "released.csv"
    lines = ["data_name,mask_id,mask,pos_mask_ids"]
    for case, row in zip(GOLDEN["cases"], GOLDEN["profiles"]["mr2468"], strict=True):
        lines.append(f'{case},10,"{[bit == "1" for bit in row]}","[1, 2]"')
    path.write_text("\n".join(lines) + "\n")
    assert bits(read_csv(path, BRATS2020).table) == list(GOLDEN["profiles"]["mr2468"])
    plain = [case[3:] for case in GOLDEN["cases"]]
    ours = availability("mr2468", plain, BRATS2020)
    assert availability(f"csv:{path}", plain, BRATS2020).hash == ours.hash


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the header ''"),
        ("case,flair,t1\na,1,1\n", "expected 'case,flair,t1ce,t1,t2'"),
        ("case,flair,t1ce,t1,t2\n", "has no cases"),
        ("case,flair,t1ce,t1,t2\na,1,2,1,1\n", "line 2: expected a case and 0 or 1"),
        ("case,flair,t1ce,t1,t2\na,1,1,1\n", "line 2: expected"),
        ("case,flair,t1ce,t1,t2\n=1+1,1,1,1,1\n", "line 2: found case name '=1\\+1', which a spreadsheet"),
        ("case,flair,t1ce,t1,t2\na,0,0,0,0\n", "not all 0"),
        ("case,flair,t1ce,t1,t2\na,1,1,1,1\na,1,1,1,1\n", "line 3: case a stands there twice"),
        ('data_name,mask_id,mask,pos_mask_ids\na,1,"[True, False]",[1]\n', "line 2: expected"),
        ("data_name,mask_id,mask,pos_mask_ids\na\n", "line 2: expected"),
        ('case,flair\n"a', "has the header"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_csv(path, BRATS2020)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00case")
    for name in ("binary.csv", "absent.csv", "."):
        with pytest.raises(InputError, match="cannot be read as csv"):
            read_csv(tmp_path / name, BRATS2020)


def test_wrong_names_are_refused():
    for name in ("mr2468", "mr9p5468"):
        with pytest.raises(InputError, match=r"found 4 digits, myops2020 has 3 modalities"):
            check_profile(name, MYOPS2020)
    with pytest.raises(InputError, match=r"did you mean mr2468"):
        check_profile("mr246x", BRATS2020)
    with pytest.raises(InputError, match="unknown profile 'full'"):
        check_profile("full", BRATS2020)
    with pytest.raises(ValueError, match="twice"):
        availability("complete", ["a", "a"], BRATS2020)


def test_every_listed_profile_works():
    studies = {3: MYOPS2020, 5: DATASETS.get("msseg2016-hga")}
    for profile in PROFILES:
        study = studies.get(len(named_rates(profile) or []), BRATS2020)
        assert availability(profile, NAMES, study).table.any(axis=1).all()


def test_what_is_poor_of_cases_that_are_not_shown_is_not_told():
    poor = {("case000", "flair"): Degradation("noise", 1), ("case000", "t1"): Degradation("noise", 1)}
    table = replace(availability("complete", NAMES[:4], BRATS2020), degraded=poor)
    assert table.showing(("flair",)).quality == {"flair": {"noise-1": 0.25}}
    assert table.showing(("t2",)).quality == {}
