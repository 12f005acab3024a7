"""Runs on this machine: one worker process per run, several at a time, with a live view.

    launch_here(jobs, make_slots("cpu", cores=4, jobs=len(jobs)), track=True, console=console, retries=1)

What a worker does is read from its run folder, so one that dies takes nothing with it. Ctrl-C lets the
workers write their checkpoints; a second one kills them at once.

Others may execute the same grid at the same time, here or on machines that share the folder: a run that they
have is left to them, and taken over if they die or stop.
"""

import os
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmark.launch.devices import Slot
from benchmark.launch.stopping import StopRequests, kill_group, stop
from benchmark.launch.view import View, make_view
from benchmark.launch.worker_command import Job, longest_first, worker_command
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.reasons import exit_reason, memory_kills
from benchmark.training.exit_codes import HELD, STOPPED, WRONG_INPUT

POLL_SECONDS = 0.5
UNTAUGHT = "it needs "
"""How the reason begins of a run that was not begun for want of what another one was to learn."""


@dataclass(frozen=True, eq=False)
class _Worker:
    """A process at work; `killed_before`: how many processes had been killed for want of memory by then."""

    job: Job
    slot: Slot
    process: "subprocess.Popen[bytes]"
    killed_before: int


def launch_here(jobs: list[Job], slots: list[Slot], track: bool, console: Console, retries: int = 0) -> None:
    """Execute `jobs`, the longest first, one per slot at a time; every outcome stands in the run folders.

    A run that dies is tried again up to `retries` times, unless its input is wrong. A run that another
    process executes is waited for. Raises KeyboardInterrupt after stopping the workers when the user
    interrupts.
    """
    waiting, workers, retried = longest_first(jobs), list[_Worker](), Counter[Path]()
    others = _Others(jobs)
    with StopRequests() as asked, make_view(jobs, console) as view:
        try:
            while (waiting or workers) and not asked.count:
                _fail_untaught(waiting, [worker.job for worker in workers])
                while len(workers) < len(slots) and (job := _next(waiting, others, view)):
                    waiting.remove(job)
                    if worker := _start(job, _free_slot(slots, workers), track):
                        workers.append(worker)
                view.refresh()
                time.sleep(POLL_SECONDS)
                for worker in [w for w in workers if w.process.poll() is not None]:
                    workers.remove(worker)
                    job, path = worker.job, worker.job.folder.path
                    kill_group(worker.process)  # what it has started would otherwise go on
                    if _is_elsewhere(worker):
                        waiting.insert(0, job)
                        continue
                    again = _note_death(worker, stopping=asked.count > 0)
                    others.note_ours(job)
                    if again and retried[path] < retries and not asked.count:
                        # At the end, because what ran beside it may have needed the memory.
                        retried[path] += 1
                        waiting.append(job)
                        _announce(job, f"retry {retried[path]} of {retries}", view)
        finally:
            if workers:
                _stop(workers, asked, view)
        if others.ended:
            view.say(f"{others.ended} of {len(jobs)} runs were executed by other processes")
    if asked.count:
        raise KeyboardInterrupt


class _Others:
    """What other processes do with the jobs at hand: whom was told of, and how many runs they have ended."""

    def __init__(self, jobs: list[Job]) -> None:
        self.ended = 0
        self._told: set[Path] = set()
        self._failures = {job.folder.path: job.folder.failed_at() for job in jobs}

    def note_ours(self, job: Job) -> None:
        """Remember that a failure that is there now is one of ours."""
        self._failures[job.folder.path] = job.folder.failed_at()

    def have_ended(self, job: Job, state: str) -> bool:
        """Whether others have done the run, or have failed at it meanwhile and so often as they were to.

        One that they have given up untaught has not failed: what it needs may be tried again here.
        """
        failed_anew = job.folder.failed_at() != self._failures[job.folder.path]
        tried = state == "failed" and failed_anew and not job.folder.reason().startswith(UNTAUGHT)
        return state == "done" or tried

    def tell(self, job: Job, view: View) -> None:
        """Say once that the run is executed elsewhere."""
        path, holder = job.folder.path, job.folder.holder()
        if holder and path not in self._told:
            self._told.add(path)
            view.say(f"{path.name}: {holder} executes it, waiting for that")


def _next(waiting: list[Job], others: _Others, view: View) -> Job | None:
    """The first job that may start: what it needs has learnt, and nobody else has it."""
    for job in list(waiting):
        state = job.folder.state()
        if others.have_ended(job, state):
            others.ended += 1
            waiting.remove(job)
        elif state == "running":
            others.tell(job, view)
        elif all(_has_learnt(run) for run in job.needs):
            return job
    return None


def _has_learnt(run: RunFolder) -> bool:
    """Whether a run's weights are there, and no session is at work that may yet find them worthless."""
    return run.state() != "running" and run.trained


def _free_slot(slots: list[Slot], workers: list[_Worker]) -> Slot:
    """A slot that is not taken, on the GPU with the fewest runs."""
    taken = Counter(worker.slot for worker in workers)
    free = Counter(slots) - taken
    return min(free, key=lambda slot: taken[slot])


def _fail_untaught(waiting: list[Job], running: list[Job]) -> None:
    """Give up jobs that need what has not learnt and will not: it failed, or its process elsewhere ended."""
    coming = {job.folder.path for job in [*waiting, *running]}
    for job in list(waiting):
        states = {run: run.state() for run in job.needs if run.path not in coming}
        for run, state in states.items():
            if state != "running" and not run.trained:
                waiting.remove(job)
                if job.folder.state() != "running":  # else another process has it
                    reason = f" ({run.reason()})" if run.reason() else ""
                    job.folder.mark_failed(f"{UNTAUGHT}{run.path.name}, which is {state}{reason}")
                break


def _start(job: Job, slot: Slot, track: bool) -> _Worker | None:
    """Start the job's worker; None where that cannot be done, with the reason recorded."""
    command, variables = worker_command(job, slot, track)
    killed_before = memory_kills()
    try:
        job.folder.free_from_dead()
        if job.folder.state() != "running":
            (job.folder.path / "failed").unlink(missing_ok=True)  # or it would be taken for this try's reason
        with _output(job).open("ab") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **variables},
                start_new_session=True,
            )
    except OSError as error:
        job.folder.mark_failed(f"no worker could be started: {error}")
        return None
    return _Worker(job, slot, process, killed_before)


def _is_elsewhere(worker: _Worker) -> bool:
    """Whether a worker has ended because another process has its run, or has taken it over."""
    state = worker.job.folder.state()
    return state == "running" or (worker.process.returncode == HELD and state != "done")


def _note_death(worker: _Worker, stopping: bool) -> bool:
    """Record why an ended worker did not finish its run, if it did not itself; say if a retry makes sense."""
    folder, code = worker.job.folder, worker.process.returncode
    if code == 0 or folder.state() == "done":
        return False
    if code == STOPPED:
        if stopping:
            return False
        folder.mark_failed("the worker was told to stop from outside")
    elif not folder.reason():
        folder.mark_failed(exit_reason(code, _output(worker.job), worker.killed_before))
    return code != WRONG_INPUT


def _announce(job: Job, retry: str, view: View) -> None:
    """Tell the user of a retry and keep its cause, which the retry takes out of the folder's `failed`."""
    text = f"{job.folder.path.name}: {job.folder.reason()}, {retry}"
    view.say(text)
    with suppress(OSError), _output(job).open("a", encoding="utf-8") as output:
        output.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")


def _stop(workers: list[_Worker], asked: StopRequests, view: View) -> None:
    try:
        view.say(f"stopping {len(workers)} runs with a checkpoint; Ctrl-C again kills them at once")
    finally:  # the terminal may be what has gone
        stop([worker.process for worker in workers], at_once=lambda: asked.count > 1)


def _output(job: Job) -> Path:
    return job.folder.path / "output.txt"
