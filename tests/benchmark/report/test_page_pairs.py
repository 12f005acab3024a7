"""Two methods in the page: their differences are the report's, and one gets at them without a mouse."""

import re

import pytest
from chromium import PROGRAM, Chromium
from recorded_runs import TEST, record, record_examples

from benchmark.report.data.collect import collect
from benchmark.report.page import pairs as pairs_module
from benchmark.report.page.page import page
from benchmark.report.page.pairs import pairs
from benchmark.report.tables.contents import contents
from benchmark.report.tables.gains import gains
from benchmark.report.tables.render import MINUS, html, number
from benchmark.run_folder.case_rows import read_rows, write_rows

needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="no chromium: apt-get install chromium")
CASES = ("case 1", "case 2", "case 10")
BASELINE, PASSION, PMR = METHODS = ["RFNet baseline", "RFNet + PASSION", "RFNet + PMR"]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "runs" / "tiny"
    for seed, strength in ((1037, 0.0), (1038, 0.01), (1039, 0.03)):
        record(folder, "baseline", seed, strength, cases=CASES)
        run = record(folder, "passion", seed, 2 * strength + 0.05, cases=CASES)
        lower(run.test(TEST).cases, "case 2", 0.2)
        if seed == 1037:
            record_examples(run, CASES)
    record(folder, "pmr", 1037, 0.03, cases=CASES)
    return folder


def lower(path, case, dice):
    """Take some Dice from one case."""
    rows = [
        row._replace(value=row.value - dice * (row.metric == "dice" and row.case == case))
        for row in read_rows(path)
    ]
    write_rows(path, rows)


@pytest.fixture(scope="module")
def study(grid):
    """The section of the study."""
    return contents(collect([grid]))[-1]


def written(grid, out):
    """Write the page of the grid, without figures."""
    collected = collect([grid])
    sections = contents(collected)
    texts = {table.name: html(table) for section in sections for table in section.tables}
    drawn = {section.title: [] for section in sections}
    out.write_text(page(collected, sections, texts, drawn, out.parent, ["png"]))
    return out


@pytest.fixture(scope="module")
def path(grid):
    return written(grid, grid.parents[1] / "report.html")


@pytest.fixture(scope="module")
def chromium():
    with Chromium() as running:
        yield running


def opened(chromium, path, **how):
    shown = chromium.open(path, **how)
    shown.run("explored")
    return shown


def test_differences_are_those_of_the_tables(study):
    found = {tuple(pair["methods"]): pair for pair in pairs(study.scores)}
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    compared = 0
    for place, scores in enumerate(study.scores):
        [table] = [t for t in study.tables if t.kind == "subsets" and t.metric == scores.metric]
        columns = [*scores.subsets, "average"]
        for difference in table.differences:
            reference, method = (METHODS.index(name) for name in (difference.reference, difference.method))
            effects = found[reference, method]["effects"][place]
            column = scores.regions.index(difference.block) * len(columns) + columns.index(difference.column)
            expected = (difference.difference, difference.low, difference.high)
            mean, low, high = (effect[column] for effect in effects)
            assert (-mean, -high, -low) == tuple(round(100 * value) for value in expected)
            compared += 1
        assert compared == (place + 1) * 2 * len(scores.regions) * len(columns)


def test_the_last_column_is_the_primary_endpoint(study):
    found = {tuple(pair["methods"]): pair for pair in pairs(study.scores)}
    for gain in gains(study.scores[0]):
        pair = found[METHODS.index(gain.reference), METHODS.index(gain.method)]
        mean, low, high = (effect[-1] / 100 for effect in pair["effects"][0])
        assert (-mean, -high, -low) == pytest.approx(gain.value(), abs=0.005)
    assert found[0, 1]["about"] == "trainings and patients, 3 trainings a side"
    assert (
        found[0, 2]["about"]
        == "the patients of these trained networks, 1 training a side, those that both have"
    )


def test_of_many_methods_each_has_its_baseline(study, monkeypatch):
    monkeypatch.setattr(pairs_module, "MOST", 2)
    assert [pair["methods"] for pair in pairs(study.scores)] == [[1, 0], [2, 0]]


def text(shown, selector):
    return shown.run(f"document.querySelector({selector!r}).textContent")


def choose(shown, name, label):
    shown.run(
        f"(() => {{ const s = document.querySelector('#pair [name={name}]');"
        f" s.value = [...s.options].find((o) => o.textContent === {label!r}).value;"
        " s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def rows(shown):
    return shown.run(
        "[...document.querySelectorAll('#pair-cases tbody tr, #pair-cases tfoot tr')].map("
        "(r) => [...r.cells].map((c) => c.textContent))"
    )


@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_two_methods_case_by_case(chromium, path, study, width):
    shown = opened(chromium, path, width=width)
    [gain] = [gain for gain in gains(study.scores[0]) if gain.method == PASSION]
    mean, low, high = map(number, gain.value())
    assert text(shown, "#pair-said") == (
        f"{PASSION} minus {BASELINE}, Dice (%), mean of WT, TC and ET, average over all subsets: "
        f"{mean} [{low}, {high}]. Better in 2 of 3 cases, worse in 1."
    )
    # The seeds' means are 0.0133 and 0.0767; case 2 lost 0.2.
    assert [row[:2] for row in rows(shown)[:-1]] == [
        ["case 1 slices", "+6.3"],
        ["case 10", "+6.3"],
        ["case 2 slices", f"{MINUS}13.7"],
    ]
    assert shown.run("document.querySelector('#pair-cases th:nth-child(2)').ariaSort") == "descending"
    assert text(shown, "#pair-means caption").endswith(
        "3 trainings a side; one of twenty such intervals lies beside zero where there is no difference."
    )
    assert shown.run("document.documentElement.scrollWidth <= innerWidth")
    assert shown.complaints() == []


@needs_chromium
def test_other_choices_and_the_two_swapped(chromium, path, study):
    shown = opened(chromium, path)
    choose(shown, "metric", "HD95 (mm)")
    choose(shown, "region", "ET")
    choose(shown, "subset", "T1ce + T2")
    [table] = [t for t in study.tables if t.kind == "subsets" and t.metric == "hd95"]
    [expected] = [d for d in table.differences if (d.block, d.column, d.method) == ("ET", "t1ce+t2", PASSION)]
    value, *ends = map(number, (expected.difference, expected.low, expected.high))
    said = text(shown, "#pair-said")
    assert said.startswith(
        f"{PASSION} minus {BASELINE}, HD95 (mm), ET, T1ce + T2: {value} [{', '.join(ends)}]"
    )
    assert said.endswith("Better in 3 of 3 cases, worse in 0.")  # lower is better, and case 2 kept its HD95
    assert shown.run("document.querySelector('#pair-cases th:nth-child(2)').ariaSort") == "ascending"
    shown.run("document.querySelector('#pair [name=swap]').click()")
    ends = [number(-end) for end in (expected.high, expected.low)]
    said = text(shown, "#pair-said")
    assert f": +{number(-expected.difference)} [{', '.join(ends)}]. Better in 0 of 3 cases" in said
    choose(shown, "against", PMR)
    assert text(shown, "#pair-said").startswith(f"{BASELINE} minus {PMR}, ")
    assert shown.complaints() == []


@needs_chromium
def test_a_pair_without_intervals_says_so(chromium, grid, monkeypatch):
    monkeypatch.setattr(pairs_module, "MOST", 2)
    shown = opened(chromium, written(grid, grid.parents[1] / "many.html"))
    choose(shown, "against", PMR)
    # PMR's one seed is 0.03: 7.67 - 3 for two cases, 20 less for one.
    assert f": {MINUS}2.00. Better in 2 of 3 cases, worse in 1." in text(shown, "#pair-said")
    assert "each against its baseline alone" in text(shown, "#pair-means caption")


@needs_chromium
def test_scores_that_cannot_be_unpacked_are_said(chromium, path):
    damaged = path.with_name("damaged.html")
    damaged.write_text(re.sub(r"(data-begin>)[^<]{40}", r"\1" + "A" * 40, path.read_text()))
    shown = opened(chromium, damaged)
    assert "cannot be unpacked" in text(shown, "#not-unpacked")
    hidden = "['#explorer', '#not-unpacked'].map((id) => document.querySelector(id).hidden)"
    assert shown.run(hidden) == [True, False]
    assert shown.run("document.querySelectorAll('th button').length") > 20  # the tables sort all the same


@needs_chromium
def test_it_is_worked_by_keyboard_alone(chromium, path):
    shown = opened(chromium, path)
    shown.run("document.querySelector('#pair [name=subset]').focus()")
    before = text(shown, "#pair-said")
    shown.press("ArrowDown")
    shown.press("Tab")
    assert text(shown, "#pair-said") == before  # it was the last one
    shown.run("document.querySelector('#pair [name=method]').focus()")
    shown.press("ArrowDown")
    assert text(shown, "#pair-said").startswith(f"{PMR} minus {BASELINE}")
    for _ in range(2):  # not to the baseline, which the other list has
        shown.press("ArrowUp")
        assert text(shown, "#pair-said").startswith(f"{PASSION} minus {BASELINE}")
    shown.press("ArrowDown")
    names = []
    while "slices of case 2" not in names:
        assert len(names) < 20
        shown.press("Tab")
        names.append(shown.run(NAME))
    assert names == [  # the differences are equal, so there is nothing to sort them by
        *("against", "swap", "metric", "region", "subset", "Case", PMR, BASELINE),
        *("case 1", "slices of case 1", "case 2", "slices of case 2"),
    ]
    shown.press("Enter")
    assert shown.run("document.activeElement.id") == "slice"
    assert text(shown, "#browser [name=case] :checked") == "case 2 (slices)"
    assert text(shown, "#said").startswith("Dice (%) of case case 2 in ")
    shown.run("history.back()")
    shown.run("document.querySelector('#pair-cases a').focus()")
    shown.press("Enter")
    assert shown.run("document.activeElement.id") == "one-case"
    assert shown.complaints() == []


NAME = "((e) => e.name || e.ariaLabel || e.textContent)(document.activeElement)"


@needs_chromium
def test_a_screen_reader_is_told_of_everything(chromium, path):
    shown = opened(chromium, path)
    told = shown.accessible()
    heads = shown.run("[...document.querySelectorAll('h1, h2, h3')].map((h) => h.textContent)")
    assert sorted(name for role, name, _ in told if role == "heading") == sorted(heads)
    for role, name, about in told:
        if about.get("focusable") and role not in ("RootWebArea", "option"):
            assert name, (role, about)
    for kind in ("table", "image", "form", "figure"):
        assert all(name for role, name, _ in told if role == kind), kind
    assert ("StaticText", text(shown, "#pair-said")) in [(role, name) for role, name, _ in told]
    assert {about["live"] for role, _, about in told if role == "status"} == {"polite"}
    # A head is read as it is called, without its arrow.
    assert ("columnheader", "Average") in [(role, name) for role, name, _ in told]
    assert not [name for _, name, _ in told if "↕" in name]
