"""The run folder: the truth about one run, read from disk.

    folder = RunFolder(Path("runs/demo/phantom-rfnet-passion-mr2468-s1037-1a2b3c4d5e"))
    folder.state()          # "absent", "partial", "running", "failed" or "done"

`config.yaml` (what it is), `environment.json` (where it ran), `model.json` (how large the network is),
`split.json` (who trained, validated and tested), `availability.csv` (who lacked what in training),
`log.jsonl` (a line per epoch), `cases.csv` (a row per case, subset, region and metric), `examples.npz`
(slices with predictions), `checkpoint.pt`, `weights.safetensors`, `wandb/` (what Weights & Biases writes),
and `done` or `failed`.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench_errors import InputError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one where PyYAML was built with it: a report reads a thousand files."""
STATES = ("done", "running", "failed", "partial", "absent")


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; nothing is kept in memory, so any process may ask at any time."""

    path: Path

    def state(self) -> str:
        """Say where the run stands; `running` means that a living process holds its lease."""
        if (self.path / "done").exists():
            return "done"
        if self._lease_is_held():
            return "running"
        if (self.path / "failed").exists():
            return "failed"
        return "partial" if (self.path / "config.yaml").exists() else "absent"

    def reason(self) -> str:
        """Why the run failed, or the empty string."""
        path = self.path / "failed"
        return str(json.loads(path.read_text())["reason"]) if path.exists() else ""

    def config(self) -> dict[str, Any]:
        """The content of `config.yaml`."""
        return dict(yaml.load((self.path / "config.yaml").read_text(encoding="utf-8"), Loader=LOADER))

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
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def truncate_log(self, epochs: int) -> None:
        """Keep the lines of the first `epochs` epochs: what came after the checkpoint is run again."""
        lines = [json.dumps(line) + "\n" for line in self.log() if line["epoch"] < epochs]
        write_atomically(self.path / "log.jsonl", "".join(lines).encode())

    def mark_done(self) -> None:
        """Say that the run is finished and whole."""
        (self.path / "failed").unlink(missing_ok=True)
        write_atomically(self.path / "done", b"")

    def mark_failed(self, reason: str, details: str = "") -> None:
        """Record why the run stopped: one line, and a traceback where there is one."""
        content = {"reason": reason, "details": details, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        write_atomically(self.path / "failed", json.dumps(content, indent=1).encode())

    @contextmanager
    def lease(self) -> Iterator[bool]:
        """Hold the run for this process; yields False if another living process holds it.

        The kernel releases the lock when the holder dies, so no stale lease is left behind.
        """
        with (self.path / "lease").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            file.truncate(0)
            file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
            file.flush()
            yield True

    def _lease_is_held(self) -> bool:
        try:
            file = (self.path / "lease").open()
        except FileNotFoundError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either whole or as it was before, whatever happens in between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk: without it, a rename can be lost in a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run_folders(grid_folder: Path) -> list[RunFolder]:
    """The run folders of a grid, sorted by name."""
    return [RunFolder(p.parent) for p in sorted(grid_folder.glob("*/config.yaml"))]
