"""What befalls a run from outside, and what comes of it: as docs/faults.md says."""

import errno
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import yaml
from bench_program import bench
from safetensors.torch import save_file

import bench_lease
from bench_errors import InputError
from bench_lease import SILENT_SECONDS, LeaseLost, Owner
from benchmark.config.grid import load_grid
from benchmark.config.run_config import read_config
from benchmark.launch.execute_grid import begin_run
from benchmark.run_folder.checkpoint import load_checkpoint, save_checkpoint
from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.folder import RunFolder, run_folders
from benchmark.training import run
from benchmark.training.build import build_backbone, initial_backbone
from benchmark.training.inputs import Inputs
from datasets.phantom.study import write_study
from datasets.preparation.prepare import prepare, update_store
from datasets.store.store import Store
from datasets.studies.names import DATASETS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, 6, 32, 0)
    return folder


@pytest.fixture
def store(study, tmp_path):
    return prepare(study, DATASETS.get("phantom"), tmp_path / "store")


@pytest.fixture
def grid(tmp_path):
    base = {"profile": "ir2468", "backbone": {"width": 2}, "train": {"epochs": 1, "crop": 32}}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"axes": {"objective": ["baseline"]}, "base": base}))
    return load_grid(str(tmp_path / "one.yaml"))


def begin(grid, runs, store):
    return begin_run(grid.name, Inputs.of(grid.configs[0], store), grid.configs, runs)


@pytest.fixture
def begun(grid, store, tmp_path):
    return begin(grid, tmp_path / "runs", store)


def work(monkeypatch, does):
    """Let a run do this and be done."""

    def train_and_test(folder, *_):
        does(folder)
        finish(folder)

    monkeypatch.setattr(run, "_train_and_test", train_and_test)


def finish(folder):
    folder.mark_trained()
    for test in folder.tests():
        test.mark_done()


def execute(folder, store):
    return run.execute(folder, run.Execution(store.path, "cpu", 1, track=False))


def sessions(folder):
    return [json.loads(line)["event"] for line in (folder.path / "sessions.jsonl").read_text().splitlines()]


@contextmanager
def mounted(*options, at):
    """Mount a file system, which only root can."""
    at.mkdir(exist_ok=True)
    command = ["mount", *map(str, options), str(at)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: that takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_fails_the_run_and_keeps_its_checkpoint(begun, store, monkeypatch):
    def train(folder):
        done = load_checkpoint(folder, CPU)
        for epoch in range(done["epoch"] + 1 if done else 1, 4):
            with monkeypatch.context() as patched:
                if epoch == 3 and full:
                    patched.setattr(os, "fsync", no_space)
                save_checkpoint(folder, {"epoch": epoch, "weights": torch.zeros(2)})

    work(monkeypatch, train)
    full = True
    with pytest.raises(OSError, match="No space left"):
        execute(begun, store)
    assert begun.state() == "failed"
    assert begun.reason() == (
        "disk full: [Errno 28] No space left on device: free space and run the grid again, it goes on from "
        "the last checkpoint"
    )
    assert load_checkpoint(begun, CPU)["epoch"] == 2
    assert [p.name for p in begun.path.iterdir() if p.name.startswith(".")] == []
    full = False
    assert execute(begun, store)
    assert (begun.state(), load_checkpoint(begun, CPU)["epoch"]) == ("done", 3)
    assert sessions(begun) == ["begun", "failed", "begun", "done"]


def test_where_even_the_reason_finds_no_space_it_is_printed(begun, monkeypatch, capsys):
    monkeypatch.setattr(os, "fsync", no_space)
    begun.mark_failed("disk full: a checkpoint")
    assert "disk full: a checkpoint (not recorded: No space left on device)" in capsys.readouterr().err
    assert begun.state() == "partial"


def test_a_disk_that_is_really_full(begun, tmp_path):
    disk = tmp_path / "disk"
    with mounted("-t", "tmpfs", "-o", "size=256k", "tmpfs", at=disk):
        folder = RunFolder(disk / "run")
        shutil.copytree(begun.path, folder.path)
        save_checkpoint(folder, {"epoch": 1, "weights": torch.zeros(10_000)})
        before = (folder.path / "checkpoint.pt").read_bytes()
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(folder, {"epoch": 2, "weights": torch.zeros(90_000)})
        assert (folder.path / "checkpoint.pt").read_bytes() == before
        folder.mark_failed("disk full")  # in the space that the half-written file has given back
        assert folder.state() == "failed"
        assert load_checkpoint(folder, CPU)["epoch"] == 1


def test_a_read_only_run_is_refused_before_anything_starts_and_a_finished_one_is_read(
    begun, grid, store, tmp_path
):
    runs = tmp_path / "runs"
    with mounted("--bind", runs, at=runs):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(runs)], check=True)
        with pytest.raises(InputError, match="cannot be written, and the run in it is not done"):
            begin(grid, runs, store)
        with pytest.raises(InputError, match="make it writable"):
            execute(begun, store)
        result = bench("status", "--grid", tmp_path / "one.yaml", "--runs", runs)
        assert "1 partial" in result.stdout
    finish(begun)
    with mounted("--bind", runs, at=runs):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(runs)], check=True)
        assert execute(begun, store)
        result = bench("run", "--grid", tmp_path / "one.yaml", "--runs", runs, "--no-track")
        assert (result.returncode, "1 done" in result.stderr) == (0, True)


def test_a_folder_that_becomes_read_only_keeps_its_checkpoint(begun, store, monkeypatch, capsys):
    def train(folder):
        save_checkpoint(folder, {"epoch": 1, "weights": torch.zeros(2)})
        monkeypatch.setattr(os, "fsync", read_only)
        save_checkpoint(folder, {"epoch": 2, "weights": torch.zeros(2)})

    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    work(monkeypatch, train)
    with pytest.raises(OSError, match="Read-only"):
        execute(begun, store)
    assert load_checkpoint(begun, CPU)["epoch"] == 1
    assert "OSError: [Errno 30] Read-only file system (not recorded" in capsys.readouterr().err


def test_a_run_does_not_go_on_with_other_data(begun, grid, study, store, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(study, fewer)
    shutil.rmtree(sorted(path for path in fewer.iterdir() if path.is_dir())[0])
    update_store(fewer, DATASETS.get("phantom"), store.path)
    with pytest.raises(InputError, match=r"was begun with data .* now the store .* has"):
        begin(grid, tmp_path / "runs", Store.open(store.path))
    with pytest.raises(InputError, match="was begun with data"):
        execute(begun, store)
    assert begun.state() == "failed"


def test_what_bench_evaluate_has_left_undone_is_not_done_on_the_data_of_the_run(begun, store, monkeypatch):
    begun.mark_trained()
    begun.test("on-elsewhere").begin({"test": {}, "evaluated": {}})
    monkeypatch.setattr(run, "load_weights", lambda folder: made.state_dict())
    monkeypatch.setattr(run, "_test", lambda test, *_: tested.append(test.path.name))
    made = build_backbone(read_config(begun.config()["config"], ""), store.description)
    tested = []
    assert execute(begun, store)
    assert len(tested) == 1
    assert "on-elsewhere" not in tested


def test_the_kernels_of_a_test_do_not_depend_on_whether_the_session_has_trained(
    grid, store, tmp_path, monkeypatch
):
    config = grid.configs[0]
    compiled = config.model_copy(update={"train": config.train.model_copy(update={"compile": True})})
    begun = begin(replace(grid, configs=(compiled,)), tmp_path / "runs", store)
    tested = []
    monkeypatch.setattr(run, "model_size", lambda *_: {})
    monkeypatch.setattr(run, "train", lambda training, *_: tested.append(training.backbone))
    monkeypatch.setattr(run, "_test", lambda test, inputs, backbone, *_: tested.append(backbone))
    for _ in range(2):  # trains and tests, then tests alone
        execute(begun, store)
    is_compiled = [any(m._compiled_call_impl for m in backbone.modules()) for backbone in tested]
    assert is_compiled == [True, False, False]
    first, second = (backbone.state_dict() for backbone in tested[:2])
    assert all(value.equal(second[name]) for name, value in first.items())


@pytest.mark.parametrize("change", ["voxels", "time", "gone"])
def test_data_that_change_while_a_run_reads_them(begun, store, monkeypatch, change):
    case = store.cases[2]
    (file,) = store.path.glob(f"{case}/*/volumes.b2nd")

    def train(folder):
        save_checkpoint(folder, {"epoch": 1, "weights": torch.zeros(2)})
        (folder.path / "degraded").mkdir()
        if change == "voxels":
            file.write_bytes(file.read_bytes()[:-1] + b"x")
        if change == "time":  # copied there again, say
            os.utime(file, (0, 0))
        if change == "gone":
            file.unlink()
            store.volumes(case)

    work(monkeypatch, train)
    if change == "time":
        assert execute(begun, store)
        assert begun.state() == "done"
        return
    message = f"changed while the run read it \\({case}\\)" if change == "voxels" else "cannot be read"
    with pytest.raises(InputError, match=message):
        execute(begun, store)
    assert begun.state() == "failed"
    # What was learnt from data that nobody knows is worth nothing; what was before some vanished is.
    assert (load_checkpoint(begun, CPU) is None) == (change == "voxels")
    assert (begun.path / "degraded").exists() == (change != "voxels")


def test_a_run_copied_to_another_machine_goes_on_there(begun, store, monkeypatch, tmp_path):
    """With its lease, as if its machine still had it, and to another path."""
    save_checkpoint(begun, {"epoch": 1, "weights": torch.zeros(2)})
    owner = replace(Owner.this_process(), host="elsewhere", boot="another")
    (begun.path / "holder").mkdir()
    (begun.path / "holder" / owner.token).write_text(json.dumps(vars(owner)))
    copy = RunFolder(tmp_path / "other" / "machine" / begun.path.name)
    shutil.copytree(begun.path, copy.path)
    assert str(tmp_path) not in (copy.path / "config.yaml").read_text()
    assert copy.state() == "running"

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    monkeypatch.setattr(bench_lease, "time", clock := Clock())
    work(monkeypatch, lambda folder: save_checkpoint(folder, {**load_checkpoint(folder, CPU), "epoch": 2}))
    assert execute(copy, store)
    assert clock.now > SILENT_SECONDS
    assert (copy.state(), begun.state()) == ("done", "running")
    assert load_checkpoint(copy, CPU)["epoch"] == 2
    assert [folder.path for folder in run_folders(tmp_path / "other" / "machine")] == [copy.path]


def test_a_run_goes_on_where_the_weights_that_it_starts_from_lie_elsewhere_now(grid, store, tmp_path):
    def named(folder):
        content = yaml.safe_load((tmp_path / "one.yaml").read_text())
        content["base"]["train"]["init"] = str(folder / "mine.safetensors")
        (tmp_path / "one.yaml").write_text(yaml.safe_dump(content))
        return load_grid(str(tmp_path / "one.yaml"))

    def start(folder):
        recorded = run.read_inputs(folder, store.path).config
        return initial_backbone(recorded, store.description)

    before, now = tmp_path / "before", tmp_path / "now"
    before.mkdir()
    weights = build_backbone(grid.configs[0], store.description).state_dict()
    save_file(weights, before / "mine.safetensors")
    begun = begin(named(before), tmp_path / "runs", store)
    recorded = begun.config()
    before.rename(now)
    with begun.lease() as mine:
        assert mine
        assert begin(named(now), tmp_path / "runs", store) == begun
        assert begun.config() == recorded
    with pytest.raises(InputError, match="does not exist"):
        start(begun)
    assert begin(named(now), tmp_path / "runs", store) == begun
    assert all(value.equal(weights[name]) for name, value in start(begun).state_dict().items())
    init = recorded["config"]["train"]["init"]
    recorded["config"]["train"]["init"] = init.replace(str(before), str(now))
    assert begun.config() == recorded


def test_a_process_that_was_away_for_too_long_does_no_harm(begun, store, monkeypatch, capsys):
    def wake_up(folder):
        save_checkpoint(folder, {"epoch": 1, "weights": torch.zeros(2)})
        (mine,) = (folder.path / "holder").iterdir()
        mine.unlink()
        other = replace(Owner.this_process(), host="elsewhere", boot="another")
        (folder.path / "holder" / other.token).write_text(json.dumps(vars(other)))
        with pytest.raises(LeaseLost):
            write_atomically(folder.path / "cases.csv", b"late")
        save_checkpoint(folder, {"epoch": 0, "weights": torch.zeros(2)})

    work(monkeypatch, wake_up)
    assert not execute(begun, store)
    assert "taken over by another process" in capsys.readouterr().out
    assert load_checkpoint(begun, CPU)["epoch"] == 1
    assert (begun.state(), begun.reason(), sessions(begun)) == ("running", "", ["begun"])
    assert str(begun.holder()) == f"pid {os.getpid()} on elsewhere"
    assert not (begun.path / "cases.csv").exists()
