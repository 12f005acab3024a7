"""Being told to stop, and telling others: ``with StopRequests() as asked: ... stop(processes)``."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from benchmark.training.exit_codes import SIGNALS

POLL_SECONDS = 0.1
STOP_SECONDS = 120.0
"""How long workers have to end the step they are at and write a checkpoint; then they are killed."""


class StopRequests:
    """Counts the `SIGNALS` while it is entered; a signal that was ignored before stays ignored.

    Counted rather than raised, so that no worker is lost between its start and the list that it stands in.
    Only of Ctrl-C does a second one count: SLURM may send several signals to a job that it ends.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> "StopRequests":
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT or not self.count:
            self.count += 1


def stop(processes: "list[subprocess.Popen[bytes]]", at_once: Callable[[], bool] = lambda: False) -> None:
    """Ask processes to end by SIGTERM, and kill those that do not within `STOP_SECONDS`.

    Args:
        processes: each started in a session of its own; whatever they have started ends with them.
        at_once: asked again and again; True: kill now.
    """
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while any(process.poll() is None for process in processes):
        if at_once() or time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    for process in processes:
        kill_group(process)
    for process in processes:
        process.wait()


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill what stands in the session that a process leads, also when it has ended itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
