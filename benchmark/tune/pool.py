"""Worker processes of a study on this machine: ``pool = Pool(arguments, outputs, slots); pool.fill(2)``.

Each has a slot (its threads, its GPU) and writes what it prints into a file of its own.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark.launch.devices import Slot
from benchmark.launch.stopping import kill_group, stop
from benchmark.launch.worker_command import process_variables


def worker_command(arguments: Sequence[str], slot: Slot) -> tuple[list[str], dict[str, str]]:
    """Return the command of a worker, and the variables to set beside those of the environment."""
    command = [sys.executable, "-m", "benchmark.tune.worker", *arguments]
    command += ["--device", slot.device, "--threads", str(slot.threads)]
    return command, {**process_variables(), **slot.environment()}


class Pool:
    """Workers that are alike but for their slots.

    Args:
        arguments: of `python -m benchmark.tune.worker`; device and threads come from the slots.
        outputs: folder of the files that they print into.
        slots: a place for one worker each.
    """

    def __init__(self, arguments: Sequence[str], outputs: Path, slots: Sequence[Slot]):
        self._arguments = arguments
        self._outputs = outputs
        self._slots = slots
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def fill(self, workers: int) -> None:
        """Start workers until `workers` are running, or all slots are taken."""
        for place, slot in enumerate(self._slots):
            if len(self) < workers and place not in self._running:
                self._running[place] = self._start(slot, self._output(place))

    def ended(self) -> list[tuple[int, Path]]:
        """Forget the workers that have ended; return the exit code and output of those that had an error."""
        failed = []
        for place, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                kill_group(process)  # what it has started would otherwise go on
                del self._running[place]
                if code:
                    failed.append((code, self._output(place)))
        return failed

    def stop(self, at_once: Callable[[], bool]) -> None:
        """End all workers at the next step, with a checkpoint; `at_once` as in `launch.stopping.stop`."""
        stop(list(self._running.values()), at_once)

    def _start(self, slot: Slot, output: Path) -> "subprocess.Popen[bytes]":
        command, variables = worker_command(self._arguments, slot)
        with output.open("ab") as file:
            return subprocess.Popen(
                command,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **variables},
                start_new_session=True,
            )

    def _output(self, place: int) -> Path:
        return self._outputs / f"worker-{place}.txt"
