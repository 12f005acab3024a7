"""From NIfTI files to a store: turn, crop to the head, normalise each contrast, write what training reads.

    store = prepare(Path("BraTS2020"), BRATS2020, Path("data/brats2020"))
    update = update_store(Path("BraTS2020"), BRATS2020, Path("data/brats2020"), skip_bad=True)
    print(update.written, update.kept, update.gone, update.store.left_out)

`prepare_case` makes the folder of a case. A call prepares the cases that have none yet, or a damaged one;
then the index is replaced, and what it no longer names is removed. So a call that was killed or met a bad
case has lost nothing: until the index is replaced the old store stays as it was, and the next call goes
on.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench_errors import InputError
from bench_lease import LeaseLost, check, hold
from datasets.preparation.check import duplicates, sort_problems
from datasets.preparation.crop import CENTRAL, BoxRule, box_rule
from datasets.preparation.examine import Problem
from datasets.preparation.find import find_cases
from datasets.preparation.parallel import Progress, in_parallel
from datasets.preparation.prepare_case import PARTIAL, VERSION, prepare_case
from datasets.store.store import INDEX, LOCK, CaseRecord, Store
from datasets.studies.names import study_options
from datasets.vocabulary import Description


class Update(NamedTuple):
    """What `update_store` did.

    Attributes:
        store: as it is now; `store.left_out` names the cases that were skipped.
        written: cases that were prepared.
        kept: cases that were there already, from files and a preparation that are the same.
        gone: cases that left the store because their files are gone.
        warnings: of the cases that were written.
    """

    store: Store
    written: list[str]
    kept: list[str]
    gone: list[str]
    warnings: list[Problem]


def prepare(root: Path, description: Description, out: Path, box: BoxRule = "full") -> Store:
    """Return the store of a study: `update_store` with its defaults, where only the store is wanted."""
    return update_store(root, description, out, box).store


def update_store(
    root: Path,
    description: Description,
    out: Path,
    box: BoxRule = "full",
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Update:
    """Check and prepare the cases of a study that are new or have changed, so that `out` is its store.

    Args:
        root: folder of the study.
        description: of the study.
        out: folder of the store, which belongs to the store alone.
        box: `full`, or `released`, which loses the last slice of each axis where the head has more than
            128; a 2-D study that is not taken whole keeps the central part of its slices instead.
        skip_bad: leave out cases with errors, instead of refusing to make the store.
        workers: cases at a time, one a core by default; each takes about 0.6 GB at 240x240x155.
        progress: called with (cases done, cases).

    Raises `InputError`, and leaves the store that was there in force, if that was cut or resampled by another
    rule, a case has an error, no case is left, another call is at work on `out`, or it cannot be written.
    Cases without errors are kept all the same, so that the next call need not prepare them again.
    """
    if box not in ("full", "released"):
        raise InputError(f"unknown box '{box}': choose full or released")
    if box == "released" and description.whole:
        raise InputError(
            f"--box released is a way to cut volumes to the head, those of {description.name} are taken "
            "whole: leave it out"
        )
    cases = find_cases(root, description)
    rule = box_rule(description, box)
    try:
        with _alone(out) as folder:
            before = _before(folder)
            if before:
                _check_rule(before, out, rule, description)
            job = partial(prepare_case, description=description, folder=folder, rule=rule)
            done = in_parallel(job, cases, workers, progress)
            problems = [problem for case in done for problem in case.problems]
            problems += duplicates({case.case: case.prints for case in done})
            errors = [problem for problem in sort_problems(problems) if problem.severity == "error"]
            bad = {error.case: f"{error.file}: {error.message}" for error in reversed(errors)}
            sound = [case for case in done if case.records is not None and case.case not in bad]
            if bad and not (skip_bad and sound):
                _refuse(errors, root, description, len(sound), len(bad))
            records = {name: record for case in sound for name, record in (case.records or {}).items()}
            if description.slices and not records:
                raise InputError(
                    f"no slice of {root} has {description.slices.labelled} labelled voxels, as slices that "
                    "are cases have: lower slices.labelled in the description"
                )
            preparation = {"version": VERSION, "box": rule}
            check(folder / LOCK / "lease")
            Store(folder, description, preparation, records, bad).save_index()
            _remove_unnamed(folder, records)
            store = Store.open(out)
    except LeaseLost:
        raise InputError(
            f"another bench data prepare has taken over {out}, as this one was away for too long: wait for it"
        ) from None
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}): choose another folder with --out"
        ) from None
    written = [name for case in sound if case.written for name in case.records or ()]
    kept = [name for case in sound if not case.written for name in case.records or ()]
    had = {record.slice_of or name for name, record in before.records.items()} if before else set()
    gone = sorted(had - {case.name for case in cases})
    warnings = [p for case in sound for p in sort_problems(case.problems) if p.severity == "warning"]
    return Update(store, written, kept, gone, warnings)


def _refuse(errors: list[Problem], root: Path, description: Description, sound: int, bad: int) -> None:
    first = errors[0]
    more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
    kept = f"{sound} sound cases are kept for the next call" if sound else "no case is without errors"
    skip = f", or leave out the {bad} bad with --skip-bad" if sound else ""
    raise InputError(
        f"case '{first.case}', {first.file}: {first.message}{more}; the store is not changed, {kept}: "
        f"see all with: bench data check '{root}' {study_options(description.name, description.grid)}, and "
        f"mend them{skip}"
    )


@contextmanager
def _alone(out: Path) -> Iterator[Path]:
    """Give the folder of the store to one caller at a time; what was not begun leaves nothing behind."""
    folder = Path(os.path.realpath(out))
    ours = (folder / INDEX).is_file() or (folder / LOCK).is_dir()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{out} exists and is no store: give a new folder, or remove it first")
    (folder / LOCK).mkdir(parents=True, exist_ok=True)
    try:
        with hold(folder / LOCK / "lease") as mine:
            if not mine:
                raise InputError(
                    f"another bench data prepare is at work on {out}: wait for it, or give another --out"
                )
            try:
                for left in folder.glob(f"*/{PARTIAL}"):
                    shutil.rmtree(left)
                yield folder
            finally:
                for case in folder.iterdir():
                    with suppress(OSError):
                        case.rmdir()  # succeeds on empty folders only
    finally:
        with suppress(OSError):  # another caller is at work
            if [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).rmdir()
                folder.rmdir()


def _before(folder: Path) -> Store | None:
    """Return the store that is in a folder, if it has an index that can be read."""
    try:
        return Store.open(folder)
    except InputError:
        return None


def _check_rule(before: Store, out: Path, rule: str, description: Description) -> None:
    """Raise `InputError` where a store would be made anew by another rule: runs begun on it need the old."""
    for option, was, now in (
        ("--box", before.preparation["box"], rule),
        ("--resample", before.description.grid or "none", description.grid or "none"),
    ):
        if was != now:
            as_then = "" if CENTRAL in (was, now) else f"say {option} as then, or "
            raise InputError(
                f"the store {out} was prepared with {option} {was}, now it is {now}: {as_then}give another "
                "--out; runs begun on the store need it as it was"
            )


def _remove_unnamed(folder: Path, records: dict[str, CaseRecord]) -> None:
    """Remove what earlier calls wrote and the index does not name, the arrays of stores of format 1 too."""
    named = {folder / name / record.key for name, record in records.items()}
    for path in list(folder.glob("*/*")):
        if re.fullmatch("[0-9a-f]{16}", path.name) and path not in named:
            shutil.rmtree(path)
        elif path.name in ("volumes.npy", "labels.npy"):
            path.unlink()
