"""What comes of a study, and how it looks in the terminal."""

from io import StringIO

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from PIL import Image
from rich.console import Console
from stub_study import quality, worked

from benchmark.tune.outcome import importance, write_outcome
from benchmark.tune.search import RETRY_OF
from benchmark.tune.study_file import load_parameters
from benchmark.tune.view import TrialView, summary, time_left, trial_table


def fail_third(trial):
    if trial.number == 2:
        raise ValueError("a <bad> trial")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return worked(tmp_path_factory.mktemp("finished"), 24, fail_third)


@pytest.fixture(scope="module")
def outcome(finished):
    study, search, place = finished
    return {str(p.relative_to(place.folder / "outcome")): p for p in write_outcome(study, search, place)}


def test_every_file_is_there(outcome):
    tables = [
        f"tables/stub-{n}.{k}" for n in ("tau", "lambda1-lambda2") for k in ("md", "tex", "csv", "html")
    ]
    figures = [f"figures/{n}.png" for n in ("history", "slice", "contour", "importances")]
    rest = ["tuning.html", "best.yaml", "trials.csv", "importances.csv"]
    assert set(outcome) == {*tables, *figures, *rest}
    assert next(iter(outcome)) == "tuning.html"
    for name in figures:
        assert Image.open(outcome[name]).size[0] > 500


def test_the_csv_has_every_trial(finished, outcome):
    study, *_ = finished
    rows = pd.read_csv(outcome["trials.csv"])
    assert list(rows["trial"]) == list(range(24))
    assert set(rows["state"]) == {"complete", "pruned", "failed"}
    complete = rows[rows["state"] == "complete"]
    assert (complete["mean Dice"] - complete["Dice WT"]).abs().max() < 1e-12
    assert list(rows[rows["best"]]["trial"]) == [study.best_trial.number]
    assert rows["pruned at epoch"].notna().sum() == (rows["state"] == "pruned").sum()
    assert rows.loc[2, "remark"] == "ValueError: a <bad> trial"


def test_the_best_parameters_are_those_of_the_best_trial(finished, outcome):
    study, *_ = finished
    content = yaml.safe_load(outcome["best.yaml"].read_text())
    assert content["params"] == study.best_params
    (config,) = load_parameters(outcome["best.yaml"]).configs
    assert config.objective.lambda1 == study.best_params["objective.lambda1"]


def test_importances_see_what_matters(finished):
    study, search, _ = finished
    found = importance(study, search, 0)
    assert next(iter(found)) in ("objective.tau", "objective.lambda1")
    assert abs(sum(found.values()) - 1) < 1e-9


def test_importances_are_of_what_makes_a_trial_good():
    """Here `a` orders the good trials, and `b` alone makes failures."""
    study = optuna.create_study(direction="maximize")
    ranges = {name: FloatDistribution(0, 1) for name in "ab"}
    for a, b in np.random.default_rng(0).random((200, 2)):
        value = a if b < 0.7 else -1.0
        study.add_trial(create_trial(params={"a": a, "b": b}, distributions=ranges, value=value))
    found = importance(study, None, 0)
    assert list(found) == ["a", "b"]
    assert found["a"] > 0.9


def test_a_row_of_a_table_is_the_best_trial_with_its_value(finished, outcome):
    study, *_ = finished
    rows = pd.read_csv(outcome["tables/stub-tau.csv"])
    for tau, value in zip(rows["tau"], rows["average"], strict=True):
        complete = [t for t in study.get_trials() if t.state == TrialState.COMPLETE]
        best = max(quality(t.params) for t in complete if t.params["objective.tau"] == tau)
        assert value == pytest.approx(100 * best, abs=0.01)
    text = outcome["tables/stub-lambda1-lambda2.md"].read_text()
    assert "| Method | lambda1 | lambda2 | trial |" in text
    assert "1 validation case" in text
    assert "test case" not in text


def test_the_page_needs_no_network_and_names_its_points(outcome):
    text = outcome["tuning.html"].read_text()
    assert "<title>trial 0: 0.8; lambda1 0.5" in text
    assert "a &lt;bad&gt; trial" in text
    for outside in ('src="http', 'href="http', "@import", "<script"):
        assert outside not in text


def test_outcome_before_anything_is_complete(tmp_path):
    def fail(trial):
        raise ValueError("no")

    study, search, place = worked(tmp_path, 2, fail)
    names = {p.name for p in write_outcome(study, search, place)}
    assert names == {"tuning.html", "trials.csv", "importances.csv"}


def test_outcome_of_two_goals(tmp_path):
    study, search, place = worked(tmp_path, 12, goal="both")
    names = {p.name for p in write_outcome(study, search, place)}
    front = [t.number for t in study.best_trials]
    assert {"best.yaml", "front.png", "history-mean.png", "history-worst.png"} <= names
    assert sum(name.startswith("best") for name in names) == len(front)


def test_choices_have_tables_and_figures(tmp_path):
    space = {"objective.variant": ["released", "paper"], "objective.tau": {"low": 1, "high": 8}}
    space["objective.lambda1"] = {"low": 0.1, "high": 1.0}
    study, search, place = worked(tmp_path, 12, space=space)
    names = {p.name for p in write_outcome(study, search, place)}
    assert {"stub-variant.md", "stub-tau.md", "stub-lambda1.md", "contour.png"} <= names


def shown_text(renderable):
    console = Console(file=StringIO(), width=200)
    console.print(renderable)
    return console.file.getvalue()


def test_the_table_in_the_terminal(finished):
    study, search, _ = finished
    trials = study.get_trials()
    text = shown_text(trial_table(search, trials))
    for word in ("tau", "mean Dice", "pruned at", "epoch 1: ", "complete", "failed", "a <bad> trial"):
        assert word in text
    assert f"best so far: trial {study.best_trial.number}" in summary(study, trials)


def test_the_view_tells_of_each_trial_once(finished):
    study, search, _ = finished
    console = Console(file=StringIO(), width=200)
    with TrialView(study, search, console, 30, 2, None) as view:
        view._told.clear()
        view.refresh()
        view.refresh()
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 24
    assert lines[0].startswith("trial 0 complete (lambda1=0.5, lambda2=0.1, tau=4): 0.8; 24 of 30")
    assert lines[2].endswith("left") or "a <bad> trial" in lines[2]


def test_the_live_view_has_a_table_and_what_is_left(finished):
    study, search, _ = finished
    console = Console(file=StringIO(), width=160, height=20, force_terminal=True)
    with TrialView(study, search, console, 30, 2, None):
        pass
    text = console.file.getvalue()
    assert "24 of 30" in text
    assert "left" in text


def test_time_left_is_by_the_mean_of_trials_that_are_over(finished):
    trials = finished[0].get_trials()
    over = [t for t in trials if t.state != TrialState.FAIL]
    mean = sum((t.datetime_complete - t.datetime_start).total_seconds() for t in over) / len(over)
    assert time_left(trials, 30, 2, None) == pytest.approx(6 * mean / 2)
    assert time_left(trials, 24, 2, None) == 0
    assert time_left([], 24, 2, None) is None
    assert all(RETRY_OF not in t.user_attrs for t in trials)
