"""Whose a grid's folder is: two grid files of one name do not share it without a word.

    check_owner(grid, Path("runs"))     # `InputError` where runs/demo is of another demo.yaml
    record_owner(grid, Path("runs"))    # runs/demo is of this file

The record is the file's path as seen from the folder, so that both can be copied or moved together.
"""

import os
from pathlib import Path

from bench_errors import InputError
from benchmark.config.grid import Grid
from benchmark.run_folder.files import write_atomically

RECORD = "grid.txt"


def check_owner(grid: Grid, runs: Path) -> None:
    """Raise `InputError` where the grid's folder is of another grid file that is still there."""
    folder = runs / grid.name
    owner = owner_of(folder)
    if grid.file and owner and owner.read_bytes() != grid.file.read_bytes():
        raise InputError(
            f"{folder} holds the runs of {owner}, and {grid.file} is another grid of that name: rename one, "
            f"give another folder by --runs, or remove {folder / RECORD} if they are meant as one grid"
        )


def owner_of(folder: Path) -> Path | None:
    """Return the grid file that a folder is of; None where none is recorded, or it is not there any more."""
    record = folder / RECORD
    if not record.is_file():
        return None
    owner = Path(os.path.normpath(folder.resolve() / record.read_text(encoding="utf-8")))
    return owner if owner.is_file() else None


def record_owner(grid: Grid, runs: Path) -> None:
    """Write which file the grid's folder is of."""
    if grid.file is not None:
        folder = (runs / grid.name).resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / RECORD, os.path.relpath(grid.file.resolve(), folder).encode())
        except OSError as error:
            raise InputError(
                f"{folder} cannot be written ({error.strerror}): choose another place with --runs"
            ) from None
