"""Real trials on a tiny phantom, as docs/tuning.md has it: studied, killed, resumed, tested."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from bench_program import bench
from docs_page import block
from lone_test_folder import single_test

from benchmark.run_folder.folder import RunFolder
from benchmark.tune.search import Place, resume
from benchmark.tune.study_file import Search, load_search

STUDY = "tune-smoke"


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The folder in which the page's commands were given, and what they printed."""
    folder = tmp_path_factory.mktemp("tuning")
    results = []
    for line in block("tuning.md", "sh").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "bench"
        results.append(bench(*arguments, cwd=folder))
        assert results[-1].returncode == 0, results[-1].stderr
    return folder, results


@pytest.mark.long
def test_the_pages_commands_study_resume_and_test_the_best_trial(studied):
    folder, results = studied
    assert "trial 2 " in results[0].stderr
    assert "trial 0 " not in results[1].stderr
    assert "4 trials" in results[2].stdout
    study = folder / "runs" / STUDY
    rows = pd.read_csv(study / "outcome" / "trials.csv")
    assert list(rows["trial"]) == [0, 1, 2, 3]
    best = RunFolder(study / rows.loc[rows["best"], "run"].item())
    assert [run for run in rows["run"] if RunFolder(study / run).tests()] == [best.path.name]
    validated, tested = (
        pd.read_csv(f / name) for f, name in ((best.path, "validation.csv"), (single_test(best), "cases.csv"))
    )
    assert not set(validated["case"]) & set(tested["case"])
    assert validated["subset"].nunique() == 15
    value = rows.loc[rows["best"], "mean Dice"].item()
    assert validated["value"].mean() == pytest.approx(value)
    noted = [RunFolder(study / run).trial() for run in rows["run"]]
    assert [trial["number"] for trial in noted] == [0, 1, 2, 3]
    assert all(trial["params"].keys() == noted[0]["params"].keys() for trial in noted)
    assert best.trial()["goals"] == {"mean Dice": pytest.approx(value)}
    assert [line["epoch"] for line in best.log()] == [0, 1, 2, 3]
    assert all("validation" in line for line in best.log())


@pytest.mark.long
def test_a_killed_worker_is_replaced_and_its_trial_queued_again(studied):
    folder, _ = studied
    command = [sys.executable, "-m", "benchmark", "tune", "--study", STUDY, "--trials", "6"]
    command += ["--workers", "1", "--device", "cpu", "--no-track"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, search = load_search(STUDY)
    place = Place(STUDY, folder / "runs")
    os.kill(_worker(search, place), signal.SIGKILL)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert "trial 4 failed" in errors
    rows = pd.read_csv(place.folder / "outcome" / "trials.csv")
    assert list(rows["state"])[4] == "failed"
    assert rows.loc[5, "remark"] == "again, for 4"
    assert len(rows) == 7
    assert "7 trials" in output


def _worker(search: Search, place: Place) -> int:
    """Wait for a running trial of number 4; return the process id of its worker."""
    study = resume(search, place)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for trial in study.get_trials()[4:]:
            if worker := trial.user_attrs.get("worker"):
                return int(worker.split("-")[-2])
        time.sleep(0.1)
    raise AssertionError("no trial began")


def test_the_pages_study_file_is_one():
    content = yaml.safe_load(block("tuning.md", "yaml"))
    search = Search.model_validate(content)
    search.check("mine")
    assert set(search.first("mine")) == set(search.space)


@pytest.mark.parametrize("command", [["tune", "--help"], ["tune", "report", "--help"], ["list"]])
def test_nothing_heavy_is_imported_for_help_and_lists(command):
    code = (
        "import sys; sys.argv = ['bench', *sys.argv[1:]]\n"
        "from benchmark.commands.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'optuna', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tune"], "expected --study"),
        (["tune", "--study", "tune-smok"], "did you mean tune-smoke"),
        (["tune", "report", "--study", STUDY], "no study tune-smoke"),
        (["tune", "--study", STUDY, "--device", "cpu", "--gpus", "0"], "no effect on a CPU"),
        (["tune", "--study", STUDY, "--device", "cpu", "--store", "brats=x"], "has no dataset brats"),
        (["run"], "expected --grid GRID, or --params FILE"),
        (["run", "--params", "none.yaml"], "none.yaml cannot be read"),
        (["run", "--grid", "smoke", "--params", "none.yaml"], "give one of them"),
    ],
)
def test_wrong_input_is_one_line(arguments, says, tmp_path):
    result = bench(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
