"""Workers of a study as jobs of a SLURM cluster.

    pool = ClusterPool(arguments, outputs, slots, "tune-smoke", cluster); pool.fill(2)

Used as a `Pool` is. A job that has left the queue is over; how its worker ended, its exit code says.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench_errors import InputError
from benchmark.launch import stopping
from benchmark.launch.cluster import Cluster
from benchmark.launch.devices import Slot
from benchmark.launch.slurm import POLL_SECONDS, QUEUE_SECONDS, submit_array
from benchmark.launch.slurm_queue import cancel, queued
from benchmark.launch.stopping import StopRequests
from benchmark.tune.pool import worker_command

if TYPE_CHECKING:
    from submitit import Job

KILLED = -9
"""Said of a worker that has left no exit code."""


@dataclass
class WorkerTask:
    """What submitit calls on a node: a worker, from its start to its end or the job's."""

    command: list[str]
    variables: dict[str, str]

    def __call__(self) -> int:
        """Return the worker's exit code; when the job is told to stop, the worker saves its trial first."""
        with StopRequests() as asked:
            worker = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.variables},
                start_new_session=True,
            )
            while worker.poll() is None and not asked.count:
                time.sleep(stopping.POLL_SECONDS)
            stopping.stop([worker])
        return worker.returncode


class ClusterPool:
    """Jobs with a worker each, that are alike.

    Args:
        arguments: of `python -m benchmark.tune.worker`; device and threads come from the slots.
        outputs: folder of what they print and of submitit's files.
        slots: equal ones, as many as there may be workers.
        study: its name, which the jobs bear.
        cluster: what a job asks for.
    """

    def __init__(
        self, arguments: Sequence[str], outputs: Path, slots: Sequence[Slot], study: str, cluster: Cluster
    ):
        self._task = WorkerTask(*worker_command(arguments, slots[0]))
        self._most = len(slots)
        self._study = study
        self._executor = cluster.executor(outputs / "slurm", study)
        self._jobs: dict[str, Job[int]] = {}
        self._gone: set[str] = set()
        self._there: dict[str, str] = {}
        self._asked = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def fill(self, workers: int) -> None:
        """Submit jobs until there are `workers`, or all slots taken; if none is wanted, cancel who waits."""
        wanted = min(workers, self._most) - len(self)
        if wanted > 0:
            jobs = submit_array(self._executor, [self._task] * wanted)
            self._jobs |= {job.job_id: job for job in jobs}
            self._asked = time.monotonic()
        elif workers <= len(self):
            waiting = [name for name in self._jobs if self._there.get(name, "").startswith("pending")]
            if waiting:
                cancel(waiting, "--state=PENDING")
                self._look()

    def ended(self) -> list[tuple[int, Path]]:
        """Forget the workers whose jobs are over; return exit code and output of those that had an error."""
        if time.monotonic() < self._asked + QUEUE_SECONDS:
            return []
        before = self._gone
        self._look()
        failed = []
        for name in before & self._gone:  # what a node wrote last may come a moment after its job is gone
            job = self._jobs.pop(name)
            if code := _exit_code(job):
                failed.append((code, job.paths.stdout))
        return failed

    def stop(self, at_once: Callable[[], bool]) -> None:
        """Take back the jobs that wait; the others end at the next step, with a checkpoint, or are killed."""
        cancel(self._jobs, "--state=PENDING")
        cancel(self._jobs, "--signal=TERM")
        deadline = time.monotonic() + stopping.STOP_SECONDS
        while self._jobs and len(self._gone) < len(self):
            if at_once() or time.monotonic() > deadline:
                cancel(self._jobs)
                return
            time.sleep(POLL_SECONDS)
            self._look()

    def _look(self) -> None:
        """Ask the cluster which jobs are not over; where it does not answer, take it that none is."""
        try:
            self._there = queued(self._study)
            self._gone = {*self._jobs} - {*self._there}
        except InputError:
            self._gone = set()
        self._asked = time.monotonic()


def _exit_code(job: "Job[int]") -> int:
    """Return a worker's exit code; a job whose worker could not begin, or was killed, has left none."""
    from submitit.core.utils import pickle_load

    path = job.paths.result_pickle
    if not path.exists():
        return KILLED
    outcome, result = pickle_load(path)
    return int(result) if outcome == "success" else 1
