"""Slots: which run goes where with how many threads, without a GPU in sight."""

from pathlib import Path

import pytest

from bench_errors import InputError
from benchmark.commands.run import _measured, _runs_per_gpu
from benchmark.launch.devices import Slot, make_slots


@pytest.mark.parametrize(
    ("cores", "jobs", "workers", "count", "threads"),
    [(16, 100, None, 16, 1), (16, 3, None, 3, 5), (16, 100, 4, 4, 4), (2, 9, 5, 5, 1), (16, 1, 4, 4, 4)],
)
def test_slots_of_a_cpu(cores, jobs, workers, count, threads):
    assert make_slots("cpu", cores, jobs, workers) == [Slot("cpu", threads)] * count


@pytest.mark.parametrize(
    ("gpus", "each", "visible", "expected", "threads"),
    [
        (None, None, ["0", "1"], ["0", "1"], 8),
        ("1", None, ["0", "1"], ["1"], 16),
        ("0,1", 2, ["4", "7", "8"], ["4", "7", "4", "7"], 4),
        ("1, 0", None, ["GPU-a", "GPU-b"], ["GPU-b", "GPU-a"], 8),
        (None, 20, ["0"], ["0"] * 20, 1),
    ],
)
def test_slots_of_gpus(gpus, each, visible, expected, threads):
    slots = make_slots("cuda", 16, 100, gpus=gpus, runs_per_gpu=each, visible=visible)
    assert [slot.gpu for slot in slots] == expected
    assert {(slot.device, slot.threads) for slot in slots} == {("cuda", threads)}


@pytest.mark.parametrize(
    ("device", "options", "says"),
    [
        ("cpu", {"gpus": "0"}, "--gpus 0 has no effect on a CPU"),
        ("cpu", {"runs_per_gpu": 2}, "--runs-per-gpu 2 has no effect"),
        ("cuda", {"workers": 2}, "use --runs-per-gpu"),
        ("cuda", {"gpus": ""}, "expected numbers"),
        ("cuda", {"gpus": "0,"}, "expected numbers"),
        ("cuda", {"gpus": "-1"}, "expected numbers"),
        ("cuda", {"gpus": "zero"}, "expected numbers"),
        ("cuda", {"gpus": "1,1"}, "names a GPU twice"),
        ("cuda", {"gpus": "0,2"}, "there is no GPU 2, choose among 0, 1"),
    ],
)
def test_wrong_options_are_errors(device, options, says):
    with pytest.raises(InputError, match=says):
        make_slots(device, 4, 4, **options, visible=["0", "1"] if device == "cuda" else None)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "", "auto"])
def test_a_wrong_number_of_runs_is_refused(text):
    with pytest.raises(InputError, match="expected a number of runs, at least 1, or auto"):
        _runs_per_gpu(text)
    assert _runs_per_gpu("3") == 3
    assert _runs_per_gpu(None) is None


def test_how_many_runs_share_a_gpu_is_measured_on_one():
    with pytest.raises(InputError, match="auto has no effect on a CPU"):
        _measured(None, Path("runs"), {}, "cpu", resident=False)


def test_the_environment_of_a_slot():
    assert Slot("cuda", 4, "7").environment() == {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "7"}
    assert Slot("cpu", 2).environment() == {"OMP_NUM_THREADS": "2"}
