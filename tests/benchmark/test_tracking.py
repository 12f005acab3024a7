"""Tracking as it is on disk: what an offline run holds, and what happens without a server, key or wish."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import tracking
from benchmark.record import RunFolder
from datasets.brats import BRATS2020

CONFIG = {
    "hash": "0123456789",
    "name": "phantom-rfnet-passion-mr2468-s1037",
    "grid": "tiny",
    "config": {
        "dataset": "phantom",
        "profile": "mr2468",
        "backbone": {"name": "rfnet", "width": 2},
        "objective": {"name": "passion", "tau": 4.0},
    },
    "dataset": BRATS2020.to_dict(),
}
LINES = [
    {
        "epoch": epoch,
        "lr": 0.002,
        "loss": {"total": 3.0 - epoch, "fuse": 1.0},
        "modality": {"flair": {"sep": 0.5, "beta": 1.0 + epoch}, "t2": {"sep": 0.25, "beta": 1.0}},
        "timing": {"seconds": 1.5},
    }
    for epoch in range(3)
]
CASES = (
    "case,subset,region,metric,value\n"
    "a,flair+t1ce,WT,dice,0.5\n"
    "b,flair+t1ce,WT,dice,1.0\n"
    "a,t2,WT,hd95,3.0\n"
    "b,t2,WT,hd95,4.0\n"
)
PROGRAM = """
import sys
from pathlib import Path
from benchmark import tracking
from benchmark.record import RunFolder
folder = Path(sys.argv[1])
tracker = tracking.start(folder, RunFolder(folder).config(), "auto")
for line in RunFolder(folder).log():
    tracker.log_epoch(line)
tracker.finish(folder / "cases.csv")
print(type(tracker).__name__)
"""


def track(tmp_path, **variables):
    """Track a small run in a process of its own, at home in an empty folder; return folder and process."""
    folder, home = tmp_path / "runs" / "tiny" / "one", tmp_path / "home"
    home.mkdir()
    RunFolder(folder).write_config(CONFIG)
    for line in LINES:
        RunFolder(folder).append_log(line)
    (folder / "cases.csv").write_text(CASES)
    (folder / "environment.json").write_text('{"commit": "abc1234"}')
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment = {**kept, "HOME": str(home), "PYTHONPATH": str(Path.cwd()), **variables}
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    process = subprocess.run(
        command, capture_output=True, text=True, cwd=home, env=environment, timeout=60, check=True
    )
    assert list(home.iterdir()) == [], "tracking writes outside the run folder"
    return folder, process


def inspect(folder, *options):
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", *options, "--json", file]
    environment = {**os.environ, "HOME": str(folder), "WANDB_ERROR_REPORTING": "false"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def test_an_offline_run_holds_everything(tmp_path):
    folder, process = track(tmp_path)
    records = [json.loads(line) for line in inspect(folder).splitlines()]
    run = next(record["run"] for record in records if record["type"] == "run")
    assert (run["run_id"], run["run_group"], run["project"]) == ("0123456789", "tiny", "passion-bench")
    assert run["display_name"] == CONFIG["name"]
    assert run["tags"] == ["phantom", "rfnet", "passion", "mr2468"]

    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    ours = [{k: v for k, v in item.items() if not k.startswith("_")} for item in history]
    assert ours == [tracking.flat(line) for line in LINES]
    assert ours[2]["modality/flair/beta"] == 3.0
    metrics = [record["metric"] for record in records if record["type"] == "metric"]
    assert {"glob_name": "*", "step_metric": "epoch"}.items() <= metrics[-1].items()

    whole = json.loads(inspect(folder, "--summary"))
    assert whole["summary"]["test/WT/flair+t1ce/dice"] == 0.75
    assert whole["summary"]["test/WT/t2/hd95"] == 3.5
    assert whole["config"]["config"]["objective"]["tau"] == 4.0
    assert whole["config"]["environment"]["commit"] == "abc1234"
    assert whole["state"] == "finished"
    assert process.stdout == "WandbTracker\n"
    assert process.stderr == ""


def test_disabled_writes_nothing(tmp_path):
    folder, process = track(tmp_path, WANDB_MODE="disabled")
    assert process.stdout == "Tracker\n"
    assert not (folder / "wandb").exists()


def test_a_server_that_does_not_answer_means_offline(tmp_path):
    folder, process = track(tmp_path, WANDB_BASE_URL="http://127.0.0.1:9", WANDB_API_KEY="a" * 40)
    warnings = process.stderr.splitlines()
    assert warnings == ["W&B: http://127.0.0.1:9 does not answer, so this run is tracked offline"]
    assert json.loads(inspect(folder, "--summary"))["summary"]["epoch"] == 2


def test_trouble_is_one_warning_and_no_error(tmp_path, caplog):
    class Broken:
        def log(self, line):
            raise RuntimeError("disk\nfull")

    tracker = tracking.WandbTracker(Broken())
    tracker.log_epoch(LINES[0])
    tracker.log_epoch(LINES[1])
    tracker.finish(tmp_path / "cases.csv")
    assert [r.getMessage() for r in caplog.records] == [
        "W&B: tracking ends here, the run goes on (disk full)"
    ]


def test_off_tracks_nothing_and_other_modes_are_refused(tmp_path):
    assert type(tracking.start(tmp_path, CONFIG, "off")) is tracking.Tracker
    with pytest.raises(ValueError, match="unknown tracking mode 'on'"):
        tracking.start(tmp_path, CONFIG, "on")
    assert list(tmp_path.iterdir()) == []
