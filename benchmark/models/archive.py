"""A run as one file to share: ``bench export RUN --out FILE.tar.gz``.

It holds the run folder below its grid's, without checkpoints and what only its own machine is concerned with.
Unpacked where runs are, it is a run like any other: it can be shown, compared, reported and predicted with,
and `bench run` of its grid finds it done. Equal runs give equal bytes.
"""

import gzip
import io
import tarfile
from pathlib import Path

from bench_errors import InputError
from benchmark.report.data.find import find_run
from benchmark.run_folder.folder import write_atomically

FILES = (
    "config.yaml",
    "environment.json",
    "model.json",
    "split.json",
    "availability.csv",
    "log.jsonl",
    "cases.csv",
    "examples.npz",
    "weights.safetensors",
    "failed",
    "done",
)
"""What is shared of a run folder, where it is there."""


def archive_path(text: str, runs: Path) -> Path:
    """Return the archive in the working directory that has the name of the run that `text` names."""
    return Path(f"{find_run(text, runs).path.resolve().name}.tar.gz")


def export_run(text: str, runs: Path, out: Path, unfinished: bool = False) -> Path:
    """Write the archive of the run that `text` names and return its path.

    Args:
        text: path or name of a run folder.
        runs: folder of the run folders.
        out: the archive, `.tar.gz`.
        unfinished: take a run that is not done too.

    Raises `InputError` where there is no such run, it is not done, or the archive cannot be written.
    """
    run = find_run(text, runs)
    if run.state != "done" and not unfinished:
        raise InputError(
            f"{run.path} is {run.state}, not done: finish it with bench run, or give --unfinished to export "
            "what there is"
        )
    if not out.name.endswith(".tar.gz"):
        raise InputError(f"--out {out}: expected a name that ends in .tar.gz")
    try:
        write_atomically(out, _archive(run.path.resolve()))
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another --out") from None
    return out


def _archive(run: Path) -> bytes:
    """Names, order and content decide the bytes; time, owner and mode of the files do not."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in FILES:
            if (run / name).exists():
                content = (run / name).read_bytes()
                entry = tarfile.TarInfo(f"{run.parent.name}/{run.name}/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
