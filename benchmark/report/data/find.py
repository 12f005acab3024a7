"""From what a user calls a run or a grid to what is there: ``find_runs("runs/demo", Path("runs"))``."""

from difflib import get_close_matches
from pathlib import Path

from bench_errors import InputError
from benchmark.report.data.collect import read_runs
from benchmark.report.data.runs import Run
from benchmark.run_folder.folder import RunFolder, grid_folder, run_folders


def find_folder(text: str, runs: Path) -> RunFolder:
    """Return the run folder that `text` names; raise `InputError` if it names none, or a grid of several."""
    folders = find_folders(text, runs)
    if len(folders) > 1:
        raise InputError(
            f"{text} is a grid of {len(folders)} runs: name one of them, such as {folders[0].path.name}"
        )
    return folders[0]


def find_runs(text: str, runs: Path) -> list[Run]:
    """Return the runs that `text` names, each with one of its tests: of a run folder, or of a grid."""
    return [run for folder in find_folders(text, runs) for run in read_runs(folder)]


def find_folders(text: str, runs: Path) -> list[RunFolder]:
    """Return the run folders that `text` names: a run folder's path or name, or a grid's folder or name.

    Raises `InputError` where there is none, with the nearest names, and where a name is in several grids.
    """
    for path in (Path(text), runs / text, grid_folder(text, runs)):
        if (path / "config.yaml").exists():
            return [RunFolder(path)]
        if folders := run_folders(path):
            return folders
    every = {path.parent for path in runs.glob("*/*/config.yaml")}
    named = [path for path in every if path.name == text]
    if len(named) == 1:
        return [RunFolder(named[0])]
    if named:
        raise InputError(f"{text} is in several grids: give its path, such as {min(named)}")
    names = sorted({path.name for path in every} | {path.parent.name for path in every})
    near = get_close_matches(text, names, n=2, cutoff=0.5)
    hint = f"; there are {len(every)} runs under {runs}: say with --runs where it is"
    if near:
        hint = f": did you mean {' or '.join(near)}?"
    raise InputError(f"no run or grid '{text}'{hint}")
