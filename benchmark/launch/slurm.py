"""Runs as jobs of a SLURM cluster, a task of a job array each.

    submit(jobs, "demo", Cluster.of({"partition": "gpu", "gres": "gpu:1"}), slot, track=True, console=console)
    wait(jobs, "demo", console)        # or not: the jobs run on without it

What a task does is what the local launcher does with one run, so results are the same. Whatever is known of
a run stands in its folder; the cluster is only asked which jobs are not over.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from bench_console import output
from bench_errors import InputError
from benchmark.launch import run_locally
from benchmark.launch.cluster import Cluster, largest_array
from benchmark.launch.devices import Slot
from benchmark.launch.slurm_queue import JOBS, job_name, job_of, note_job, queued
from benchmark.launch.view import View, make_view
from benchmark.launch.worker_command import Job, longest_first
from benchmark.run_folder.folder import RunFolder
from benchmark.training.exit_codes import STOPPED

if TYPE_CHECKING:
    from submitit import Job as SubmittedJob
    from submitit import SlurmExecutor
    from submitit.core.utils import DelayedSubmission

T = TypeVar("T")

POLL_SECONDS = 2.0
QUEUE_SECONDS = 10.0
"""How often the queue is asked: each time is work for the whole cluster's controller."""
STALLED_JOBS = 3
"""A run that has got no further in so many jobs, one after the other, is given up."""


@dataclass
class Task:
    """What submitit calls on a node; `stalled` counts the jobs in which the run has got no further."""

    job: Job
    slot: Slot
    track: bool
    retries: int
    stalled: int = 0

    def __call__(self) -> None:
        """Execute the run; when its time is over or it is preempted, requeue the job to go on later."""
        print(f"GPUs of this job: {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}", flush=True)
        folder = self.job.folder
        before = _progress(folder)
        try:
            run_locally.launch_here([self.job], [self.slot], self.track, output(), self.retries)
        except KeyboardInterrupt:
            self.stalled = self.stalled + 1 if _progress(folder) == before else 0
            if self.stalled == STALLED_JOBS:
                folder.mark_failed(f"it got no further in {STALLED_JOBS} jobs: give them more time")
            elif _is_wanted(folder.path.parent.name):
                signal.raise_signal(signal.SIGUSR2)  # makes submitit call `checkpoint` and requeue the job
            sys.exit(STOPPED)

    def checkpoint(self) -> "DelayedSubmission":
        """Return what the requeued job is to call; the run itself is saved in its folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _progress(folder: RunFolder) -> list[int]:
    """What changes when a run gets on: when its checkpoint was written, and how much of it is tested."""
    paths = [folder.path / "checkpoint.pt", *(test.cases for test in folder.tests())]
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]


def _is_wanted(grid: str) -> bool:
    """Whether this job was not cancelled, and is not being requeued by SLURM itself."""
    from submitit import JobEnvironment

    return queued(grid).get(JobEnvironment().job_id, "").startswith("running")


def submit(
    jobs: list[Job], grid: str, cluster: Cluster, slot: Slot, track: bool, console: Console, retries: int
) -> None:
    """Submit the jobs that are not in the queue yet, the longest first and what others need before them.

    At most `cluster.parallel` of them run at a time. Raises `InputError` where that is not possible or
    another process is submitting runs of this grid.
    """
    own = RunFolder(jobs[0].folder.path.parent / JOBS)
    executor = cluster.executor(own.path, grid)
    own.path.mkdir(parents=True, exist_ok=True)
    with own.lease() as mine:
        if not mine:
            raise InputError(f"another process is submitting grid {grid}: wait for it, then try again")
        there = queued(grid)
        jobs = [job for job in longest_first(jobs) if job.folder.state() != "done"]  # by now
        new = [job for job in jobs if job_of(job.folder.path) not in there]
        if len(new) < len(jobs):
            console.print(f"{_count(len(jobs) - len(new))} of grid {grid} in the queue already")
        before = ""
        for array in _arrays(new, largest_array()):
            after = {job_of(run.path) for job in array for run in job.needs} & {*there}
            if cluster.parallel and before:  # two arrays at a time would run twice as many
                after.add(before)
            dependency = f"afterany:{':'.join(sorted(after))}" if after else None
            executor.update_parameters(dependency=dependency)
            tasks = [Task(job, slot, track, retries) for job in array]
            identities = [job.job_id for job in submit_array(executor, tasks)]
            for job, identity in zip(array, identities, strict=True):
                (job.folder.path / "failed").unlink(missing_ok=True)
                note_job(job.folder.path, identity)
            there |= dict.fromkeys(identities, "pending")
            before = identities[0].partition("_")[0]
            limit = f", at most {cluster.parallel} at a time" if cluster.parallel else ""
            console.print(f"submitted {_count(len(array))} as job {before}{limit}", soft_wrap=True)


def _arrays(jobs: list[Job], most: int) -> Iterator[list[Job]]:
    """Split jobs into arrays that a cluster takes: those that need no other's end, then those that do."""
    own = {job.folder.path: job for job in jobs}

    def depth(job: Job) -> int:
        return max((1 + (depth(own[run.path]) if run.path in own else 0) for run in job.needs), default=0)

    for level in sorted({depth(job) for job in jobs}):
        part = [job for job in jobs if depth(job) == level]
        for start in range(0, len(part), most):
            yield part[start : start + most]


def _count(runs: int) -> str:
    return f"{runs} run{'s' * (runs > 1)}"


def submit_array(executor: "SlurmExecutor", tasks: "Sequence[Callable[[], T]]") -> "list[SubmittedJob[T]]":
    """Submit one task or an array of several; raise `InputError` with what sbatch has against it."""
    from submitit.core.utils import FailedJobError

    try:
        with redirect_stderr(StringIO()):  # where submitit repeats what it raises
            return executor.submit_array(tasks)
    except FailedJobError as error:
        said = " ".join(re.sub(r"^sbatch: (error: )?", "", line) for line in str(error).splitlines())
        raise InputError(f"sbatch refused the jobs: {said}") from None


def wait(jobs: list[Job], grid: str, console: Console) -> None:
    """Show the runs until all are done or no job of theirs is in the queue; what is then not done has failed.

    Raises KeyboardInterrupt when the user interrupts: the jobs go on.
    """
    try:
        with make_view(jobs, console) as view:
            while not _are_over(jobs, grid, view):
                asked = time.monotonic()
                while time.monotonic() < asked + QUEUE_SECONDS and not _are_done(jobs):
                    view.refresh()
                    time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        console.print(f"the jobs go on; to end them: scancel --name={job_name(grid)}", soft_wrap=True)
        raise
    for job in jobs:
        if job.folder.state() == "partial":
            identity = job_of(job.folder.path)
            log = job.folder.path.parent / JOBS / f"{identity}_0_log.out"
            job.folder.mark_failed(f"its job {identity} is over and it is not done: see {log}")


def _are_over(jobs: list[Job], grid: str, view: View) -> bool:
    """Whether the runs are done, or nothing more will be done for them: their jobs are gone, seen twice.

    What a node wrote last may be seen here a moment after its job has left the queue.
    """
    for _ in range(2):
        if _are_done(jobs):
            return True
        try:
            there = queued(grid)
        except InputError as error:
            view.say(f"{error}; waiting on")
            return False
        if any(job_of(job.folder.path) in there for job in jobs):
            return False
        time.sleep(POLL_SECONDS)
    return True


def _are_done(jobs: list[Job]) -> bool:
    return all(job.folder.state() == "done" for job in jobs)
