"""What the `bench data` commands do: make, check, prepare and verify studies."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from bench_errors import InputError
from benchmark.lease import hold_in_turn
from datasets import DATASETS
from datasets.check import check_cases
from datasets.examine import Problem
from datasets.find import find_cases, recognise
from datasets.parallel import in_parallel
from datasets.prepare import VERSION, BoxRule, prepare, update_store
from datasets.split import patient
from datasets.store import FORMAT, Store
from datasets.vocabulary import Description

EXIT_CODES = {"note": 0, "warning": 1, "error": 2}


def make_phantom(out: Path, cases: int, size: str, seed: int, layout: str) -> None:
    """Write a phantom study with a progress bar; `size` is ``"64"`` or ``"240x240x155"``."""
    from datasets.phantom import write_study

    with _bar("phantom") as advance:
        shape = study_size(size)
        names = write_study(out, cases, shape, seed, layout, progress=lambda done: advance(done, cases))
    print(f"wrote {len(names)} cases to {out}")


def check_folder(folder: Path, dataset: str | None, as_json: bool) -> int:
    """Print what a study has and the problems of its cases; return the exit code of the worst."""
    description: Description = DATASETS.get(dataset) if dataset else recognise(folder)
    cases = find_cases(folder, description)
    with _bar("check") as advance:
        problems = check_cases(cases, description, progress=advance)
    available = {m: sum(m in case.files for case in cases) for m in description.modalities}
    patients = len({patient(case.name, description) for case in cases})
    if as_json:
        numbers = {"cases": len(cases), "patients": patients, "available": available}
        found = [asdict(problem) for problem in problems]
        print(json.dumps({"dataset": description.name, **numbers, "problems": found}, indent=1))
    else:
        _print_problems(problems)
        has = ", ".join(f"{m} {count}" for m, count in available.items())
        print(f"{description.name}: {len(cases)} cases of {patients} patients; cases with {has}")
        counts = Counter(p.severity for p in problems)
        print(", ".join(f"{n} {severity}{'s' * (n > 1)}" for severity, n in counts.items()) or "no problems")
    return max((EXIT_CODES[p.severity] for p in problems), default=0)


def _print_problems(problems: list[Problem]) -> None:
    if problems:
        table = Table("case", "severity", "file", "problem")
        for p in problems:
            table.add_row(*(escape(text) for text in (p.case, p.severity, p.file, p.message)))
        Console(width=None if Console().is_terminal else 240).print(table)


def prepare_folder(
    folder: Path, dataset: str, out: Path, box: BoxRule, skip_bad: bool, workers: int | None
) -> None:
    """Bring the store of a study up to date with a progress bar and print what came of it."""
    with _bar("prepare") as advance:
        update = update_store(folder, DATASETS.get(dataset), out, box, skip_bad, workers, advance)
    store = update.store
    for name, error in store.left_out.items():
        print(f"left out {name}: {error}")
    for name in update.gone:
        print(f"removed {name}: its files are gone from {folder}")
    print(
        f"prepared {len(update.written)} cases of {dataset} to {out}, kept {len(update.kept)}: "
        f"{len(store.cases)} in all (data hash {store.hash})"
    )


def verify_store(path: Path, workers: int | None) -> int:
    """Test the checksum of every file of a store; print the damaged cases and return 2 if there are any."""
    store = Store.open(path)
    with _bar("verify") as advance:
        damaged = in_parallel(store.damaged, store.cases, workers, advance)
    bad = {case: names for case, names in zip(store.cases, damaged, strict=True) if names}
    for case, names in bad.items():
        again = f"bench data prepare STUDY --dataset {store.description.name} --out '{path}'"
        print(f"{case}: missing or damaged: {', '.join(names)}; prepare it again, alone, with: {again}")
    print(f"{len(store.cases)} cases, {len(bad)} damaged (data hash {store.hash})")
    return 2 if bad else 0


def phantom_store(name: str, options: dict[str, Any], folder: Path, console: Console) -> Path:
    """Make and prepare the phantom study of a grid, unless it is there already; return its store.

    Of several callers one makes it and the others wait. Raises `InputError` where it cannot be written.
    """
    store = folder / name
    wanted = json.dumps({**options, "store": [FORMAT, VERSION]}, sort_keys=True)
    if _is_made(store, wanted):
        return store
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold_in_turn(folder / f"{name}.maker"):
            if not _is_made(store, wanted):
                console.print(
                    f"making the phantom study {name}: {options.get('cases', 40)} cases", soft_wrap=True
                )
                _make_phantom_store(store, options)
                _recipe(store).write_text(wanted)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror}): choose another place with --runs"
        ) from None
    Store.open(store)
    return store


def _make_phantom_store(store: Path, options: dict[str, Any]) -> None:
    from datasets.phantom import write_study

    files = store.with_name(f"{store.name}-nifti")
    try:
        shutil.rmtree(files, ignore_errors=True)
        write_study(
            files,
            options.get("cases", 40),
            study_size(str(options.get("size", 64))),
            options.get("seed", 0),
            options.get("layout", "brats"),
        )
        prepare(files, DATASETS.get(store.name), store)
    finally:
        shutil.rmtree(files, ignore_errors=True)


def _recipe(store: Path) -> Path:
    return store.with_name(f"{store.name}.json")


def _is_made(store: Path, wanted: str) -> bool:
    """Whether a phantom study's store is there and was made by the wanted recipe."""
    recipe = _recipe(store)
    return recipe.exists() and recipe.read_text() == wanted and (store / "store.json").exists()


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar while there is a terminal; yields what to call with (done, total)."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def study_size(text: str) -> int | tuple[int, int, int]:
    """Read the size of a phantom study: one edge in voxels, ``"64"``, or three, ``"240x240x155"``."""
    try:
        edges = [int(part) for part in text.lower().split("x")]
    except ValueError:
        edges = []
    if len(edges) == 1:
        return edges[0]
    if len(edges) == 3:
        return (edges[0], edges[1], edges[2])
    raise InputError(f"size '{text}': expected one edge such as 64, or three such as 240x240x155")
