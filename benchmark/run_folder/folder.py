"""The run folder: the truth about one run, read from disk.

    folder = RunFolder(Path("runs/demo/phantom-rfnet-passion-mr2468-s1037-1a2b3c4d5e"))
    folder.state()          # "absent", "partial", "running", "failed" or "done"

`config.yaml` (what it is), `environment.json` (where it ran), `model.json` (how large the network is),
`split.json` (who trained, validated and tested), `availability.csv` (who lacked what in training),
`log.jsonl` (a line per epoch), `cases.csv` (a row per case, subset, region and metric), `examples.npz`
(slices with predictions), `checkpoint.pt`, `weights.safetensors`, `wandb/` (what Weights & Biases writes),
and `done` or `failed`. `sessions.jsonl` says which processes have worked on it and how each of them ended;
while one does, `holder` is its lease, and without that lease nothing can be written.
"""

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench_errors import InputError
from benchmark.run_folder.lease import Owner, check, hold, living_owner, remove_dead, silence

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one where PyYAML was built with it: a report reads a thousand files."""
STATES = ("done", "running", "failed", "partial", "absent")
RESULTS = (
    "checkpoint.pt",
    "checkpoint.previous.pt",
    "log.jsonl",
    "cases.csv",
    "validation.csv",
    "examples.npz",
    "weights.safetensors",
)
"""What training and testing write."""
VALIDATED = "validation.csv"
"""What a trial of a study has in place of `cases.csv`: the same of its validation cases, Dice alone."""
STUDY = "study"
"""Folder beside the run folders of a study, with what is the study's own."""
HOLDER = "holder"
"""The name of the lease in a run folder."""
PARTIAL = ".partial"
"""The end of the name of what is written beside its place and was left there by a crash."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; nothing is kept in memory, so any process may ask at any time."""

    path: Path

    def state(self) -> str:
        """Say where the run stands; `running` means that a living process holds its lease."""
        if (self.path / "done").exists():
            return "done"
        if self.holder():
            return "running"
        if (self.path / "failed").exists():
            return "failed"
        return "partial" if (self.path / "config.yaml").exists() else "absent"

    def reason(self) -> str:
        """Why the run failed, or the empty string."""
        path = self.path / "failed"
        return str(json.loads(path.read_text())["reason"]) if path.exists() else ""

    def failed_at(self) -> int:
        """When the run failed, in ns by the file system's clock; 0 if it has not."""
        try:
            return (self.path / "failed").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def config(self) -> dict[str, Any]:
        """The content of `config.yaml`."""
        return dict(yaml.load((self.path / "config.yaml").read_text(encoding="utf-8"), Loader=LOADER))

    def check_writable(self) -> None:
        """Raise `InputError` if the folder is there and this process may not write into it."""
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise InputError(
                f"{self.path} cannot be written, and the run in it is not done: make it writable, or choose "
                "another place with --runs"
            )

    def write_config(self, content: dict[str, Any]) -> None:
        """Create the folder with its `config.yaml`; raise `InputError` where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            write_atomically(self.path / "config.yaml", text.encode())
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written ({error.strerror}): choose another place with --runs"
            ) from None

    def log(self) -> list[dict[str, Any]]:
        """The lines of `log.jsonl`; a last line cut off by a crash is left out."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def epochs(self) -> int:
        """How many epochs are logged, without reading what stands in their lines."""
        path = self.path / "log.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def append_log(self, line: dict[str, Any]) -> None:
        """Add one epoch's line, on the disk when this returns: no checkpoint may be ahead of the log."""
        _append(self.path / "log.jsonl", line)

    def truncate_log(self, epochs: int) -> None:
        """Keep the lines of the first `epochs` epochs: what came after the checkpoint is run again."""
        lines = [json.dumps(line) + "\n" for line in self.log() if line["epoch"] < epochs]
        write_atomically(self.path / "log.jsonl", "".join(lines).encode())

    def forget_results(self) -> None:
        """Remove what training and testing have come to, so that the run begins afresh."""
        check(self.path / HOLDER)
        for name in RESULTS:
            (self.path / name).unlink(missing_ok=True)

    def mark_done(self) -> None:
        """Say that the run is finished and whole."""
        (self.path / "failed").unlink(missing_ok=True)
        write_atomically(self.path / "done", b"")

    def mark_failed(self, reason: str, details: str = "") -> None:
        """Record why the run stopped: one line, and a traceback where there is one.

        Where the folder cannot be written (its disk is full, say), the reason goes to standard error.
        """
        content = {"reason": reason, "details": details, "time": _now()}
        try:
            write_atomically(self.path / "failed", json.dumps(content, indent=1).encode())
        except OSError as error:
            print(f"{self.path}: {reason} (not recorded: {error.strerror})", file=sys.stderr, flush=True)

    def lease(self, stop: Callable[[], bool] = lambda: False) -> AbstractContextManager[bool]:
        """Hold the run for this process; yields False if another living process holds it.

        `stop` is asked while it is not known yet whether that process lives; see `lease.hold`.
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

    def note_session(self, event: str) -> None:
        """Add to `sessions.jsonl` what this process begins with the run, or how it ends with it."""
        line = {"time": _now(), "event": event, "host": socket.gethostname(), "pid": os.getpid()}
        _append(self.path / "sessions.jsonl", line)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either whole or as it was before, whatever happens in between.

    Raises `LeaseLost` where this process has held the folder and another has taken it over.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check(path.parent / HOLDER)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def _append(path: Path, line: dict[str, Any]) -> None:
    check(path.parent / HOLDER)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk: without it, a rename can be lost in a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_of_study(run_folder: Path) -> bool:
    """Whether a run belongs to a study: a trial, or the teacher of one."""
    return (run_folder.parent / STUDY).is_dir()


def run_folders(grid_folder: Path) -> list[RunFolder]:
    """The run folders of a grid, sorted by name; one that was being removed when that was cut off is none."""
    found = sorted(grid_folder.glob("*/config.yaml"))
    return [RunFolder(path.parent) for path in found if not path.parent.name.startswith(".")]
