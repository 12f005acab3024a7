"""The whole path in one go: the smoke grid from nothing to a report, launched twice, broken and killed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from bench_program import bench
from lone_test_folder import single_test

from benchmark.config.run_config import read_config
from benchmark.evaluation.example_slices import ROLES, load
from benchmark.run_folder.case_rows import read_rows, write_rows
from benchmark.run_folder.folder import RunFolder, run_folders


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    result = bench("run", "--grid", "smoke", "--runs", runs, "--device", "cpu")
    assert result.returncode == 0, result.stderr
    return runs


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_run_is_done_and_whole(smoke):
    folders = run_folders(smoke / "smoke")
    assert [f.state() for f in folders] == ["done", "done"]
    for folder in folders:
        conditions = folder.config()
        cases = pd.read_csv(single_test(folder) / "cases.csv")
        tested = conditions["data"]["cases"]["test"]
        regions = [r["name"] for r in conditions["dataset"]["regions"]]
        assert len(cases) == tested * 15 * len(regions) * 2
        assert cases.subset.nunique() == 15
        assert cases.value.notna().all()
        assert set(cases.policy) == {"passion"}
        assert [line["epoch"] for line in folder.log()] == [0, 1]
        assert set(folder.log()[0]["modality"]) == {"flair", "t1ce", "t1", "t2"}
        examples = load(single_test(folder) / "examples.npz")
        assert {role for example in examples for role in example.roles} == set(ROLES)
        assert {len(example.predictions) for example in examples} == {15}
        assert all(example.label.any() and example.volumes.any(axis=(1, 2)).all() for example in examples)
        (environment,) = folder.environments()
        assert (environment["precision"], environment["tf32"]) == ("fp32", False)
        assert set(json.loads((folder.path / "model.json").read_text())) == {"parameters", "gflops"}


def test_second_launch_changes_nothing(smoke):
    before = contents(smoke / "smoke")
    result = bench("run", "--grid", "smoke", "--runs", smoke, "--device", "cpu")
    assert result.returncode == 0
    assert contents(smoke / "smoke") == before
    assert "2 done" in bench("status", "--grid", "smoke", "--runs", smoke).stdout


def test_report(smoke, tmp_path):
    result = bench("report", "--grid", "smoke", "--runs", smoke, "--out", tmp_path / "report")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "report" / "report.md").read_text()
    assert "PASSION" in text
    assert "WT" in text


def start_run(folder, store):
    command = [
        sys.executable,
        "-m",
        "benchmark.training.run",
        folder,
        "--store",
        store,
        "--threads",
        "1",
        "--no-track",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fresh_copy(done, to, epochs):
    """A run folder like `done`, not begun yet, with other epochs."""
    content = done.config()
    content["config"]["train"]["epochs"] = epochs
    content["hash"] = content["identity"]["options"] = read_config(content["config"], "run").hash
    folder = RunFolder(to)
    folder.write_config(content)
    for test in done.tests():
        folder.test(test.path.name).begin(test.settings())
    return folder


def test_an_edited_configuration_is_refused(smoke, tmp_path):
    folder = fresh_copy(run_folders(smoke / "smoke")[1], tmp_path / "edited", 3)
    content = folder.config()
    content["config"]["train"]["lr"] = 0.9
    folder.write_config(content)
    assert start_run(folder.path, smoke / "smoke" / "data" / "phantom").wait() == 2
    assert "it was edited" in folder.reason()
    assert folder.epochs() == 0


@pytest.mark.long
def test_killed_run_goes_on_to_the_same_result(smoke, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = run_folders(smoke / "smoke")[1]
    store = smoke / "smoke" / "data" / "phantom"
    folder = RunFolder(tmp_path / "killed")
    shutil.copytree(done.path, folder.path)
    folder.forget_results()
    process = start_run(folder.path, store)
    deadline = time.monotonic() + 60
    while len(folder.log()) < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert start_run(folder.path, store).wait() == 0
    whole = RunFolder(tmp_path / "whole")
    shutil.copytree(folder.path, whole.path)
    whole.forget_results()
    assert start_run(whole.path, store).wait() == 0
    assert results(folder) == results(whole)
    # Killed in testing, after the first case: its slices are gone and have to be made again.
    test = single_test(whole)
    rows = read_rows(test / "cases.csv")
    write_rows(test / "cases.csv", [row for row in rows if row.case == rows[0].case])
    for name in ("done", "examples.npz"):
        (test / name).unlink()
    assert whole.state() == "partial"
    assert start_run(whole.path, store).wait() == 0
    assert results(folder) == results(whole)


def results(folder):
    """What a run comes to, to the byte."""
    files = [single_test(folder) / "cases.csv", single_test(folder) / "examples.npz"]
    return [path.read_bytes() for path in (*files, folder.path / "weights.safetensors")]


def start_eager(folder, store):
    """A worker that writes a checkpoint after each step, so that kills fall into the writing as well."""
    command = [sys.executable, "-m", "benchmark.training.run", folder, "--store", store, "--threads", "1"]
    command += ["--no-track", "--checkpoint-seconds", "0"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_until_begun(process, folder):
    """Return once the worker has passed its imports, which a kill would tell nothing about."""
    before = len(folder.sessions())
    while [line["event"] for line in folder.sessions()[before:]].count("computing") == 0:
        assert process.poll() is None
        time.sleep(0.02)


def without_timing(folder):
    return [{k: v for k, v in line.items() if k != "timing"} for line in folder.log()]


@pytest.mark.long
def test_killed_at_random_moments_it_ends_in_the_same_bits(smoke, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = run_folders(smoke / "smoke")[1]
    store = smoke / "smoke" / "data" / "phantom"
    whole = fresh_copy(done, tmp_path / "whole", 4)
    process = start_eager(whole.path, store)
    wait_until_begun(process, whole)
    began = time.monotonic()
    assert process.wait() == 0
    length = time.monotonic() - began
    kills, draw, killed, number = 8, random.Random(1037), 0, 0
    while killed < kills:
        folder = fresh_copy(done, tmp_path / f"killed-{number}", 4)
        number += 1
        while killed < kills and folder.state() != "done":
            process = start_eager(folder.path, store)
            wait_until_begun(process, folder)
            try:
                assert process.wait(draw.uniform(0, length / 2)) == 0
            except subprocess.TimeoutExpired:
                process.kill()
                killed += process.wait() == -signal.SIGKILL
        if folder.state() != "done":
            assert start_eager(folder.path, store).wait() == 0
        assert without_timing(folder) == without_timing(whole)
        assert results(folder) == results(whole), number


def test_a_stopped_worker_writes_a_checkpoint(smoke, tmp_path):
    folder = fresh_copy(run_folders(smoke / "smoke")[1], tmp_path / "stopped", 50)
    process = start_run(folder.path, smoke / "smoke" / "data" / "phantom")
    wait_until_begun(process, folder)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 130
    assert (folder.path / "checkpoint.pt").exists()
    assert folder.state() == "partial"


@pytest.mark.long
def test_poor_quality_in_training_and_testing(smoke, tmp_path):
    profile = tmp_path / "poor.yaml"
    profile.write_text("base: ir2468\ndegrade: [{kind: noise, severity: 2, share: 0.5}]\n")
    grid = tmp_path / "quality.yaml"
    content = {
        "axes": {"test.outside": ["slab-3"]},
        "base": {
            "profile": str(profile),
            "objective": {"name": "baseline"},
            "backbone": {"width": 2},
            "train": {"epochs": 1, "crop": 32},
        },
    }
    grid.write_text(yaml.safe_dump(content))
    store = smoke / "smoke" / "data" / "phantom"
    arguments = ["--grid", grid, "--runs", tmp_path / "runs"]
    result = bench("run", *arguments, "--device", "cpu", "--no-track", "--store", f"phantom={store}")
    assert result.returncode == 0, result.stderr
    (folder,) = run_folders(tmp_path / "runs" / "quality")
    assert not (folder.path / "degraded").exists()
    conditions = folder.config()
    assert folder.tests()[0].settings()["test"]["outside"] == "slab-3"
    assert conditions["data"]["availability"]["definition"]["base"] == "ir2468"
    assert conditions["data"]["availability"]["degraded"]
    assert pd.read_csv(single_test(folder) / "cases.csv").value.notna().all()
    # Another content at the same path is another run.
    profile.write_text(profile.read_text().replace("0.5", "0.6"))
    assert "1 absent" in bench("status", *arguments).stdout


@pytest.mark.long
def test_failed_run_leaves_its_reason_and_the_rest_goes_on(smoke, tmp_path):
    grid = tmp_path / "broken.yaml"
    grid.write_text(
        yaml.safe_dump(
            {
                "axes": {"train.lr": [1e30, 0.001]},
                "base": {
                    "objective": {"name": "baseline"},
                    "backbone": {"width": 2},
                    "train": {"epochs": 1, "crop": 32},
                },
            }
        )
    )
    store = smoke / "smoke" / "data" / "phantom"
    arguments = ["--grid", grid, "--runs", tmp_path / "runs", "--device", "cpu", "--no-track"]
    result = bench("run", *arguments, "--store", f"phantom={store}")
    states = {f.state(): f.reason() for f in run_folders(tmp_path / "runs" / "broken")}
    assert result.returncode == 1, result.stderr
    assert set(states) == {"failed", "done"}
    assert "the loss is nan" in states["failed"]
    assert "the loss is nan" in bench("status", "--grid", grid, "--runs", tmp_path / "runs").stdout


@pytest.mark.long
def test_an_exported_run_is_a_run_elsewhere(smoke, tmp_path):
    """Unpacked on another machine it can be shown, compared, reported and predicted with."""
    run = run_folders(smoke / "smoke")[0].path
    archive = tmp_path / "shared.tar.gz"
    assert bench("export", run, "--out", archive).returncode == 0
    subprocess.run(["tar", "xzf", archive, "-C", tmp_path], check=True)
    unpacked = tmp_path / "smoke" / run.name
    assert not (unpacked / "checkpoint.pt").exists()
    assert bench("show", unpacked).stdout.replace(str(tmp_path), str(smoke)) == bench("show", run).stdout
    compared = bench("compare", run, unpacked)
    assert compared.returncode == 0, compared.stderr
    result = bench("report", "--grid", "smoke", "--runs", tmp_path, "--out", tmp_path / "report")
    assert result.returncode == 0, result.stderr
    study = tmp_path / "study"
    assert bench("data", "phantom", "--out", study, "--cases", 1, "--size", 32).returncode == 0
    for folder, out in ((run, "here"), (unpacked, "there")):
        result = bench("predict", folder, "--study", study, "--out", tmp_path / out, "--device", "cpu")
        assert result.returncode == 0, result.stderr
    (here,), (there,) = ((tmp_path / out).glob("*.nii.gz") for out in ("here", "there"))
    assert here.read_bytes() == there.read_bytes()
