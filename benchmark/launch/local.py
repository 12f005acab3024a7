"""Runs on this machine: one worker process per run, several at a time, with a live view.

    launch(jobs, device="cpu", workers=2, track=True, console=console)

A worker is `python -m benchmark.run`; what it does is read from its run folder, so the view costs the
workers nothing and one that dies takes nothing with it.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmark.record import RunFolder

POLL_SECONDS = 0.5
STOP_SECONDS = 10.0
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
"""Let glibc keep freed memory: giving feature maps back to the system was seen to double a step's time."""


@dataclass(frozen=True)
class Job:
    """One run to execute: its folder, its store, how many epochs it has and how many cases it tests.

    `teacher`: the folder of the run that has to be done before, if there is one.
    """

    folder: RunFolder
    store: Path
    epochs: int
    test_cases: int
    teacher: RunFolder | None = None


def launch(jobs: list[Job], device: str, workers: int, track: bool, console: Console) -> None:
    """Execute `jobs`, at most `workers` at a time; every outcome stands in the run folders.

    Raises KeyboardInterrupt after stopping the workers when the user interrupts.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    waiting, running = list(jobs), dict[int, tuple[Job, subprocess.Popen[bytes]]]()
    view = _LiveView(jobs, console) if console.is_terminal else _PlainView(jobs, console)
    with view:
        try:
            while waiting or running:
                _fail_untaught(waiting, [job for job, _ in running.values()])
                while len(running) < workers and (job := _next(waiting)):
                    waiting.remove(job)
                    process = _start(job, device, threads, track)
                    running[process.pid] = (job, process)
                time.sleep(POLL_SECONDS)
                for pid, (job, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[pid]
                        _note_death(job, process.returncode)
                view.refresh()
        except BaseException:
            stop([process for _, process in running.values()])
            raise


def _next(waiting: list[Job]) -> Job | None:
    """The first job that may start: a teacher goes before its students."""
    return next((j for j in waiting if j.teacher is None or j.teacher.state() == "done"), None)


def _fail_untaught(waiting: list[Job], running: list[Job]) -> None:
    """Give up jobs whose teacher is not done and will not be: it failed, or its process elsewhere ended."""
    coming = {job.folder.path for job in [*waiting, *running]}
    for job in list(waiting):
        if job.teacher is None or job.teacher.path in coming:
            continue
        state = job.teacher.state()
        if state not in ("done", "running"):
            waiting.remove(job)
            reason = f" ({job.teacher.reason()})" if job.teacher.reason() else ""
            job.folder.mark_failed(f"its teacher {job.teacher.path.name} is {state}{reason}")


def _start(job: Job, device: str, threads: int, track: bool) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmark.run", str(job.folder.path), "--store", str(job.store)]
    command += ["--device", device, "--threads", str(threads)] + ([] if track else ["--no-track"])
    environment = {**MALLOC, **os.environ, "OMP_NUM_THREADS": str(threads)}
    with (job.folder.path / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )


def _note_death(job: Job, code: int) -> None:
    """A worker that was killed could not write its own reason."""
    if code < 0:
        job.folder.mark_failed(f"the worker was killed by {signal.Signals(-code).name}")
    elif code not in (0, 130) and not job.folder.reason():
        job.folder.mark_failed(
            f"the worker ended with exit code {code}: see {job.folder.path / 'output.txt'}"
        )


def stop(processes: "list[subprocess.Popen[bytes]]") -> None:
    """Ask processes to end, and kill those that do not within `STOP_SECONDS`."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def progress(job: Job) -> tuple[str, str, str]:
    """What a run is doing, its last mean loss, and the time that its remaining epochs will take."""
    log = job.folder.log()
    state = job.folder.state()
    loss = f"{log[-1]['loss']['total']:.3f}" if log else ""
    if state != "running":
        return state, loss, ""
    if len(log) < job.epochs:
        mean = sum(line["timing"]["seconds"] for line in log) / len(log) if log else 0.0
        left = time.strftime("%H:%M:%S", time.gmtime(mean * (job.epochs - len(log)))) if log else ""
        return f"epoch {len(log)}/{job.epochs}", loss, left
    return f"testing {_tested(job)}/{job.test_cases}", loss, ""


def _tested(job: Job) -> int:
    path = job.folder.path / "cases.csv"
    if not path.exists():
        return 0
    return len({line.split(",", 1)[0] for line in path.read_text().splitlines()[1:]})


class _LiveView:
    """A table that is redrawn in place."""

    def __init__(self, jobs: list[Job], console: Console):
        self._jobs = jobs
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> "_LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()
        self._live.stop()

    def refresh(self) -> None:
        """Redraw the table from the run folders."""
        table = Table("run", "state", "loss", "training left")
        for job in self._jobs:
            table.add_row(job.folder.path.name, *progress(job))
        self._live.update(table, refresh=True)


class _PlainView:
    """A line whenever a run's state changes, at most one in ten seconds for each run."""

    def __init__(self, jobs: list[Job], console: Console):
        self._jobs = jobs
        self._console = console
        self._last = {job.folder.path: ("waiting", 0.0) for job in jobs}

    def __enter__(self) -> "_PlainView":
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Print what has changed."""
        for job in self._jobs:
            text, when = self._last[job.folder.path]
            state, loss, left = progress(job)
            settled = state in ("done", "failed")
            if state == text or (not settled and time.monotonic() - when < 10):
                continue
            self._last[job.folder.path] = (state, time.monotonic())
            parts = [
                state,
                f"loss {loss}" if loss else "",
                f"{left} left" if left else "",
                job.folder.reason(),
            ]
            self._console.print(f"{job.folder.path.name}: {', '.join(p for p in parts if p)}", soft_wrap=True)
