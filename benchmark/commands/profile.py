"""`bench profile`: who lacks what, as a table, counted and drawn."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bench_console import messages
from bench_errors import InputError
from benchmark.commands.options import DatasetOption
from benchmark.commands.outputs import OverwriteOption, check_file
from datasets.missingness.quotas import RELEASED_SEED
from datasets.vocabulary import Description, nfc, patient, presence, subset_name, table_subsets

if TYPE_CHECKING:
    from datasets.missingness.availability import Availability


def profile(
    name: Annotated[str, typer.Argument(help="Profile: mr2468, extreme95, sites.yaml, complete.")] = "",
    cases: Annotated[
        Path | None, typer.Option("--cases", help="File with one case name a line, or a store.")
    ] = None,
    from_csv: Annotated[
        Path | None, typer.Option("--from-csv", help="Show this table instead: ours, or one as released.")
    ] = None,
    dataset: DatasetOption = "brats2020",
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, help="A run's table_seed.")
    ] = RELEASED_SEED,
    split: Annotated[str, typer.Option("--split", help="Whose training cases: see a grid's split.")] = "auto",
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the table into this png file.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Print who lacks what as csv on standard output; rates, hash and counts go to standard error."""
    if picture:
        check_file("--picture", picture, overwrite)
    print_profile(name, cases, from_csv, dataset, seed, picture, split)


def print_profile(
    name: str,
    cases: Path | None,
    from_csv: Path | None,
    dataset: str,
    seed: int,
    picture: Path | None,
    policy: str = "auto",
) -> None:
    """Print a profile's table as csv on standard output; rates, hash and counts go to standard error.

    Args:
        name: the profile.
        cases: a file with one case name a line, or a store, whose training cases are meant.
        from_csv: a table to read, instead of `name` and `cases`.
        dataset: name of the study; a store knows its own.
        seed: of the profile's draws.
        picture: png file to draw the table into.
        policy: the split that says which cases of a store train.
    """
    from benchmark.training.inputs import SPLIT_SEED
    from datasets.batches.split import split
    from datasets.missingness.availability import availability, mechanism, read_csv, store_availability, unit
    from datasets.store.store import Store
    from datasets.studies.names import DATASETS

    description = DATASETS.get(dataset)
    if from_csv is not None:
        if name or cases:
            raise InputError("--from-csv stands alone: leave out the profile's name and --cases")
        table = read_csv(from_csv, description)
    elif name and cases and cases.is_dir():
        store = Store.open(cases)
        description = store.description
        # One patient cannot be divided: runs on it train with `split: same`.
        alone = policy == "auto" and len({patient(case, description) for case in store.cases}) == 1
        policy = "same" if alone else policy
        names = split(store.cases, description, policy, SPLIT_SEED).train
        table = store_availability(name, store, names, seed)
    elif name and cases:
        table = availability(name, _read_names(cases), description, seed)
    else:
        lacking = f"no cases for {name}" if name else "no profile"
        raise InputError(
            f"found {lacking}: give a profile with --cases (a store, or a file with one case name a line), "
            "or --from-csv FILE"
        )
    if picture:
        from benchmark.report.figures.availability import draw_table

        draw_table(table, description, picture)
    sys.stdout.write(table.to_csv())
    sys.stdout.flush()
    console = messages(120)
    rates = ", ".join(f"{m} {rate:.3f}" for m, rate in table.realised.items())
    lines = [f"{table.profile}: {len(table.cases)} cases, missing rates {rates}, hash {table.hash}"]
    lines += [mechanism(table, description), unit(table, description)]
    lines += [f"note: {note}" for note in table.notes]
    console.print(*lines, sep="\n", soft_wrap=True)
    console.print(_subset_counts(table, description), _modality_counts(table))


def _subset_counts(table: "Availability", description: Description) -> Table:
    """How many cases have exactly which modalities."""
    counts = Counter(tuple(row) for row in table.table.tolist())
    shown = Table("cases that have exactly", "cases", "share")
    for subset in table_subsets(description):
        number = counts[presence(subset, description.modalities)]
        shown.add_row(
            subset_name(subset, description.modalities), str(number), f"{number / len(table.cases):.1%}"
        )
    return shown


def _modality_counts(table: "Availability") -> Table:
    """How many cases have each modality, how many lack it, and how many have it in poor quality."""
    shown = Table("modality", "have it", "lack it", "missing rate", "nominal", "of them in poor quality")
    for m, (modality, rate) in enumerate(table.realised.items()):
        has = int(table.table[:, m].sum())
        nominal = "" if table.nominal is None else f"{table.nominal[modality]:g}"
        poor = Counter(str(d) for (_, degraded), d in table.degraded.items() if degraded == modality)
        shown.add_row(
            modality,
            str(has),
            str(len(table.cases) - has),
            f"{rate:.3f}",
            nominal,
            ", ".join(f"{number} {name}" for name, number in sorted(poor.items())),
        )
    return shown


def _read_names(path: Path) -> list[str]:
    from datasets.store.store import check_name

    try:
        lines = nfc(path.read_text(encoding="utf-8")).splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read: give a text file with one case name a line") from None
    names = [check_name(line.strip()) for line in lines if line.strip()]
    if not names:
        raise InputError(f"{path} has no case names: give a text file with one a line")
    if len(set(names)) < len(names):
        double = next(n for n in names if names.count(n) > 1)
        raise InputError(f"{path} names case {double} twice: each case once")
    return names
