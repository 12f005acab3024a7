"""Runs tracked in a process of their own, as a worker tracks them; a helper of the tests of tracking."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
from recorded_runs import record, record_examples

from datasets.studies.brats import PHANTOM

PROGRAM = """
import os, sys
from pathlib import Path
from benchmark import tracking
from benchmark.run_folder.folder import RunFolder
folder, end = RunFolder(Path(sys.argv[1])), sys.argv[2]
with tracking.start(folder.path, folder.config()) as tracker:
    for line in folder.log():
        tracker.log_epoch(line)
    if end == "killed":
        os._exit(1)
    if end == "asks":
        print("logged", flush=True)
        sys.stdin.readline()
print("tracked" if tracker._run else "not tracked")
"""
REPORT = """
import sys
from pathlib import Path
from unittest import mock
from benchmark.report.write import write_report
from benchmark.tracking.report import track_report
grid, out = map(Path, sys.argv[1:])
with mock.patch("benchmark.report.write.pictures", lambda section, brief: []):
    written = write_report([grid], out)
print(track_report(written, out))
"""
PATIENT = {"WANDB_INIT_TIMEOUT": "60", "WANDB_FINISH_TIMEOUT": "60", "WANDB_HTTP_TIMEOUT": "60"}
"""Limits for a server that answers, on a machine that may be busy."""
ID = "0123456789-tiny"


def trained_run(grid_folder, seed=1037):
    """A run of three epochs with its weights, which says that it is done but has no slices of test cases."""
    folder = record(grid_folder, "passion", seed=seed)
    (folder.path / "weights.safetensors").write_bytes(b"weights")
    return folder


def finished_run(grid_folder):
    """A run with all that a run folder has."""
    folder = trained_run(grid_folder)
    record_examples(folder)
    header = ",".join(["case", *PHANTOM.modalities])
    (folder.path / "availability.csv").write_text(f"{header}\na,1,0,1,1\nb,1,1,noise-2,0\n")
    return folder


def environment(home, **variables):
    """The environment of a user at home in an empty folder, without a key unless one is given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    own = {"HOME": str(home), "PYTHONPATH": str(Path.cwd()), "MPLCONFIGDIR": mpl.get_cachedir()}
    return {**kept, **own, **variables}


def begin(folder, home, end="finishes", **variables):
    """Start the process, with how it ends."""
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, folder.path, end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        env=environment(home, **variables),
    )


def track(folder, home, end="finishes", **variables):
    """Start the process and wait for it; return its output and its warnings' lines."""
    finish = {"WANDB_FINISH_TIMEOUT": PATIENT["WANDB_FINISH_TIMEOUT"]}  # no server hangs at the end here
    process = begin(folder, home, end, **{**finish, **variables})
    output, errors = process.communicate(timeout=200)
    assert process.returncode == (end == "killed"), errors
    assert list(home.iterdir()) == [], "tracking writes outside the run folder"
    return output, errors.splitlines()


def track_report_apart(grid_folder, out, home, **variables):
    """Write a grid's report without figures and track it, in a process of its own; return what it says."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-c", REPORT, grid_folder, out]
    place = {"cwd": home, "env": environment(home, **variables)}
    return subprocess.run(command, capture_output=True, text=True, check=True, **place).stdout


def inspect(folder, *options):
    """What W&B itself reads in the run's one offline file."""
    (file,) = folder.path.glob("wandb/offline-run-*/*.wandb")
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", *options, "--json", file]
    variables = {**os.environ, "HOME": str(folder.path), "WANDB_ERROR_REPORTING": "false"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=variables).stdout


def records(folder):
    """The offline file's records."""
    return [json.loads(line) for line in inspect(folder).splitlines()]


def epochs(found):
    """The lines of epochs among the records, without W&B's own names."""
    items = [record["history"]["item"] for record in found if record["type"] == "history"]
    ours = [{k: v for k, v in item.items() if not k.startswith("_")} for item in items]
    return [item for item in ours if "loss/total" in item]
