"""The run folder: the truth about one training and its tests, read from disk.

    folder = RunFolder(Path("runs/demo/phantom-rfnet-passion-mr2468-s1037-1a2b3c4d5e"))
    folder.state()          # "absent", "partial", "running", "failed" or "done"

`config.yaml` (what it is), `model.json` (how large the network is), `split.json` (who trained, validated and
tested), `availability.csv` (who lacked what in training), `log.jsonl` (a line per epoch), `checkpoint.pt`,
`weights.safetensors`, `wandb/` (what Weights & Biases writes), `tests/` (a folder per test), and `done` or
`failed`. `sessions.jsonl` says which processes have worked on it, where, with which code, and how each of
them ended; while one does, `holder` is its lease, and without that lease nothing can be written.

Folders of before edition 2 have one test, whose files lie beside `config.yaml`, and an `environment.json` in
place of the sessions' own.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from bench_errors import InputError
from bench_lease import Owner, check, hold, living_owner, remove_dead, silence
from benchmark.run_folder.case_rows import read_rows
from benchmark.run_folder.files import append_line, now, read_lines, read_yaml, write_atomically, write_yaml
from benchmark.run_folder.tests import PREDICTIONS, TESTS, TestFolder, tests_of

STATES = ("done", "running", "failed", "partial", "absent")
VALIDATED = "validation.csv"
"""What a trial of a study has in place of tests: the scores of its validation cases, Dice alone."""
TRIAL = "trial.json"
"""What a trial of a study tries and what that came to: `number`, `params` and, once it is known, `goals`."""
STUDY = "study"
"""Folder beside the run folders of a study, with what is the study's own."""
WEIGHTS = "weights.safetensors"
"""The weights that were tested."""
TRAINED = ("checkpoint.pt", "checkpoint.previous.pt", "log.jsonl", WEIGHTS, VALIDATED, "done")
"""What training writes."""
TESTED = tuple(f"{TESTS}/*/{name}" for name in ("cases.csv", "examples.npz", "done", f"{PREDICTIONS}/*.npz"))
"""What testing writes, as patterns."""
HOLDER = "holder"
"""The name of the lease in a run folder."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; nothing is kept in memory, so any process may ask at any time."""

    path: Path

    def state(self, test: str | None = None) -> str:
        """Say where the run stands: the training and its test of that name, or with all of its own tests.

        `running` means that a living process holds its lease.
        """
        if self.trained and (
            self.test(test).done if test else all(t.done or not t.own for t in self.tests())
        ):
            return "done"
        if self.holder():
            return "running"
        if (self.path / "failed").exists():
            return "failed"
        return "partial" if (self.path / "config.yaml").exists() else "absent"

    @property
    def trained(self) -> bool:
        """Whether the weights to test are there."""
        return (self.path / "done").exists()

    def tests(self) -> list[TestFolder]:
        """The tests that have begun."""
        return tests_of(self.path)

    def own_tests(self) -> list[TestFolder]:
        """Those of them that are done with the run; what `bench evaluate` has begun, it does itself."""
        return [test for test in self.tests() if test.own]

    def test(self, name: str) -> TestFolder:
        """The test of that name, begun or not."""
        return TestFolder(self.path / TESTS / name)

    def reason(self) -> str:
        """Why the run failed, or the empty string."""
        try:
            return str(json.loads((self.path / "failed").read_text(encoding="utf-8"))["reason"])
        except FileNotFoundError:
            return ""
        except (ValueError, KeyError, TypeError):
            return "its reason is not to be read: see output.txt in its folder"

    def failed_at(self) -> int:
        """When the run failed, in ns by the file system's clock; 0 if it has not."""
        try:
            return (self.path / "failed").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def config(self) -> dict[str, Any]:
        """Return the content of `config.yaml`; raise `InputError` where it is damaged."""
        return read_yaml(self.path / "config.yaml")

    def check_whole(self) -> None:
        """Read all records, unless a process is writing them; raise `InputError` where one is damaged."""
        if self.state() not in ("absent", "running"):
            self.config()
            self.log()
            self.sessions()
            for test in self.tests():
                test.settings()
                read_rows(test.cases)

    def check_writable(self) -> None:
        """Raise `InputError` if the folder is there and this process may not write into it."""
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise InputError(
                f"{self.path} cannot be written, and the run in it is not done: make it writable, or choose "
                "another place with --runs"
            )

    def write_config(self, content: dict[str, Any]) -> None:
        """Create the folder with its `config.yaml`; raise `InputError` where it cannot be written."""
        write_yaml(self.path / "config.yaml", content)

    def log(self) -> list[dict[str, Any]]:
        """The lines of `log.jsonl`; a last line cut off by a crash is left out."""
        return read_lines(self.path / "log.jsonl")

    def trial(self) -> dict[str, Any]:
        """Return the content of `trial.json`; nothing for a run that is no trial of a study."""
        path = self.path / TRIAL
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def note_trial(self, **facts: Any) -> None:
        """Add to `trial.json` what a trial tries, or what it came to."""
        write_atomically(self.path / TRIAL, json.dumps({**self.trial(), **facts}).encode())

    def epochs(self) -> int:
        """How many epochs are logged, without reading what stands in their lines."""
        path = self.path / "log.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def append_log(self, line: dict[str, Any]) -> None:
        """Add one epoch's line, on the disk when this returns: no checkpoint may be ahead of the log."""
        append_line(self.path / "log.jsonl", line)

    def truncate_log(self, epochs: int) -> None:
        """Keep the lines of the first `epochs` epochs: what came after the checkpoint is run again."""
        lines = [json.dumps(line) + "\n" for line in self.log() if line["epoch"] < epochs]
        write_atomically(self.path / "log.jsonl", "".join(lines).encode())

    def forget_results(self, tests_alone: bool = False) -> None:
        """Remove what training and all tests, or own tests alone, have come to, so that they begin afresh."""
        check(self.path / HOLDER)
        kept = {test.path for test in self.tests() if tests_alone and not test.own}
        for pattern in TESTED if tests_alone else (*TRAINED, *TESTED):
            for path in self.path.glob(pattern):
                if kept.isdisjoint(path.parents):
                    path.unlink()

    def mark_trained(self) -> None:
        """Say that the weights to test are there."""
        self.clear_failure()
        write_atomically(self.path / "done", b"")

    def clear_failure(self) -> None:
        """Forget why the run stopped, as it goes on."""
        (self.path / "failed").unlink(missing_ok=True)

    def mark_failed(self, reason: str, details: str = "") -> None:
        """Record why the run stopped: one line, and a traceback where there is one.

        Where the folder cannot be written (its disk is full, say), the reason goes to standard error.
        """
        content = {"reason": reason, "details": details, "time": now()}
        try:
            write_atomically(self.path / "failed", json.dumps(content, indent=1).encode())
        except OSError as error:
            print(f"{self.path}: {reason} (not recorded: {error.strerror})", file=sys.stderr, flush=True)

    def lease(self, stop: Callable[[], bool] = lambda: False) -> AbstractContextManager[bool]:
        """Hold the run for this process; yields False if another living process holds it.

        `stop` is asked while it is not known yet whether that process lives; see `bench_lease.hold`.
        """
        return hold(self.path / HOLDER, stop)

    def holder(self) -> Owner | None:
        """The living process that holds the run, as far as this one can tell."""
        return living_owner(self.path / HOLDER)

    def silence(self) -> float:
        """For how many seconds nothing has been heard of the holder."""
        return silence(self.path / HOLDER)

    def free_from_dead(self) -> None:
        """Take the lease away from a holder that is known to be dead."""
        remove_dead(self.path / HOLDER)

    def note_session(self, event: str, **facts: Any) -> None:
        """Add to `sessions.jsonl` what this process begins with the run, or how it ends with it.

        `facts`: where it computes and with which code; see `training.provenance.environment`.
        """
        line = {"time": now(), "event": event, "host": socket.gethostname(), "pid": os.getpid(), **facts}
        append_line(self.path / "sessions.jsonl", line)

    def environments(self) -> list[dict[str, Any]]:
        """Where and with which code each session computed, in their order; equal ones once."""
        environments = [line["environment"] for line in self.sessions() if "environment" in line]
        if not environments and (path := self.path / "environment.json").exists():  # before edition 2
            environments = [json.loads(path.read_text(encoding="utf-8"))]
        return [e for i, e in enumerate(environments) if e not in environments[:i]]

    def sessions(self) -> list[dict[str, Any]]:
        """The lines of `sessions.jsonl`."""
        return read_lines(self.path / "sessions.jsonl")


def is_of_study(run_folder: Path) -> bool:
    """Whether a run belongs to a study: a trial, or the teacher of one."""
    return (run_folder.parent / STUDY).is_dir()


def grid_folder(name_or_path: str, runs: Path) -> Path:
    """Return where a grid's runs are: of ``mine``, ``grids/mine.yaml`` and ``runs/mine`` alike."""
    path = Path(name_or_path)
    return runs / (path.stem if path.suffix in (".yaml", ".yml") else path.name)


def grid_options(run: Path) -> str:
    """The options by which commands find the grid of a run folder: `--grid`, and `--runs` if need be."""
    grid = run.absolute().parent
    where = "" if grid.parent == Path("runs").absolute() else f" --runs {quote(str(grid.parent))}"
    return f"--grid {quote(grid.name)}{where}"


def run_folders(grid_folder: Path) -> list[RunFolder]:
    """The run folders of a grid, sorted by name; one that was being removed when that was cut off is none."""
    paths = sorted(grid_folder.glob("*/config.yaml"))
    return [RunFolder(path.parent) for path in paths if not path.parent.name.startswith(".")]
