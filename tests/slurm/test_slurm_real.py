"""Grids and studies on a real SLURM of one node with two pretend GPUs, as docs/slurm.md has it."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from docs_page import block
from lone_test_folder import single_test

from benchmark.run_folder.folder import RunFolder

HERE = Path(__file__).parent
SMALL = ["--slurm", "cpus-per-task=1", "--device", "cpu", "--no-track"]
"""What the node of the tests needs beside what the page says."""
GRID = {
    "axes": {"objective": ["passion", "baseline", "kd"]},
    "base": {
        "profile": "ir2468",
        "backbone": {"name": "rfnet", "width": 2},
        "train": {"epochs": 6, "crop": 32, "lr": 0.002},  # a signal after the first comes in time
    },
    "data": {"phantom": {"cases": 5, "size": 32, "seed": 0}},
}
STUDY = {
    "space": {"train.lr": {"low": 0.001, "high": 0.05, "log": True}},
    "base": {"dataset": "phantom", **GRID["base"], "train": {"epochs": 1, "crop": 32, "lr": 0.01}},
    "data": GRID["data"],
    "validation": {"every": 1},
    "pruner": "none",
}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([HERE / "up.sh", folder], stderr=subprocess.PIPE, text=True, check=False)
    if started.returncode == 3:
        pytest.skip(f"no SLURM to test with: {started.stderr.strip()}")
    assert started.returncode == 0, started.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield
        subprocess.run([HERE / "down.sh", folder], check=True)


def start(*arguments, cwd):
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def bench(*arguments, cwd, expect=0):
    """What `bench` prints, on standard output and error."""
    process = start(*arguments, cwd=cwd)
    output = "".join(process.communicate(timeout=600))
    print(f"$ bench {shlex.join(map(str, arguments))}\n{output}")
    assert process.returncode == expect, output
    return output


def slurm(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(condition):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in 300 s")


def page(language="sh"):
    """The commands of the page, without `bench`."""
    lines = block("slurm.md", language).replace("\\\n", "").splitlines()
    commands = [shlex.split(line) for line in lines]
    assert all(program == "bench" for program, *_ in commands)
    return [arguments for _, *arguments in commands]


def job(folder):
    return json.loads((folder.path / "slurm.json").read_text())["job"]


def runs(place):
    """The run folders of a grid by objective."""
    folders = {path.name.split("-")[2]: RunFolder(path) for path in place.glob("phantom-*")}
    assert set(folders) == {"passion", "baseline", "kd"}
    return folders


def test_a_grid_with_a_requeued_run_gives_what_the_local_launcher_gives(cluster, tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(GRID))
    submit, status, again, report = page()
    cores = len(os.sched_getaffinity(0))  # as many workers: each has one thread
    options = ["--device", "cpu", "--workers", cores, "--no-track"]
    bench("run", "--grid", "mine.yaml", "--runs", "local", *options, cwd=tmp_path)

    said = bench(*submit, *SMALL, cwd=tmp_path)
    assert "submitted 2 runs as job" in said
    assert "submitted 1 run as job" in said
    here = runs(tmp_path / "runs" / "mine")
    first = here["passion"]
    until(lambda: first.epochs())
    slurm("scancel", "--signal=USR2", job(first))  # as 3 minutes before its time is over
    until(lambda: "BeginTime" in slurm("squeue", "--noheader", "--array", f"--jobs={job(first)}"))
    assert first.state() == "partial"
    assert (first.path / "checkpoint.pt").exists()
    said = bench(*status, cwd=tmp_path)
    assert f"{job(first)} pending (BeginTime)" in said
    said = bench(*submit, *SMALL, cwd=tmp_path)
    assert "of grid mine in the queue already" in said
    assert "submitted" not in said
    slurm("scontrol", "update", f"jobid={job(first)}", "StartTime=now")  # instead of after two minutes

    said = bench(*again, *SMALL, cwd=tmp_path)
    assert "submitted" not in said
    assert "3 done of grid mine" in said
    log = {name: next((tmp_path / "runs/mine/slurm").glob(f"{job(f)}_0_log.out")) for name, f in here.items()}
    assert "Requeued job" in log["passion"].read_text()
    gpus = {log[name].read_text().partition("GPUs of this job: ")[2][0] for name in ("passion", "baseline")}
    assert gpus == {"0", "1"}
    for name, there in runs(tmp_path / "local" / "mine").items():
        files = [Path("weights.safetensors"), (single_test(there) / "cases.csv").relative_to(there.path)]
        for file in files:
            assert (here[name].path / file).read_bytes() == (there.path / file).read_bytes(), (name, file)
    assert "3 done" in bench(*status, cwd=tmp_path)
    bench(*report, cwd=tmp_path)


def test_a_preempted_run_waits_in_the_queue_and_a_cancelled_one_has_failed(cluster, tmp_path):
    content = {**GRID, "axes": {"objective": ["passion"]}}
    content["base"] = {**GRID["base"], "train": {"epochs": 1000, "crop": 32}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    waiting = start(*page()[2], *SMALL, cwd=tmp_path)
    folder = until(lambda: next((tmp_path / "runs" / "mine").glob("phantom-*"), None))
    run = RunFolder(folder)
    until(run.epochs)
    slurm("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    until(lambda: "BeginTime" in slurm("squeue", "--noheader", "--array", f"--jobs={job(run)}"))
    assert run.state() == "partial"
    assert (run.path / "checkpoint.pt").exists()
    slurm("scancel", job(run))
    output = "".join(waiting.communicate(timeout=600))
    print(output)
    assert waiting.returncode == 1
    assert f"its job {job(run)} is over and it is not done" in output
    assert not slurm("squeue", "--noheader", "--name=bench-mine")


def test_a_study_has_its_trials_from_workers_on_the_cluster(cluster, tmp_path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (command,) = page("sh tuning")
    said = bench(*command, *SMALL, cwd=tmp_path)
    assert "3 trials: 3 complete" in said
    assert (tmp_path / "runs/study/outcome/best.yaml").exists()
    assert len(list((tmp_path / "runs/study/study/slurm").glob("*_submitted.pkl"))) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--slurm", "partition=none"], "sbatch refused the jobs: invalid partition specified: none"),
        (["--slurm", "gres=gpu:9"], "sbatch refused the jobs: Batch job submission failed"),
        (["--slurm", "colour=red"], "sbatch refused the jobs: unrecognized option '--colour=red'"),
    ],
)
def test_what_the_cluster_refuses_is_one_line(cluster, tmp_path, options, says):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(GRID))
    said = bench(
        "run", "--grid", "mine.yaml", "--launcher", "slurm", *options, *SMALL, cwd=tmp_path, expect=2
    )
    _phantom, error = said.splitlines()
    assert says in error
