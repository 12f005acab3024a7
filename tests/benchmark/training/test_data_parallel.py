"""A run on two devices: the numbers of one device with the same batches, for every objective, on the CPU."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from torch import distributed as dist
from typer.testing import CliRunner

import passion
from bench_errors import InputError
from benchmark.commands.app import app
from benchmark.config.run_config import RunConfig
from benchmark.launch.devices import Slot, make_slots
from benchmark.run_folder.folder import RunFolder
from benchmark.training import train as training
from benchmark.training.data_parallel import ALONE, Team, check_team
from datasets.batches.loader import Loader
from datasets.missingness.availability import availability
from datasets.phantom.study import write_study
from datasets.preparation.prepare import prepare
from datasets.studies.names import DATASETS
from passion import OBJECTIVES
from passion.check import equal_states
from passion.objective import Objective
from tests.tiny_networks import trained_by

SHARED = [name for name in OBJECTIVES if OBJECTIVES.get(name).backward is Objective.backward]
CASES, BATCH, EPOCHS = 3, 2, 2
"""The last batch of an epoch has a single case, so that the second device has none for it."""


class Doubles(Loader):
    """Batches in double precision: sums in another order differ by nothing that training enlarges."""

    def batches(self, *asked):
        for batch in super().batches(*asked):
            yield replace(batch, volumes=batch.volumes.double())


def train_all(store, folder, team):
    """Train every objective on this process's part of the batches; return what each came to."""
    torch.set_num_threads(1)
    found = {}
    for name in SHARED:
        config = RunConfig.model_validate(
            {
                "objective": {"name": name},
                "train": {"epochs": EPOCHS, "lr": 0.01, "crop": 16, "batch_size": BATCH},
            }
        )
        cases = store.cases[:CASES]
        table = availability("mr2468", cases, store.description)
        loader = Doubles(store, cases, table, crop=16, batch_size=BATCH, part=(team.rank, team.size))
        torch.manual_seed(7)
        teacher = trained_by("kd", 4, 4).double()
        counts = loader.units_per_modality()
        facts = {"subsets": loader.masks(), "epochs": EPOCHS}
        objective = passion.create(config.objective, 4, 4, counts, CASES, BATCH, teacher, **facts)
        torch.manual_seed(1)
        net = trained_by(name, 4, 4).double()
        run = RunFolder(folder / name)
        if team.leads:
            run.write_config({})
        training.train(training.Training(config, net, objective, loader, torch.device("cpu"), team), run)
        log = run.log() if team.leads else None
        found[name] = (net.state_dict(), objective.state_dict(), log)
    return found


def member(rank, store, folder, queue):
    rendezvous = dist.FileStore(str(folder / "rendezvous"), 2)
    dist.init_process_group("gloo", store=rendezvous, rank=rank, world_size=2)
    found = train_all(store, folder, Team(rank, 2, torch.device("cpu")))
    path = folder / f"found{rank}.pt"
    torch.save(found, path)
    queue.put(rank)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder / "study", CASES, 32, 0, "brats")
    return prepare(folder / "study", DATASETS.get("phantom"), folder / "store")


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """What each objective comes to with one device, and on both of two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    members = [context.Process(target=member, args=(rank, store, two, queue)) for rank in range(2)]
    for process in members:
        process.start()
    alone = train_all(store, one, ALONE)
    for process in members:
        process.join()
        assert process.exitcode == 0
    return alone, *(torch.load(two / f"found{rank}.pt", weights_only=False) for rank in range(2))


@pytest.mark.long
@pytest.mark.parametrize("name", SHARED)
def test_two_devices_are_one(name, trained):
    (weights, learnt, log), (first, learnt_of_two, log_of_two), (second, learnt_too, _) = (
        part[name] for part in trained
    )
    assert equal_states(dict(first), dict(second))
    assert equal_states(learnt_of_two, learnt_too)
    torch.testing.assert_close(learnt_of_two, learnt, rtol=1e-5, atol=1e-8, equal_nan=True)
    for line, line_of_two in zip(log, log_of_two, strict=True):
        for part in ("loss", "modality"):  # with them PASSION's preferences and beta
            np.testing.assert_allclose(numbers(line[part]), numbers(line_of_two[part]), rtol=1e-5, atol=1e-8)
    for key, value in weights.items():
        if not key.endswith("bias"):  # of those before a norm the gradient is 0, and its rounded sign random
            torch.testing.assert_close(first[key], value, rtol=1e-4, atol=1e-6)


def numbers(tree):
    return [x for value in tree.values() for x in (numbers(value) if isinstance(value, dict) else [value])]


def test_what_two_devices_cannot_share():
    for name in set(OBJECTIVES) - set(SHARED):
        with pytest.raises(InputError, match="use one device"):
            check_team(2, 2, name, OBJECTIVES.get(name))
    with pytest.raises(InputError, match="batch_size is 1"):
        check_team(2, 1, "passion", OBJECTIVES.get("passion"))


def test_slots_of_several_devices():
    assert make_slots("cpu", 16, 100, devices=4) == [Slot("cpu", 1, devices=4)] * 4
    gpus = make_slots("cuda", 16, 100, visible=["0", "1", "2", "3"], devices=2)
    assert gpus == [Slot("cuda", 4, "0,1", 2), Slot("cuda", 4, "2,3", 2)]
    with pytest.raises(InputError, match="3 GPUs cannot be shared out"):
        make_slots("cuda", 4, 4, visible=["0", "1", "2"], devices=2)
    with pytest.raises(InputError, match="leave out --runs-per-gpu 2"):
        make_slots("cuda", 4, 4, runs_per_gpu=2, visible=["0", "1"], devices=2)


GRID = """\
axes: {objective: [passion]}
base: {backbone: {name: rfnet, width: 2}, train: {epochs: 2, crop: 16, batch_size: 2}}
data: {phantom: {cases: 6, size: 32, seed: 0}}
"""


@pytest.mark.long
def test_a_run_on_two_devices_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair.yaml").write_text(GRID)
    start = ["run", "--grid", "pair.yaml", "--no-track", "--device", "cpu"]
    refused = CliRunner().invoke(app, [*start, "--devices", "2", "--set", "train.batch_size=1"])
    assert isinstance(refused.exception, InputError) or "train.batch_size is 1" in refused.output
    losses = {}
    for devices, runs in (("1", "one"), ("2", "two")):
        command = [
            sys.executable,
            "-m",
            "benchmark",
            *start,
            "--devices",
            devices,
            "--runs",
            runs,
        ]
        subprocess.run([*command, "--workers", "1"], check=True)
        (folder,) = (tmp_path / runs / "pair").glob("phantom-*")
        assert (folder / "done").exists()
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        losses[devices] = [line["loss"]["total"] for line in lines]
        assert RunFolder(folder).environments()[0]["devices"] == int(devices)
        assert "devices" not in yaml.safe_load((folder / "config.yaml").read_text())["config"]
    np.testing.assert_allclose(losses["1"], losses["2"], rtol=1e-3)


@pytest.mark.long
def test_a_run_whose_second_process_dies_fails_and_is_retried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair.yaml").write_text(GRID.replace("epochs: 2", "epochs: 40"))
    command = [sys.executable, "-m", "benchmark", "run", "--grid", "pair.yaml", "--no-track"]
    command += ["--device", "cpu", "--devices", "2", "--workers", "1", "--retries", "1"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while not (logs := [log for log in tmp_path.glob("runs/pair/*/log.jsonl") if log.stat().st_size]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    pattern = f"{logs[0].parent.name}.*--follow"
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    assert process.wait(timeout=300) == 0
    assert (logs[0].parent / "done").exists()
    assert "retry 1 of 1" in (logs[0].parent / "output.txt").read_text()
