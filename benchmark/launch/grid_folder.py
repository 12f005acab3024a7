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
    record = runs / grid.name / RECORD
    if grid.file is None or not record.is_file():
        return
    owner = Path(os.path.normpath(record.parent.resolve() / record.read_text(encoding="utf-8")))
    if owner.is_file() and owner.read_bytes() != grid.file.read_bytes():
        raise InputError(
            f"{record.parent} holds the runs of {owner}, and {grid.file} is another grid of that name: "
            f"rename one, give another folder by --runs, or remove {record} if they are meant as one grid"
        )


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
