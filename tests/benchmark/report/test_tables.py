"""The tables of parts, options, profiles and modality worth: which are made, numbers by hand."""

import csv
import io
import math

import pandas as pd
import pytest
from lone_test_folder import single_test
from recorded_runs import record

from benchmark.report.data.collect import collect
from benchmark.report.data.names import method_titles
from benchmark.report.data.scores import score
from benchmark.report.tables import render
from benchmark.report.tables.answer import answer_table, number_table
from benchmark.report.tables.by_setting import ablation_tables, sweep_tables
from benchmark.report.tables.by_subset import profile_table, subset_table
from benchmark.report.tables.captions import NETWORKS_ONLY, conditions, intervals
from benchmark.report.tables.gains import gains
from benchmark.report.tables.render import CHECK, DASH, MINUS, html, latex, markdown, wide_csv
from benchmark.report.tables.table import Block, Cell, Column, Row, Table
from benchmark.report.tables.words import endpoint
from benchmark.report.tables.worth import marginal_table, marginal_weights, shapley_table, shapley_weights
from datasets.studies.myops import PHANTOM_HEART
from datasets.vocabulary import subsets

CASES = tuple(f"case {i}" for i in range(8))
PARTS = {"pixel": True, "semantic": True, "delta": True, "beta": True}
WT = 100 * (0.3 + 0.35 + 0.14)
"""WT of the baseline over the 15 subsets and 8 cases: cases add 0 to 0.7, subsets 0 to 0.28."""


def scores_of(folder, metric="dice"):
    collected = collect([folder])
    return {study.title: score(collected.cases, study, metric) for study in collected.studies()}


def values(row):
    return [cell.value for cell in row.cells]


def labels(table):
    return [row.labels for row in table.rows]


def test_parts_are_checked_and_ordered_by_their_number(tmp_path):
    record(tmp_path / "g", "baseline", cases=CASES)
    for off, strength in ((["beta"], 0.04), (["semantic", "delta", "beta"], 0.01), ([], 0.05)):
        options = {**PARTS, **dict.fromkeys(off, False)}
        record(tmp_path / "g", "passion", cases=CASES, strength=strength, options=options)
    [table] = ablation_tables(scores_of(tmp_path / "g")["mr2468"])
    assert table.labels == ("Method", "pixel", "semantic", "delta", "beta")
    assert labels(table) == [
        (False, False, False, False),
        (True, False, False, False),
        (True, True, True, False),
        (True, True, True, True),
    ]
    assert [column.name for column in table.columns] == ["WT", "TC", "ET", "ETpp", "average"]
    # The average leaves ETpp out, which is ET emptied when small: WT, WT - 10, WT - 20.
    assert values(table.rows[0]) == pytest.approx([WT, WT - 10, WT - 20, WT - 30, WT - 10])
    assert values(table.rows[3]) == pytest.approx([v + 5 for v in values(table.rows[0])])
    assert [cell.mark for cell in table.rows[3].cells] == ["best"] * 5
    assert [(d.method, d.column) for d in table.differences[:2]] == [
        ("RFNet + PASSION (beta=off, delta=off, semantic=off)", "WT"),
        ("RFNet + PASSION (beta=off, delta=off, semantic=off)", "TC"),
    ]
    assert [round(d.difference, 6) for d in table.differences] == [1] * 5 + [4] * 5 + [5] * 5
    assert f"| {CHECK} | {CHECK} | {CHECK} |  |" in markdown(table)
    assert r"\checkmark{} & \checkmark{} & \checkmark{} &  &" in latex(table)
    lines = [line for line in wide_csv(table).splitlines() if ",mean," in line]
    assert lines[2].startswith("Dice (%),passion,RFNet + PASSION,1,1,1,0,1,,mean,")


def test_without_switched_parts_or_several_values_there_is_no_table(tmp_path):
    record(tmp_path / "g", "baseline", cases=CASES)
    record(tmp_path / "g", "passion", cases=CASES, options={**PARTS, "tau": 4.0})
    scores = scores_of(tmp_path / "g")["mr2468"]
    assert ablation_tables(scores) == sweep_tables(scores) == []
    assert profile_table([scores]) is None


def test_temperature_and_weights_have_tables_of_their_own(tmp_path):
    for tau, lambda1, lambda2 in ((4.0, 0.5, 0.1), (16.0, 0.5, 0.1), (4.0, 1.0, 0.1), (4.0, 1.0, 0.5)):
        options = {"tau": tau, "lambda1": lambda1, "lambda2": lambda2}
        record(tmp_path / "g", "passion", cases=CASES, strength=tau / 100, options=options)
    temperature, weights = sweep_tables(scores_of(tmp_path / "g")["mr2468"])
    assert (temperature.labels, weights.labels) == (("Method", "tau"), ("Method", "lambda1", "lambda2"))
    assert labels(temperature) == [("4",), ("16",)]
    assert labels(weights) == [("0.5", "0.1"), ("1", "0.1"), ("1", "0.5")]
    assert values(temperature.rows[1])[0] == pytest.approx(WT + 16)
    assert temperature.blocks[0].title == "RFNet + PASSION"
    assert {table.name for table in (temperature, weights)} == {
        "phantom-mr2468-passion-tau-dice",
        "phantom-mr2468-passion-lambda1-lambda2-dice",
    }


def test_profiles_stand_side_by_side(tmp_path):
    for profile, strength in (("mr2468", 0.0), ("mr1379", 0.1)):
        record(tmp_path / "g", "baseline", profile=profile, cases=CASES, strength=strength)
        for seed in (1037, 1038):
            more = strength + (seed - 1036) * 0.01
            record(tmp_path / "g", "passion", seed, more, profile=profile, cases=CASES)
    record(tmp_path / "g", "baseline", backbone="mmformer", cases=CASES)
    record(tmp_path / "g", "baseline", profile="complete", cases=CASES, options={"policy": "pdt"})
    table = profile_table(list(scores_of(tmp_path / "g").values()))
    assert [column.name for column in table.columns] == ["mr1379", "mr2468", "average"]
    baseline, passion = table.blocks[0].rows
    assert values(baseline) == pytest.approx([WT + 10, WT, WT + 5])
    assert values(passion) == pytest.approx([WT + 11.5, WT + 1.5, WT + 6.5])
    # Seeds are 1 and 2 better under both profiles, so their averages differ by 1 too.
    assert [cell.sd for cell in passion.cells] == pytest.approx([0.5**0.5] * 3)
    assert (baseline.runs, passion.runs) == (1, 2)
    # Within the one seed of the baseline, profile by profile, and the mean of what both profiles have.
    gained = [d for d in table.differences if d.block == "WT"]
    assert [d.column for d in gained] == ["mr1379", "mr2468", "average"]
    assert [d.difference for d in gained] == pytest.approx([1.0] * 3)


def test_worth_of_modalities_by_hand():
    # v(S) = 6 if a in S, + 2 if b in S, + 3 if both; nothing else counts.
    modalities = ("a", "b", "c")
    own = subsets(modalities)
    score_of = {s: 6 * ("a" in s) + 2 * ("b" in s) + 3 * ("a" in s and "b" in s) for s in own}
    found = [score_of[s] for s in own]
    # a joins {b}, {c}, {b, c}: +9, +6, +9; b joins {a}, {c}, {a, c}: +5, +2, +5; c adds nothing.
    assert marginal_weights(own, modalities) @ found == pytest.approx([8, 4, 0])
    # The three of both are shared: 6 + 1.5, 2 + 1.5, 0; they add up to the score of all.
    shapley = shapley_weights(own, modalities) @ found
    assert shapley == pytest.approx([7.5, 3.5, 0])
    assert shapley.sum() == pytest.approx(11)
    # Another score of the empty set shifts all alike.
    shifted = shapley_weights(own, modalities, empty_is_zero=False) @ found
    assert shifted == pytest.approx(shapley - (6 + 2 + 0) / 3 / 3)


def test_worth_in_a_table(tmp_path):
    record(tmp_path / "g", "baseline", description=PHANTOM_HEART, profile="mr357", cases=CASES)
    [scores] = scores_of(tmp_path / "g").values()
    # Subset s (bssfp, lge, t2, bssfp+lge, bssfp+t2, lge+t2, all) adds 2 s percent.
    row = marginal_table(scores).blocks[0].rows[0]
    assert values(row) == pytest.approx([10 / 3, 16 / 3, 22 / 3, 4])
    assert row.cells[0].interval == pytest.approx((10 / 3, 10 / 3))
    shapley = shapley_table(scores).blocks[0].rows[0]
    assert sum(values(shapley)[:3]) == pytest.approx(100 * (0.3 + 0.35 + 0.12))
    assert values(shapley)[3] == pytest.approx(4)
    low, high = shapley.cells[0].interval
    assert low < shapley.cells[0].value < high
    assert "the score of the empty set being 0" in shapley_table(scores).caption


def test_worth_is_of_cases_with_every_modality(tmp_path):
    folder = record(tmp_path / "g", "baseline", cases=CASES)
    rows = pd.read_csv(single_test(folder) / "cases.csv")
    lacking = (rows["case"] == "case 7") & rows["subset"].str.contains("t2")
    rows[~lacking].to_csv(single_test(folder) / "cases.csv", index=False)
    [scores] = scores_of(tmp_path / "g").values()
    table = shapley_table(scores)
    # Without case 7 the mean over cases is 0.3, not 0.35.
    assert sum(values(table.rows[0])[:4]) == pytest.approx(100 * (0.3 + 0.3 + 0.28))
    assert "a subset has 7 cases or more" in conditions([scores])


def test_cells_have_differences_with_intervals_over_trainings_and_patients(tmp_path):
    for seed, strength in ((1037, 0.04), (1038, 0.06), (1039, 0.05)):
        record(tmp_path / "g", "passion", seed, strength, cases=CASES)
        record(tmp_path / "g", "baseline", seed, cases=CASES)
    table = subset_table(*scores_of(tmp_path / "g").values())
    first = table.differences[0]
    assert len(table.differences) == 4 * 16
    assert (first.method, first.reference) == ("RFNet + PASSION", "RFNet baseline")
    assert (first.trainings, first.patients) == (3, 8)
    # Over the trainings alone, as all cases gain the same: t of 2 degrees of freedom is 4.303.
    half = 4.303 / 3**0.5
    assert (first.difference, first.low, first.high) == pytest.approx((5, 5 - half, 5 + half), abs=1e-3)
    rows = list(csv.DictReader(io.StringIO(render.differences_csv(table))))
    assert len(rows) == 64
    assert (rows[0]["metric"], float(rows[0]["low"])) == ("Dice (%)", pytest.approx(5 - half, abs=1e-3))
    assert "*" not in markdown(table).replace("**", "")


def test_methods_are_compared_with_the_baseline_of_their_own_kind(tmp_path):
    for backbone in ("rfnet", "mmformer"):
        record(tmp_path / "g", "baseline", backbone=backbone, cases=CASES)
        record(tmp_path / "g", "baseline", backbone=backbone, cases=CASES, options={"policy": "idt_drop"})
        record(tmp_path / "g", "passion", backbone=backbone, cases=CASES)
    record(tmp_path / "g", "passion", backbone="m2ftrans", cases=CASES)
    table = subset_table(*scores_of(tmp_path / "g").values())
    assert {(one.method, one.reference) for one in table.differences} == {
        ("RFNet + PASSION", "RFNet baseline"),
        ("RFNet baseline (random drop)", "RFNet baseline"),
        ("mmFormer + PASSION", "mmFormer baseline"),
        ("mmFormer baseline (random drop)", "mmFormer baseline"),
    }


def test_titles_leave_out_what_goes_without_saying():
    def config(**changes):
        own = {**PARTS, "tau": 4.0, **changes}
        return {"backbone": {"name": "rfnet"}, "objective": {"name": "passion", **own}, "seed": 1}

    titles = method_titles([config(), config(beta=False), config(tau=8.0), config(delta=False, beta=False)])
    assert [title.removeprefix("RFNet + PASSION") for title in titles] == [
        "",
        " (beta=off)",
        " (tau=8)",
        " (beta=off, delta=off)",
    ]
    assert method_titles([config(tau=2.0), config(tau=8.0)]) == [
        "RFNet + PASSION (tau=2)",
        "RFNet + PASSION (tau=8)",
    ]


def test_every_renderer_gets_through_odd_cells():
    """No value, a sign, an interval, a column that has the other direction, characters of three languages."""
    cells = (
        Cell(math.nan),
        Cell(-0.001, sd=0.5),
        Cell(-1.5, interval=(-2.0, math.pi), mark="second"),
    )
    columns = (Column("a", "A"), Column("b", "B", higher_is_better=False), Column("c", "C_1", decimals=1))
    rows = (Row(("x | <y> & 5 %",), cells, "m"),)
    table = Table("t", "k", "dice", "Dice (%)", True, "p", ("R", "M"), columns, (Block("b", rows),), "on x.")
    head, _, row, *_ = markdown(table).splitlines()
    assert head == r"| R | M | A | B ↓ | C\_1 |"
    interval = f"[{MINUS}2.0, 3.1]"
    assert row == rf"| b | x \| \<y\> & 5 % | {DASH} | 0.00 ± 0.50 | <ins>{MINUS}1.5 {interval}</ins> |"
    assert r"b & x | \textless{}y\textgreater{} \& 5~\% & -- & 0.00 &" in latex(table)
    assert r"\underline{$-$1.5} & {\tiny [$-$2.0, 3.1]}" in latex(table)
    assert r"{\tiny [$-$2.0, 3.1]}" in latex(table)
    assert f"<td>{DASH}</td>" in html(table)
    assert "x | &lt;y&gt; &amp; 5 %" in html(table)
    assert f'data-value="-1.5" class="second"><u>{MINUS}1.5</u>' in html(table)
    lines = list(csv.reader(io.StringIO(wide_csv(table))))
    assert [line[6] for line in lines[1:]] == ["mean", "sd", "low", "high"]


def test_a_p_is_never_printed_as_nothing():
    found = [render.number(p, 4) for p in (0.00004, 0.00006, 0.0, 0.25)]
    assert found == ["< 0.0001", "0.0001", "< 0.0001", "0.2500"]
    assert [render.number(v) for v in (0.0, 0.001, -0.001)] == ["0.00", "0.00", "0.00"]


def test_captions_say_what_intervals_are_over(tmp_path):
    compared = "where a method, or what it is compared with, was trained once"
    for name, baselines, over in [
        ("all once", [1037], NETWORKS_ONLY),
        ("one once", [1037, 1038], f"trainings and patients; {compared}, over {NETWORKS_ONLY}"),
    ]:
        record(tmp_path / name, "passion")
        for seed in baselines:
            record(tmp_path / name, "baseline", seed=seed)
        assert intervals(collect([tmp_path / name]).runs) == over
    record(tmp_path / "one once", "passion", seed=1038)
    assert intervals(collect([tmp_path / "one once"]).runs) == "trainings and patients"


def test_captions_say_of_how_many_patients_gains_are(tmp_path):
    """Of six, four lack T2: means are over all cases, gains over the two that have every modality."""
    cases = CASES[:6]
    for objective, strength in (("baseline", 0.0), ("passion", 0.1)):
        folder = record(tmp_path / "g", objective, strength=strength, cases=cases)
        rows = pd.read_csv(single_test(folder) / "cases.csv")
        lacking = rows["case"].isin(cases[2:]) & rows["subset"].str.contains("t2")
        rows[~lacking].to_csv(single_test(folder) / "cases.csv", index=False)
    scores = scores_of(tmp_path / "g")["mr2468"]
    [gain] = every = gains(scores)
    assert scores.whole == gain.effect.patients[0] == 2
    said = "of the 2 patients with every value"
    assert f"Gain: over the baseline of the same network {said}, with" in answer_table(scores, every).caption
    assert f"6 test cases {said}; Gain:" in number_table(scores, every).caption
    assert endpoint(scores).endswith(f"and 6 test cases; gains {said}")
    assert "a subset has 2 cases or more" in conditions([scores])
