"""Why a run stopped: one line, with memory that ran out named as such."""

import signal

import pytest
import torch

from bench_errors import InputError
from benchmark.run_folder import reasons
from benchmark.run_folder.reasons import error_reason, exit_reason, memory_kills


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("found a,\n expected b"), "found a, expected b"),
        (ValueError("no\nway"), "ValueError: no way"),
        (MemoryError(), "out of memory: MemoryError"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory: CUDA out of memory. Tried"),
        (RuntimeError("CUDA error: out of memory"), "out of memory: CUDA error: out of memory"),
        (RuntimeError("a shape does not fit"), "RuntimeError: a shape does not fit"),
        (ValueError("out of memory of man"), "ValueError: out of memory of man"),
    ],
)
def test_reason_of_an_exception(error, reason):
    assert error_reason(error) == reason


def test_what_torch_says_when_the_memory_of_the_cpu_is_at_its_end():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert error_reason(caught.value).startswith("out of memory: ")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (3, "the worker ended with exit code 3: see output.txt"),
        (-signal.SIGSEGV, "the worker was killed by SIGSEGV"),
        (-(signal.SIGRTMIN + 1), f"the worker was killed by signal {signal.SIGRTMIN + 1}"),
        (-signal.SIGKILL, "out of memory: the system killed the worker by SIGKILL"),
    ],
)
def test_reason_of_an_exit_code(monkeypatch, tmp_path, code, reason):
    counter = tmp_path / "vmstat"
    counter.write_text("pgfault 7\noom_kill 2\noom_kill_other 9\n")
    monkeypatch.setattr(reasons, "_COUNTERS", (counter, tmp_path / "nothing"))
    before = memory_kills()
    assert before == 2
    counter.write_text("pgfault 8\noom_kill 3\n")
    assert exit_reason(code, "output.txt", before) == reason
    assert exit_reason(-signal.SIGKILL, "output.txt", 3) == "the worker was killed by SIGKILL"
