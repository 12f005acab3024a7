"""From what a user calls a run or a grid to what was read of it: ``find_runs("runs/demo", Path("runs"))``."""

from difflib import get_close_matches
from pathlib import Path

from bench_errors import InputError
from benchmark.report.data.collect import read_run
from benchmark.report.data.runs import Run
from benchmark.run_folder.folder import RunFolder, run_folders


def find_run(text: str, runs: Path) -> Run:
    """Return the one run that `text` names; raise `InputError` if it names none, or a grid of several."""
    found = find_runs(text, runs)
    if len(found) > 1:
        raise InputError(
            f"{text} is a grid of {len(found)} runs: name one of them, such as {found[0].path.name}"
        )
    return found[0]


def find_runs(text: str, runs: Path) -> list[Run]:
    """Return the runs that `text` names: a run folder's path or name, or a grid's folder or name.

    Raises `InputError` where there is none, with the nearest names, and where a name is in several grids.
    """
    for path in (Path(text), runs / text, runs / Path(text).stem):
        if (path / "config.yaml").exists():
            return [read_run(RunFolder(path))]
        if folders := run_folders(path):
            return [read_run(folder) for folder in folders]
    places = {path.parent for path in runs.glob("*/*/config.yaml")}
    named = [path for path in places if path.name == text]
    if len(named) == 1:
        return [read_run(RunFolder(named[0]))]
    if named:
        raise InputError(f"{text} is in several grids: give its path, such as {min(named)}")
    known = sorted({path.name for path in places} | {path.parent.name for path in places})
    near = get_close_matches(text, known, n=2, cutoff=0.5)
    hint = f"; there are {len(places)} runs under {runs}: say with --runs where it is"
    if near:
        hint = f": did you mean {' or '.join(near)}?"
    raise InputError(f"no run or grid '{text}'{hint}")
