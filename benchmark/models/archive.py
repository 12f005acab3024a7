"""A run as one file to share: ``bench export RUN --out FILE.tar.gz``.

It holds the run folder below its grid's, without checkpoints and what only its own machine is concerned with,
and `manifest.json`, the SHA-256 of each file. Unpacked where runs are, it is a run like any other: it can be
shown, compared, reported and predicted with, and `bench run` of its grid finds it done. Equal runs give equal
bytes.
"""

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from bench_errors import InputError
from benchmark.report.data.find import find_folder
from benchmark.run_folder.files import read_lines, write_atomically
from benchmark.run_folder.folder import WEIGHTS
from benchmark.run_folder.tests import PREDICTIONS, TESTS

FILES = (
    "config.yaml",
    "sessions.jsonl",
    "environment.json",
    "model.json",
    "split.json",
    "availability.csv",
    "log.jsonl",
    WEIGHTS,
    "failed",
    "done",
    *(f"{test}{name}" for test in ("", f"{TESTS}/*/") for name in ("test.yaml", "cases.csv", "examples.npz")),
    f"{TESTS}/*/done",
)
"""What is shared of a run folder, where it is there, as patterns."""
MAPS = f"{TESTS}/*/{PREDICTIONS}/*.npz"
"""What is shared too where it is asked for."""
MANIFEST = "manifest.json"


def archive_path(text: str, runs: Path) -> Path:
    """Return the archive in the working directory that has the name of the run that `text` names."""
    return Path(f"{find_folder(text, runs).path.resolve().name}.tar.gz")


def export_run(text: str, runs: Path, out: Path, unfinished: bool = False, predictions: bool = False) -> Path:
    """Write the archive of the run that `text` names and return its path.

    Args:
        text: path or name of a run folder.
        runs: folder of the run folders.
        out: the archive, `.tar.gz`.
        unfinished: take a run that is not done too.
        predictions: take the class maps of its tests too, as far as they are there; see `predictions`.

    Raises `InputError` where there is no such run, it is not done, or damaged, or the archive cannot be
    written.
    """
    run = find_folder(text, runs)
    if (state := run.state()) != "done" and not unfinished:
        raise InputError(
            f"{run.path} is {state}, not done: finish it with bench run, or give --unfinished to export "
            "what there is"
        )
    run.check_whole()
    if not out.name.endswith(".tar.gz"):
        raise InputError(f"--out {out}: expected a name that ends in .tar.gz")
    try:
        write_atomically(out, _archive(run.path.resolve(), (*FILES, MAPS) if predictions else FILES))
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another --out") from None
    return out


def _archive(run: Path, patterns: Sequence[str]) -> bytes:
    """Names, order and content decide the bytes; time, owner and mode of the files do not."""
    buffer, manifest = io.BytesIO(), {}
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(f"{run.parent.name}/{run.name}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        for file in (path for pattern in patterns for path in sorted(run.glob(pattern))):
            content = _without_names(file) if file.name == "sessions.jsonl" else file.read_bytes()
            name = file.relative_to(run).as_posix()
            manifest[name] = sha256(content).hexdigest()
            add(name, content)
        add(MANIFEST, json.dumps(manifest, indent=1).encode())
    return buffer.getvalue()


def _without_names(sessions: Path) -> bytes:
    """The sessions without the names of machines and their process ids, which concern nobody else."""
    lines = [{k: v for k, v in line.items() if k not in ("host", "pid")} for line in read_lines(sessions)]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
