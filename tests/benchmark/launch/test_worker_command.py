"""What a launcher starts, and in which order."""

import os
import sys
from pathlib import Path

import pytest

from bench_errors import InputError
from benchmark.launch.devices import Slot
from benchmark.launch.execute_grid import Launch
from benchmark.launch.worker_command import Job, longest_first, worker_command
from benchmark.run_folder.folder import RunFolder
from passion_bench import ROOMS


def job(name, work, teacher=None):
    return Job(
        RunFolder(Path(name)), Path("store"), 1, 1, (RunFolder(Path(teacher)),) if teacher else (), work
    )


def test_command_and_environment_of_a_worker(monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)  # which the test command sets
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    command, variables = worker_command(job("run", 1), Slot("cuda", 3, "5"), track=False)
    words = "-m benchmark.training.run run --store store --device cuda --threads 3 --no-track"
    assert command == [sys.executable, *words.split()]
    assert variables["PYTHONPATH"].split(os.pathsep)[0] == ROOMS
    assert variables["CUDA_VISIBLE_DEVICES"] == "5"
    assert variables["OMP_NUM_THREADS"] == "3"
    assert "MALLOC_MMAP_THRESHOLD_" in variables
    assert "MALLOC_TRIM_THRESHOLD_" not in variables, "the user's own setting stays"


def test_a_worker_is_told_to_keep_to_its_gpu():
    command, _ = worker_command(job("run", 1), Slot("cuda", 3, "5", resident=0.15), track=True)
    assert command[command.index("--resident") + 1] == "0.15"
    with pytest.raises(InputError, match="--resident has no effect on a CPU"):
        Launch("cpu", workers=1, resident=True).slots(1)


def test_runs_of_a_gpu_share_the_memory_that_studies_may_take(monkeypatch):
    monkeypatch.setattr("benchmark.launch.execute_grid.available_slots", lambda *_: [Slot("cuda", 1)] * 2)
    assert [slot.resident for slot in Launch("cuda", runs_per_gpu=2, resident=True).slots(2)] == [0.15] * 2
    assert [slot.resident for slot in Launch("cuda", runs_per_gpu=2).slots(2)] == [0.0] * 2


@pytest.mark.parametrize(
    ("jobs", "order"),
    [
        ([("a", 1), ("b", 3), ("c", 2)], "bca"),
        ([("a", 1), ("b", 1)], "ab"),
        ([("student", 4, "teacher"), ("other", 5), ("teacher", 2)], ["teacher", "other", "student"]),
    ],
)
def test_the_longest_go_first_and_a_teacher_counts_with_its_student(jobs, order):
    assert [j.folder.path.name for j in longest_first([job(*j) for j in jobs])] == list(order)
