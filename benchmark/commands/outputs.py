"""Where commands may write: never over what they did not write, and over their own work when told to.

    check_file("--csv", path, overwrite)
    with output_folder("predict", out, overwrite, reading=study):
        ...                                        # `out` is there, and this command's

A folder is a command's if it was new or empty, and holds `MARKER` since: so the user's files are never
mistaken for ours. Of a single file that is not known, so whatever is there needs `--overwrite`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from bench_errors import InputError

MARKER = ".written-by-bench"
"""File in a folder that a command has written; its content is the command's name."""

OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier call has written there.")
]


def check_file(option: str, path: Path, overwrite: bool, reading: Iterable[Path] = ()) -> None:
    """Raise `InputError` if `path` must not be written: it is there already, or one of the files being read.

    Args:
        option: that gave the path, such as ``--out``.
        path: the file to write.
        overwrite: whether the user lets it be replaced; what is being read never is.
        reading: the files that the command reads.
    """
    if os.path.realpath(path) in map(os.path.realpath, reading):
        raise InputError(f"{option} {path} is one of the files that are read: choose another name")
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder: give the name of a file")
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{option} {path} is there already: choose another name, or add --overwrite")


def check_outside(out: Path, study: Path) -> None:
    """Raise `InputError` if a folder to write lies in the folder of the study that is being read."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(study)):
        raise InputError(f"{out} lies in {study}, which is being read: choose a folder outside of it")


@contextmanager
def output_folder(command: str, out: Path, overwrite: bool, reading: Path | None = None) -> Iterator[None]:
    """Make `out` the command's folder while it writes; leave nothing of it behind if nothing was written.

    Args:
        command: its name, as the user calls it.
        out: a new or empty folder, or with `overwrite` one that the same command has written.
        overwrite: whether the user lets earlier results be replaced.
        reading: the study that the command reads.

    Raises `InputError` for any other folder, and where it cannot be written.
    """
    if reading is not None:
        check_outside(out, reading)
    marker, new = out / MARKER, not out.exists()
    try:
        if _visible(out):
            written_by = marker.read_text(encoding="utf-8") if marker.is_file() else ""
            if written_by != command:
                raise InputError(f"{out} holds files that bench {command} has not written: give a new folder")
            if not overwrite:
                raise InputError(
                    f"{out} holds what bench {command} has written earlier: add --overwrite to replace "
                    "it, or give a new folder"
                )
        out.mkdir(parents=True, exist_ok=True)
        marker.write_text(command, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{error.filename or out} cannot be written ({error.strerror}): choose another folder"
        ) from None
    try:
        yield
    finally:
        if not _visible(out):
            with suppress(OSError):
                marker.unlink()
                if new:
                    out.rmdir()


def _visible(folder: Path) -> bool:
    """Whether there is a folder that holds anything but hidden files."""
    return folder.exists() and any(not name.startswith(".") for name in os.listdir(folder))
