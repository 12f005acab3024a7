"""What `bench profile` does: print who lacks what, and how much of it."""

import sys
from pathlib import Path

from bench_errors import InputError
from datasets import DATASETS
from datasets.missing import availability, read_csv


def print_profile(name: str, cases: Path | None, from_csv: Path | None, dataset: str) -> None:
    """Print a profile's table as csv on standard output, its realised rates and hash on standard error.

    Either `name` and `cases` (a file with one case name a line), or `from_csv` (a table to read).
    """
    description = DATASETS.get(dataset)
    if from_csv is not None:
        if name or cases:
            raise InputError("--from-csv stands alone: leave out the profile's name and --cases")
        table = read_csv(from_csv, description)
    elif name and cases:
        table = availability(name, _read_names(cases), description)
    else:
        raise InputError("expected a profile and --cases FILE, or --from-csv FILE")
    sys.stdout.write(table.to_csv())
    rates = ", ".join(f"{m} {rate:.3f}" for m, rate in table.realised.items())
    print(
        f"{table.profile}: {len(table.cases)} cases, missing rates {rates}, hash {table.hash}",
        file=sys.stderr,
    )


def _read_names(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read: give a text file with one case name a line") from None
    if not names:
        raise InputError(f"{path} has no case names: give a text file with one a line")
    if len(set(names)) < len(names):
        double = next(n for n in names if names.count(n) > 1)
        raise InputError(f"{path} names case {double} twice: each case once")
    return names
