"""Data, runs, scores and reports in W&B as one line of descent, read from offline files; and the view."""

import json
import shutil
import sys

import pytest
from bench_program import bench
from lone_test_folder import single_test
from recorded_runs import record
from tracked_runs import ID, finished_run, inspect, records, track, track_report_apart, trained_run

from benchmark.report.write import Written
from benchmark.run_folder.folder import VALIDATED, RunFolder
from benchmark.tracking import workspace
from benchmark.tracking.report import track_report


def artifacts(found):
    """Each artifact among the records by type and name: whether the run has used it, its files and facts."""
    logged = [record["artifact"] for record in found if record["type"] == "artifact"]
    return {
        (a["type"], a["name"]): (
            bool(a.get("use_after_commit")),
            sorted(entry["path"] for entry in a["manifest"]["contents"]),
            json.loads(a.get("metadata") or "{}"),
        )
        for a in logged
    }


def digests(found, kind):
    """The digests of the files of the artifacts of a type, by name of the artifact."""
    logged = [record["artifact"] for record in found if record["type"] == "artifact"]
    return {
        a["name"]: {entry["path"]: entry["digest"] for entry in a["manifest"]["contents"]}
        for a in logged
        if a["type"] == kind
    }


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two runs, the first of them tracked offline, and the report of both tracked too: their records."""
    place = tmp_path_factory.mktemp("lineage")
    folder = finished_run(place / "runs" / "tiny")
    record(place / "runs" / "tiny", "baseline", hash="fedcba9876")
    track(folder, place / "home")
    said = track_report_apart(place / "runs" / "tiny", place / "report", place / "home")
    report = RunFolder(place / "report")
    return folder, records(folder), report, records(report), said


def test_a_run_uses_its_data_and_makes_its_scores(grid):
    _, found, *_ = grid
    every = artifacts(found)
    used, files, facts = every["dataset", "data-phantom"]
    assert used
    assert files == ["data.json"]
    assert facts["hash"] == "d474"
    assert facts["split"] == {"name": "auto", "hash": "5911"}
    assert facts["cases"] == {"train": 21, "val": 3, "test": 2}
    assert "case 1" not in json.dumps(every["dataset", "data-phantom"])
    used, files, _ = every["scores", f"scores-{ID}"]
    assert not used
    assert files == ["passion-0123456789/cases.csv", "passion-0123456789/test.yaml"]


def test_a_report_uses_the_scores_of_its_runs_and_makes_tables(grid):
    _, of_run, _, found, said = grid
    every = artifacts(found)
    (run,) = [record["run"] for record in found if record["type"] == "run"]
    assert (run["run_id"], run["run_group"], run["job_type"]) == ("report-tiny", "tiny", "report")
    assert "PASSION" in run["notes"]
    assert "mean Dice (%) of WT, TC and ET" in run["notes"]
    names = {name: used for (kind, name), (used, *_) in every.items() if kind == "scores"}
    assert names == {f"scores-{ID}": True, "scores-fedcba9876-tiny": True}
    # By equal content W&B knows the artifact that the run has made.
    mine, theirs = (digests(of, "scores")[f"scores-{ID}"] for of in (found, of_run))
    assert mine == theirs
    _, files, _ = every["report", "report-tiny"]
    assert {"report.md", "report.html", "tables/phantom-mr2468-dice.csv"} <= set(files)
    history = [record["history"]["item"] for record in found if record["type"] == "history"]
    tables = {name.removesuffix("._type") for item in history for name in item if name.endswith("._type")}
    assert {"tables/phantom-mr2468-answer-dice", "tables/phantom-mr2468-dice"} <= tables
    assert "upload the report later with: wandb sync" in said


def test_the_tables_and_the_answer_are_those_of_the_report(grid):
    *_, report, found, _ = grid
    whole = json.loads(inspect(report, "--summary"))["summary"]
    mean = whole["phantom-mr2468/RFNet + PASSION/mean"]
    assert mean == pytest.approx(100 * (0.3 + 0.02 * 7 - 0.1 + 0.05))
    assert whole["phantom-mr2468/RFNet + PASSION/gain"] == pytest.approx(0)
    (files,) = report.path.glob("wandb/offline-run-*/files")
    item = next(record["history"]["item"] for record in found if record["type"] == "history")
    table = json.loads((files / item["tables/phantom-mr2468-answer-dice.path"]).read_text())
    assert table["columns"][:4] == ["metric", "policy", "network", "method"]
    (row,) = [row for row in table["data"] if row[3] == "PASSION" and "mean" in row]
    assert dict(zip(table["columns"], row, strict=True))["WT"] == pytest.approx(49.0)


def trial(grid_folder, tau, value):
    """A trial of a study with its validation and what it came to."""
    folder = trained_run(grid_folder, seed=tau)
    (single_test(folder) / "cases.csv").rename(folder.path / VALIDATED)
    shutil.rmtree(folder.path / "tests")
    folder.note_trial(number=tau, params={"objective.tau": tau, "objective.lambda1": 0.5})
    folder.note_trial(goals={"mean Dice": value})
    return folder


def test_a_trial_has_what_it_tried_and_came_to_as_axes(tmp_path):
    folder = trial(tmp_path / "runs" / "study-1", 4, 0.61)
    (folder.path.parent / "study").mkdir()
    track(folder, tmp_path / "home")
    whole = json.loads(inspect(folder, "--summary"))
    assert whole["config"]["params"] == {"objective": {"tau": 4, "lambda1": 0.5}}
    assert whole["summary"]["goal/mean Dice"] == pytest.approx(0.61)
    assert folder.trial() == {
        "number": 4,
        "params": {"objective.tau": 4, "objective.lambda1": 0.5},
        "goals": {"mean Dice": 0.61},
    }


def spec(view):
    """A view's panels by section, and its filters, as W&B's interface reads them."""
    section = json.loads(view._to_model().model_dump_json(by_alias=True, exclude_none=True))["spec"][
        "section"
    ]
    panels = {s["name"]: s["panels"] for s in section["panelBankConfig"]["sections"]}
    return panels, section["runSets"][0]["filters"]["filters"]


@pytest.fixture
def saved(monkeypatch):
    """The views that are saved, by a stand-in of the server."""
    views = pytest.importorskip("wandb_workspaces.workspaces")
    found = []

    def save(view):
        found.append(view)
        view._internal_name = "nw-1a2b3c"
        return view

    monkeypatch.setattr(views.Workspace, "save", save)
    monkeypatch.setattr(views.Workspace, "url", property(lambda view: f"http://here/{view._internal_name}"))
    monkeypatch.setattr(workspace.server, "why_offline", lambda settings: "")
    monkeypatch.setenv("WANDB_ENTITY", "me")
    return found


def test_a_view_of_a_grid_shows_what_its_runs_have(tmp_path, saved):
    finished_run(tmp_path / "tiny")
    assert workspace.save_workspace(tmp_path / "tiny") == "http://here/nw-1a2b3c"
    (view,) = saved
    panels, filters = spec(view)
    assert list(panels) == ["Scores", "Training", "Modalities", "Cost"]
    assert filters == [
        {"key": {"section": "run", "name": "group"}, "op": "=", "value": "tiny", "disabled": False}
    ]
    bars = [panel["config"]["metrics"] for panel in panels["Scores"] if panel["viewType"] == "Bar Chart"]
    assert [f"test/{r}/average/dice" for r in ("WT", "TC", "ET", "ETpp")] in bars
    curves = [panel["config"] for panel in panels["Training"]]
    assert [curve["metrics"] for curve in curves] == [["loss/total"]]
    assert {curve["xAxis"] for curve in curves} == {"epoch"}
    assert ["modality/flair/beta", "modality/t1ce/beta", "modality/t1/beta", "modality/t2/beta"] in [
        panel["config"]["metrics"] for panel in panels["Modalities"]
    ]


def test_a_view_of_a_study_has_parallel_coordinates(tmp_path, saved):
    for tau in (2, 4):
        trial(tmp_path / "study-1", tau, 0.5 + tau / 100)
    workspace.save_workspace(tmp_path / "study-1")
    panels, _ = spec(saved[0])
    first, second = panels["Study"]
    assert first["viewType"] == "Parallel Coordinates Plot"
    assert [column["accessor"] for column in first["config"]["columns"]] == [
        "config:params.value.objective.tau",
        "config:params.value.objective.lambda1",
        "summary:goal/mean Dice",
    ]
    assert second["viewType"] == "Parameter Importance"
    assert second["config"]["targetKey"] == "goal/mean Dice"


def test_what_keeps_a_view_from_being_saved_is_told(tmp_path, monkeypatch):
    result = bench("sync", "--grid", "none", "--runs", tmp_path)
    assert result.returncode == 2
    folder = finished_run(tmp_path / "tiny")
    with monkeypatch.context() as patch:
        patch.setattr(workspace.server, "why_offline", lambda settings: "it does not answer")
        with pytest.raises(ValueError, match="does not answer: no view can be saved now, call bench sync"):
            workspace.save_workspace(folder.path.parent)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(ValueError, match=r"pip install 'passion-bench\[wandb\]'"):
        workspace.save_workspace(folder.path.parent)
    with pytest.raises(ValueError, match="no runs at"):
        workspace.save_workspace(tmp_path / "none")


def test_a_report_is_tracked_only_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.write.pictures", lambda section, brief: [])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    record(tmp_path / "runs" / "tiny", "passion")
    arguments = ["report", "--grid", "tiny", "--runs", tmp_path / "runs", "--formats", "png"]
    plain = bench(*arguments, "--out", tmp_path / "plain")
    assert (plain.returncode, "W&B" in plain.stdout) == (0, False)
    tracked = bench(*arguments, "--out", tmp_path / "tracked", "--track")
    assert tracked.returncode == 0, tracked.stderr
    assert "W&B: WANDB_MODE is disabled, so the report is not tracked" in tracked.stdout


def test_what_is_wrong_with_tracking_a_report_is_told(tmp_path, monkeypatch):
    def refused(folder, limits):
        raise ValueError("Input should be 'online'")

    monkeypatch.setattr("benchmark.tracking.report.server.settings_for", refused)
    monkeypatch.setenv("WANDB_MODE", "Online")
    said = track_report(Written((), (), (), ()), tmp_path)
    assert said == "W&B: the report is not tracked (Input should be 'online')"
