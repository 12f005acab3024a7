"""What the user sees of a launch: a live table on a terminal, else a line for each change.

    with make_view(jobs, console) as view:
        view.refresh()
        view.say("...")

Everything is read from the run folders, so the view costs the workers nothing.
"""

import time
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from bench_errors import InputError
from benchmark.launch.worker_command import Job

QUIET_SECONDS = 10.0
"""Without a terminal, a run that goes on as it should is mentioned once in this time."""
_ORDER = ("training", "testing", "failed", "waiting", "done")


class RunProgress(NamedTuple):
    """Where a run stands: state, epochs or cases done, last mean loss, time that training still needs."""

    state: str
    step: str
    loss: str
    left: str


def progress(job: Job) -> RunProgress:
    """Read from its folder what a run is doing."""
    state = job.folder.state()
    try:
        log = job.folder.log()
    except InputError:  # it is damaged, as its worker says
        log = []
    loss = f"{log[-1]['loss']['total']:.3f}" if log else ""
    epochs = f"epoch {len(log)}/{job.epochs}" if log or state == "running" else ""
    if state != "running":
        return RunProgress("waiting" if state in ("partial", "absent") else state, epochs, loss, "")
    if len(log) < job.epochs:
        mean = sum(line["timing"]["seconds"] for line in log) / len(log) if log else 0.0
        left = duration(mean * (job.epochs - len(log))) if log else ""
        return RunProgress("training", epochs, loss, left)
    return RunProgress("testing", f"case {_tested(job)}/{job.test_cases}", loss, "")


def duration(seconds: float) -> str:
    """Write a time as ``1:02:03``, with days before it where there are any."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{f'{days} d ' if days else ''}{hour}:{minute:02}:{second:02}"


def _tested(job: Job) -> int:
    """How many cases of all its tests are scored."""
    files = [test.cases for test in job.folder.own_tests() if test.cases.exists()]
    return sum(len({line.split(",", 1)[0] for line in f.read_text().splitlines()[1:]}) for f in files)


class View(Protocol):
    """A view of the jobs that a launcher has in hand."""

    def __enter__(self) -> "View": ...

    def __exit__(self, *_: object) -> None: ...

    def refresh(self) -> None:
        """Show what has changed."""

    def say(self, text: str) -> None:
        """Print a line that stays."""


def make_view(jobs: list[Job], console: Console) -> View:
    """Return the view that suits the console."""
    return _LiveView(jobs, console) if console.is_terminal else _PlainView(jobs, console)


class _LiveView:
    """A table that is redrawn in place: what is at work first, as many rows as the terminal is high."""

    def __init__(self, jobs: list[Job], console: Console):
        self._jobs = jobs
        self._done: dict[Job, RunProgress] = {}
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> "_LiveView":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()
        self._live.stop()

    def say(self, text: str) -> None:
        self._live.console.print(text, soft_wrap=True)

    def refresh(self) -> None:
        rows = []
        for job in self._jobs:
            now = self._done.get(job) or progress(job)
            if now.state == "done":
                self._done[job] = now
            rows.append((job.folder.path.name, now))
        rows.sort(key=lambda row: _ORDER.index(row[1].state))
        states = [now.state for _, now in rows]
        counts = ", ".join(f"{states.count(state)} {state}" for state in _ORDER if state in states)
        table = Table("run", "state", "done", "loss", "training left", caption=counts)
        room = max(1, self._live.console.height - 6)
        for name, now in rows[:room]:
            table.add_row(name, *now)
        if len(rows) > room:
            table.add_row(f"and {len(rows) - room} more")
        self._live.update(table, refresh=True)


class _PlainView:
    """A line whenever a run moves on, at most one in ten seconds for each run."""

    def __init__(self, jobs: list[Job], console: Console):
        self._jobs = jobs
        self._console = console
        self._last = {job: (RunProgress("waiting", "", "", ""), 0.0) for job in jobs}

    def __enter__(self) -> "_PlainView":
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def refresh(self) -> None:
        for job in self._jobs:
            last, when = self._last[job]
            if last.state == "done":
                continue
            now = progress(job)
            settled = now.state in ("done", "failed")
            same = now.state == last.state and (settled or now.step == last.step)
            if same or now.state == "waiting" or (not settled and time.monotonic() - when < QUIET_SECONDS):
                continue
            self._last[job] = (now, time.monotonic())
            loss, left = now.loss and f"loss {now.loss}", now.left and f"{now.left} left"
            parts = [now.state, "" if settled else now.step, loss, left, job.folder.reason()]
            self.say(f"{job.folder.path.name}: {', '.join(part for part in parts if part)}")
