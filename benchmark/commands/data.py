"""`bench data`: make, check, prepare and verify studies."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import Progress
from rich.table import Table

from bench_console import messages, output
from benchmark.commands.options import DatasetOption, OutOption, WorkersOption
from benchmark.commands.outputs import OverwriteOption, check_outside, output_folder

if TYPE_CHECKING:
    from datasets.preparation.crop import BoxRule
    from datasets.preparation.examine import Problem

ResampleOption = Annotated[
    str,
    typer.Option(
        "--resample",
        help="Bring files on several grids to that of this modality, or to voxels of so many mm.",
    ),
]

EXIT_CODES = {"note": 0, "warning": 1, "error": 2}

data = typer.Typer(no_args_is_help=True, help="Make, check, prepare and verify studies.")


@data.command()
def phantom(
    out: OutOption,
    cases: Annotated[int, typer.Option("--cases", min=1, help="Number of cases.")] = 40,
    size: Annotated[str, typer.Option("--size", help="Edge in voxels, or XxYxZ up to 240x240x155.")] = "64",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Equal seeds give equal files, to the byte.")
    ] = 0,
    layout: Annotated[str, typer.Option("--layout", help="brats, gliomas or myops.")] = "brats",
    overwrite: OverwriteOption = False,
) -> None:
    """Make a synthetic study of NIfTI files that looks and behaves like BraTS (or MyoPS)."""
    with output_folder("data phantom", out, overwrite):
        make_phantom(out, cases, size, seed, layout)


@data.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")],
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Name, or path of a YAML file (default: recognised by the files)."),
    ] = None,
    resample: ResampleOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the problems as JSON.")] = False,
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="--no-labels: the patients are to be predicted.")
    ] = True,
) -> None:
    """Check every file of a study. Exit code 0: sound, 1: warnings, 2: errors."""
    raise typer.Exit(check_folder(folder, dataset, as_json, labels, resample))


@data.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")],
    dataset: DatasetOption,
    out: OutOption,
    box: Annotated[
        Literal["full", "released"], typer.Option("--box", help="released loses the last slice of some axes.")
    ] = "full",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out cases with errors instead of stopping.")
    ] = False,
    resample: ResampleOption = "",
    workers: WorkersOption = None,
) -> None:
    """Crop, normalise and store a study; later calls do what is new, changed or damaged, or was cut off."""
    check_outside(out, folder)
    prepare_folder(folder, dataset, out, box, skip_bad, workers, resample)


@data.command()
def verify(
    store: Annotated[Path, typer.Argument(help="Folder of a store.")],
    workers: WorkersOption = None,
) -> None:
    """Test the checksum of every case of a store. Exit code 0: sound, 2: damaged."""
    raise typer.Exit(verify_store(store, workers))


def make_phantom(out: Path, cases: int, size: str, seed: int, layout: str) -> None:
    """Write a phantom study with a progress bar; `size` is ``"64"`` or ``"240x240x155"``."""
    from datasets.phantom.study import study_size, write_study

    with _bar("phantom") as advance:
        shape = study_size(size)
        names = write_study(out, cases, shape, seed, layout, progress=lambda done: advance(done, cases))
    print(f"wrote {len(names)} cases to {out}")


def check_folder(
    folder: Path, dataset: str | None, as_json: bool, labels: bool = True, resample: str = ""
) -> int:
    """Print what a study has and the problems of its cases; return the exit code of the worst.

    `resample`: as in `regridded`. `labels`: whether every case is to have one.
    """
    from datasets.preparation.check import check_cases
    from datasets.preparation.find import find_cases, fitting
    from datasets.studies.names import DATASETS, regridded
    from datasets.vocabulary import patient

    fits, *others = [DATASETS.get(dataset)] if dataset else fitting(folder)
    description = regridded(fits, resample)
    cases = find_cases(folder, description)
    with _bar("check") as advance:
        problems = check_cases(folder, cases, description, progress=advance, labelled=labels)
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
        if others:
            names = ", ".join(other.name for other in others)
            print(f"files and names of {names} are alike: if it is that, say so with --dataset")
        counts = Counter(p.severity for p in problems)
        print(", ".join(f"{n} {severity}{'s' * (n > 1)}" for severity, n in counts.items()) or "no problems")
    return max((EXIT_CODES[p.severity] for p in problems), default=0)


def _print_problems(problems: "list[Problem]") -> None:
    if problems:
        table = Table("case", "severity", "file", "problem")
        for p in problems:
            table.add_row(p.case, p.severity, p.file, p.message)
        output(240).print(table)


def prepare_folder(
    folder: Path,
    dataset: str,
    out: Path,
    box: "BoxRule",
    skip_bad: bool,
    workers: int | None,
    resample: str = "",
) -> None:
    """Bring the store of a study up to date with a progress bar and print what came of it."""
    from datasets.preparation.find import find_cases
    from datasets.preparation.prepare import update_store
    from datasets.preparation.unused import unused
    from datasets.studies.names import DATASETS, regridded

    description = regridded(DATASETS.get(dataset), resample)
    with _bar("prepare") as advance:
        update = update_store(folder, description, out, box, skip_bad, workers, advance)
    store = update.store
    for problem in unused(folder, description, find_cases(folder, description)):
        if problem.severity == "warning":
            print(f"warning: {problem.file}: {problem.message}", file=sys.stderr)
    if update.warnings:
        first, *others = update.warnings
        more = f" (and {len(others)} more warnings)" if others else ""
        check = f"bench data check '{folder}' --dataset {dataset}" + f" --resample {resample}" * bool(
            resample
        )
        print(
            f"warning: case '{first.case}', {first.file}: {first.message}{more}; see all with: {check}",
            file=sys.stderr,
        )
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
    from datasets.preparation.parallel import in_parallel
    from datasets.store.store import Store
    from datasets.studies.names import prepare_command

    store = Store.open(path)
    with _bar("verify") as advance:
        damaged = in_parallel(store.damaged, store.cases, workers, advance)
    bad = {case: names for case, names in zip(store.cases, damaged, strict=True) if names}
    for case, names in bad.items():
        again = prepare_command(
            store.description.name, path, box=store.preparation["box"], grid=store.description.grid
        )
        print(f"{case}: missing or damaged: {', '.join(names)}; prepare it again, alone, with: {again}")
    print(f"{len(store.cases)} cases, {len(bad)} damaged (data hash {store.hash})")
    return 2 if bad else 0


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar while there is a terminal; yields what to call with (done, total)."""
    console = messages()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
