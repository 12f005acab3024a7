"""What a trial is worth: its values from the rows of its `validation.csv`.

values_of(search, read_rows(folder.path / VALIDATED))      # one per goal of the search, Dice in 0..1
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from benchmark.run_folder.case_rows import CaseRow
from benchmark.tune.study_file import Search


def values_of(search: Search, rows: Sequence[CaseRow]) -> tuple[float, ...]:
    """Return the value of each goal: the mean Dice over all rows, the lowest over those of one subset."""
    mean = sum(row.value for row in rows) / len(rows)
    worst = min(means_by(rows, lambda row: row.subset).values())
    return {"mean": (mean,), "worst": (worst,), "both": (mean, worst)}[search.goal]


def means_by(rows: Iterable[CaseRow], key: Callable[[CaseRow], str]) -> dict[str, float]:
    """Return the mean value of the rows by what `key` says of them."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row.value)
    return {name: sum(values) / len(values) for name, values in found.items()}
