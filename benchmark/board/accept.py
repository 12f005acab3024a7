"""``bench board add ARCHIVE``: trainings that keep the rules join a board, all that are given or none."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from filecmp import cmp
from pathlib import Path

from bench_errors import InputError
from benchmark.board.check_run import check_run
from benchmark.board.entries import RUNS, Accepted, Entry, entries
from benchmark.board.keep import keep
from benchmark.board.rules import LEAST, BrokenRule, keeping, require
from benchmark.board.unpack import unpack
from benchmark.report.data.collect import collect
from benchmark.run_folder.folder import WEIGHTS, run_folders


def add_archives(archives: Sequence[Path], board: Path, stores: Mapping[str, Path]) -> list[Entry]:
    """Check archives, add their trainings to the board, and return the entries that they are of.

    Args:
        archives: files of `bench export`, by anybody.
        board: its folder; a new one is made.
        stores: the board's own stores by dataset; others are looked for at `data/NAME`.

    Raises `BrokenRule` naming the archive and the rule that it breaks, `InputError` where a file or a store
    is missing or the board cannot be written; then the board is as it was.
    """
    for archive in archives:
        if not archive.is_file():
            raise InputError(f"no file {archive}: give an archive that bench export wrote")
    runs, made = board / RUNS, not board.exists()
    try:
        board.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=board) as place:
            new = Path(place) / RUNS
            for archive in archives:
                with tempfile.TemporaryDirectory(dir=place) as unpacked:
                    _check(archive, Path(unpacked), new, runs, stores)
            names = [folder.path.name for folder in run_folders(new)]
            for entry in _of(names, [folder for folder in (runs, new) if folder.exists()]):
                text = f"{entry.title} has {entry.seeds}, give its other archives in the same call"
                require("trainings", entry.seeds >= LEAST, text)
            runs.mkdir(exist_ok=True)
            for name in names:
                (new / name).rename(runs / name)
            return _of(names, [runs])
    except OSError as error:
        raise InputError(f"{board} cannot be written ({error.strerror}): choose another --board") from None
    finally:
        if made:
            with suppress(OSError):  # it holds something
                board.rmdir()


def _check(archive: Path, place: Path, new: Path, runs: Path, stores: Mapping[str, Path]) -> None:
    """Check one archive and keep its training in `new`."""
    try:
        checked = check_run(*unpack(archive, place), stores)
        weights = checked.hashes.get(WEIGHTS)
        others = [*run_folders(runs), *run_folders(new)]
        for there in others:
            name = there.path.name
            other = name != checked.inputs.config.folder
            require("once", other, f"{name} is on the board, or given twice")
            same = weights and Accepted.of(there.path).weights == weights
            require("once", not same, f"its weights are those of {name}")
        kept = keep(checked, new, archive)
        for there in others:
            tests = [(ours.cases, theirs.cases) for ours in kept.tests() for theirs in there.tests()]
            same = any(cmp(*files, shallow=False) for files in tests)
            require("once", not same, f"its scores are those of {there.path.name}, each of them")
    except BrokenRule as error:
        raise BrokenRule(error.rule, error.text, archive.name) from None


def _of(names: Sequence[str], folders: Sequence[Path]) -> list[Entry]:
    """The entries of the named trainings; all in the folders have to be ones that may stand in one table."""
    with keeping("data"):
        every = entries(collect(folders, ["policy"]))
    return [entry for entry in every if any(run.path.name in names for run in entry.runs)]
