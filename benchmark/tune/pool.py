"""Worker processes of a study on this machine: ``pool = Pool(command, ...); pool.fill(2)``.

Each writes what it prints into a file of its own; on GPUs each gets one of them, in turn.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.launch.local import MALLOC, stop


class Pool:
    """Workers that are alike but for their number.

    Args:
        arguments: of `python -m benchmark.tune.worker`.
        outputs: folder of the files that they print into.
        threads: of each.
        gpus: what each in turn sees as its GPU; empty: whatever this process sees.
    """

    def __init__(self, arguments: Sequence[str], outputs: Path, threads: int, gpus: Sequence[str] = ()):
        self._command = [sys.executable, "-m", "benchmark.tune.worker", *arguments]
        self._outputs = outputs
        self._threads = threads
        self._gpus = gpus
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def fill(self, workers: int) -> None:
        """Start workers until `workers` are running."""
        for place in range(workers):
            if place not in self._running:
                self._running[place] = self._start(place)

    def ended(self) -> list[tuple[int, Path]]:
        """Forget the workers that have ended; return the exit code and output of those that had an error."""
        failed = []
        for place, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[place]
                if code:
                    failed.append((code, self._output(place)))
        return failed

    def stop(self) -> None:
        """End all workers; what they were at is lost, and given up when the study goes on."""
        stop(list(self._running.values()))

    def _start(self, place: int) -> "subprocess.Popen[bytes]":
        environment = {**MALLOC, **os.environ, "OMP_NUM_THREADS": str(self._threads)}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[place % len(self._gpus)]
        with self._output(place).open("ab") as output:
            return subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    def _output(self, place: int) -> Path:
        return self._outputs / f"worker-{place}.txt"
