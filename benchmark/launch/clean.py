"""What run folders hold that nobody needs: ``bench clean --grid G``, and ``--remove RULE`` to remove it.

Of the rules only `orphans` loses results. Runs that a process is working on are left alone.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from bench_console import output
from bench_errors import InputError
from bench_registry import unknown
from benchmark.config.grid import Grid
from benchmark.launch.slurm_queue import JOBS
from benchmark.run_folder.checkpoint import FILES, FRESH, is_whole
from benchmark.run_folder.files import PARTIAL
from benchmark.run_folder.folder import RunFolder, run_folders

RULES = {
    "temporary": "what a crash left half written",
    "checkpoints": "of runs that are done, and older ones beside a whole newer one",
    "jobs": "what SLURM's jobs left, where every run of the folder is done",
    "orphans": "runs that the grid, with the --set given, does not have",
}


@dataclass(frozen=True)
class Waste:
    """What one rule finds of one run, or (without `run`) of a grid's folder: files and folders."""

    rule: str
    paths: tuple[Path, ...]
    bytes: int
    run: RunFolder | None = None


def clean(grid: Grid | None, runs: Path, remove: Sequence[str] = ()) -> None:
    """Print what the rules find, and remove what those named in `remove` have found.

    Args:
        grid: whose runs to look at; None: all runs, of which none can be told to be an orphan.
        runs: folder of the run folders.
        remove: names of `RULES`.

    Raises `InputError` for an unknown rule, orphans without a grid, and what cannot be removed.
    """
    for name in remove:
        if name not in RULES:
            raise InputError(f"--remove: {unknown('rule', name, list(RULES))}")
    if grid is None and "orphans" in remove:
        raise InputError("--remove orphans: say with --grid which runs there are to be")
    folders = (
        [runs / grid.name] if grid else sorted({path.parents[1] for path in runs.glob("*/*/config.yaml")})
    )
    held = [run for folder in folders for run in run_folders(folder) if run.holder()]
    found = find_waste(folders, grid)
    try:
        removed = [waste for waste in found if waste.rule in remove and _remove(waste)]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be removed ({error.strerror})") from None
    _print(found, removed, held, console=output())


def find_waste(folders: Sequence[Path], grid: Grid | None = None) -> list[Waste]:
    """Return what the rules find in the folders of grids, by rule; `grid` says which runs are no orphans."""
    known = {config.folder for config in grid.configs} if grid else set[str]()
    found = []
    for folder in folders:
        found.append(_waste("temporary", sorted(folder.glob(f".*{PARTIAL}"))))
        begun = run_folders(folder)
        if all(run.state() == "done" for run in begun):
            found.append(_waste("jobs", sorted((folder / JOBS).glob("*"))))
        for run in begun:
            if run.holder():
                continue
            if grid and run.path.name not in known:
                found.append(_waste("orphans", [run.path], run))
                continue
            found.append(_waste("temporary", _temporary(run), run))
            found.append(_waste("checkpoints", _checkpoints(run), run))
    return sorted((waste for waste in found if waste.paths), key=lambda waste: list(RULES).index(waste.rule))


def _waste(rule: str, paths: Sequence[Path], run: RunFolder | None = None) -> Waste:
    files = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    return Waste(rule, tuple(paths), sum(file.lstat().st_size for file in files if not file.is_dir()), run)


def _temporary(run: RunFolder) -> list[Path]:
    return [path for path in (*sorted(run.path.glob(f".*{PARTIAL}")), run.path / FRESH) if path.exists()]


def _checkpoints(run: RunFolder) -> list[Path]:
    there = [path for path in (run.path / name for name in FILES) if path.exists()]
    if run.state() == "done":
        return there
    return there[1:] if there and is_whole(there[0]) else []


def _remove(waste: Waste) -> bool:
    """Remove what was found, unless a process has begun to work on the run meanwhile."""
    if waste.run is None:
        _remove_paths(waste.paths)
        return True
    if waste.run.holder():
        return False
    with waste.run.lease() as mine:
        if mine and waste.rule == "orphans":
            # Under a name by which what is left of it is found, should this be killed.
            waste.run.path.rename(beside := waste.run.path.with_name(f".{waste.run.path.name}{PARTIAL}"))
            shutil.rmtree(beside)
        elif mine:
            _remove_paths(waste.paths)
    return mine


def _remove_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _print(found: list[Waste], removed: list[Waste], held: list[RunFolder], console: Console) -> None:
    table = Table("rule", "what", "runs", "size", "removed")
    for rule, what in RULES.items():
        of_rule = [waste for waste in found if waste.rule == rule]
        gone = [waste for waste in removed if waste.rule == rule]
        runs = len({waste.run for waste in of_rule if waste.run})
        table.add_row(rule, what, str(runs), _size(of_rule), _size(gone))
    console.print(table)
    for waste in found:
        if waste.run and waste.rule == "orphans":
            gone_or_state = "removed" if waste in removed else waste.run.state()
            console.print(f"orphan {waste.run.path}: {gone_or_state}", soft_wrap=True)
    for run in held:
        console.print(f"left alone {run.path}: {run.holder()} works on it", soft_wrap=True)
    if found and not removed:
        console.print("nothing was removed: --remove RULE does that, once for each rule")


def _size(found: list[Waste]) -> str:
    return decimal(sum(waste.bytes for waste in found))
