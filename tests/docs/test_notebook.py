"""The notebook: run cell by cell, it shows what is kept in it, and its means are those of the report."""

import ast
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from docs_page import DOCS
from recorded_runs import record

NOTEBOOK = DOCS / "runs-with-pandas.ipynb"
REPORTED = DOCS.parent / "results" / "headline" / "tables" / "phantom-mr2468-answer-dice.csv"


def shown(cell, names):
    """Run a cell as a notebook does; return what its last line shows."""
    *lines, last = ast.parse("".join(cell["source"])).body
    if isinstance(last, ast.Expr):
        exec(compile(ast.Module(lines, []), NOTEBOOK.name, "exec"), names)
        return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
    return exec(compile(ast.Module([*lines, last], []), NOTEBOOK.name, "exec"), names)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Each code cell with what it showed, and the names at the end."""
    names = {}
    place = tmp_path_factory.mktemp("clone")
    (place / "docs").mkdir()
    (place / "results").symlink_to(DOCS.parent / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place / "docs")
        cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
        yield [(cell, shown(cell, names)) for cell in cells], names
    names["place"].cleanup()
    plt.close("all")


def test_the_tables_in_it_are_those_that_it_makes(executed):
    kept = 0
    for cell, value in executed[0]:
        for output in cell["outputs"]:
            if "image/png" not in output["data"]:
                assert "".join(output["data"]["text/plain"]) == repr(value)
                assert "".join(output["data"]["text/html"]) == value._repr_html_()
                kept += 1
    assert kept == 4


def test_it_draws_the_figure(executed):
    assert any("image/png" in output["data"] for cell, _ in executed[0] for output in cell["outputs"])
    axes = executed[1]["axes"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "baseline",
        "moddrop",
        "passion",
        "pmr",
    ]
    drawn = axes.lines[0].get_ydata()
    assert len(drawn) == 4
    assert list(drawn) == sorted(drawn)


def test_tests_of_one_run_are_told_apart(executed, monkeypatch):
    monkeypatch.setitem(executed[1], "RUNS", Path("mine"))
    of_which = executed[1]["of_which"]
    assert of_which(Path("mine/a/tests/passion-0/cases.csv")) == ("a", "passion-0")
    assert of_which(Path("mine/a/tests/other-1/cases.csv")) == ("a", "other-1")
    assert of_which(Path("mine/b/cases.csv")) == ("b", "the only one")


def test_its_means_are_those_of_the_report(executed):
    ours = executed[1]["trainings"].groupby(["network", "method"]).agg(["mean", "std"])
    titles = {"m2ftrans": "M2FTrans", "mmformer": "mmFormer", "rfnet": "RFNet"}
    methods = {"baseline": "baseline", "moddrop": "ModDrop", "passion": "PASSION", "pmr": "PMR"}
    table = pd.read_csv(REPORTED).set_index(["network", "method", "statistic"])["average"]
    for (network, method), row in ours.iterrows():
        key = (titles[network], methods[method])
        assert (row["mean"], row["std"]) == pytest.approx((table[*key, "mean"], table[*key, "sd"]), abs=1e-4)


def test_what_was_run_in_several_ways_is_told_apart(executed, tmp_path):
    for seed in (1037, 1038):
        for options in ({"tau": 4.0}, {"tau": 8.0}):
            record(tmp_path, "passion", seed, options=options)
        record(tmp_path, "baseline", seed, profile="complete")
    cell = next(cell for cell, _ in executed[0] if "json_normalize" in "".join(cell["source"]))
    counts = shown(cell, {**executed[1], "RUNS": tmp_path})
    assert counts.stack().loc[lambda n: n > 0].to_dict() == {
        ("complete", "rfnet", "baseline"): 2,
        ("mr2468", "rfnet", "passion objective.tau=4.0"): 2,
        ("mr2468", "rfnet", "passion objective.tau=8.0"): 2,
    }
