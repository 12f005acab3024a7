import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.tracking import Tracker, flat, mean_scores, start

CONTENT = {
    "hash": "0123456789",
    "name": "phantom-rfnet-passion-mr2468-s1037",
    "grid": "smoke",
    "config": {
        "dataset": "phantom",
        "profile": "mr2468",
        "backbone": {"name": "rfnet"},
        "objective": {"name": "passion"},
    },
}
LINE = {"epoch": 0, "loss": {"total": 3.5}, "modality": {"flair": {"beta": 1.1}}, "timing": {"seconds": 2.0}}
CASES = """case,subset,region,metric,value
a,flair,WT,dice,0.5
b,flair,WT,dice,0.7
a,t2,WT,dice,0.2
b,t2,WT,dice,0.2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("DATA", "CACHE", "ARTIFACT", "CONFIG"):
        monkeypatch.delenv(f"WANDB_{name}_DIR", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    (tmp_path / "cases.csv").write_text(CASES)
    return tmp_path


def test_flat_names_are_grouped():
    assert flat(LINE) == {"epoch": 0, "loss/total": 3.5, "modality/flair/beta": 1.1, "timing/seconds": 2.0}


def test_means_over_cases_and_subsets(folder):
    assert mean_scores(folder / "cases.csv") == pytest.approx(
        {"test/WT/flair/dice": 0.6, "test/WT/t2/dice": 0.2, "test/WT/mean/dice": 0.4}
    )


@pytest.mark.parametrize(("environment", "mode"), [("disabled", "auto"), ("", "off")])
def test_switched_off_writes_nothing(folder, monkeypatch, environment, mode):
    monkeypatch.setenv("WANDB_MODE", environment)
    tracker = start(folder, CONTENT, mode)
    tracker.log_epoch(LINE)
    tracker.finish(folder / "cases.csv")
    assert type(tracker) is Tracker
    assert not (folder / "wandb").exists()


def track(folder, **environment):
    """Track one run in a process of its own, as workers do."""
    code = (
        "import json, sys; from pathlib import Path; from benchmark.tracking import start\n"
        "folder, content, line = Path(sys.argv[1]), *map(json.loads, sys.argv[2:])\n"
        "tracker = start(folder, content, 'auto')\n"
        "tracker.log_epoch(line); tracker.finish(folder / 'cases.csv')\n"
    )
    command = [sys.executable, "-c", code, str(folder), json.dumps(CONTENT), json.dumps(LINE)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def read_back(folder):
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [Path(sys.executable).parent / "wandb", "leet", "inspect", "--json", file]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_offline_run_holds_configuration_curves_and_scores(folder):
    result = track(folder)
    assert result.returncode == 0, result.stderr
    text = read_back(folder)
    for name in ("loss/total", "modality/flair/beta", "test/WT/mean/dice", "mr2468", "0123456789"):
        assert name in text


def test_server_that_does_not_answer_means_offline(folder):
    result = track(folder, WANDB_BASE_URL="http://127.0.0.1:9", WANDB_API_KEY="b" * 40)
    assert result.returncode == 0
    assert "logging offline" in result.stderr
    assert "loss/total" in read_back(folder)
