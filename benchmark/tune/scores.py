"""What a trial is worth: its values from the rows of its `validation.csv`.

values_of(plan, read_rows(folder))      # one per goal of the plan, Dice in 0..1
"""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from benchmark.run_folder.folder import VALIDATED, RunFolder
from benchmark.tune.study_file import Plan


class Scored(Protocol):
    """What a row has to say: `sliding_window.Row` does, and `Validated`, which needs no torch."""

    @property
    def subset(self) -> str:
        """Name of the subset of modalities."""

    @property
    def region(self) -> str:
        """Name of the region."""

    @property
    def value(self) -> float:
        """Dice in 0..1."""


class Validated(NamedTuple):
    """One line of `validation.csv`."""

    case: str
    subset: str
    region: str
    value: float


def read_rows(folder: RunFolder) -> list[Validated]:
    """Return the rows of a trial's validation cases."""
    with (folder.path / VALIDATED).open(newline="", encoding="utf-8") as file:
        return [
            Validated(row["case"], row["subset"], row["region"], float(row["value"]))
            for row in csv.DictReader(file)
        ]


def values_of(plan: Plan, rows: Sequence[Scored]) -> tuple[float, ...]:
    """Return the value of each goal: the mean Dice over all rows, the lowest over those of one subset."""
    mean = sum(row.value for row in rows) / len(rows)
    worst = min(means_by(rows, lambda row: row.subset).values())
    return {"mean": (mean,), "worst": (worst,), "both": (mean, worst)}[plan.goal]


def means_by(rows: Iterable[Scored], key: Callable[[Scored], str]) -> dict[str, float]:
    """Return the mean value of the rows by what `key` says of them."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row.value)
    return {name: sum(values) / len(values) for name, values in found.items()}
