"""The schema of scores by case: `CaseRow` and the files that hold such rows.

    write_rows(folder / "cases.csv", rows)
    rows = read_rows(folder / "cases.csv")          # a list of `CaseRow`
    frame = read_frame(folder / "cases.csv")        # the same for pandas, words as categories

Whoever writes, tunes by, reports, compares or uploads scores goes through this file.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench_errors import InputError
from benchmark.run_folder.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd


class CaseRow(NamedTuple):
    """One score: of a case, segmented from a subset of its modalities.

    `policy` names the rules of the metric. `value` is in the metric's unit (Dice in 0..1), nan where the
    policy gives no value.
    """

    case: str
    subset: str
    region: str
    metric: str
    policy: str
    value: float


COLUMNS = CaseRow._fields
WORDS = list(COLUMNS[:-1])
"""The columns of text."""
ADVICE = "remove the folder that it is in and run the grid again"


def write_rows(path: Path, rows: Iterable[CaseRow]) -> None:
    """Replace the file as a whole, so that a case is either in it with all its rows or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*row[:-1], repr(row.value)) for row in rows)
    write_atomically(path, text.getvalue().encode())


def read_rows(path: Path) -> list[CaseRow]:
    """Return the rows of a file, none where there is none; raise `InputError` where it is damaged."""
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = csv.reader(file, strict=True)
        if tuple(header) != COLUMNS:
            raise ValueError(f"expected the columns {', '.join(COLUMNS)}, found {', '.join(header)}")
        return [_row(*line) for line in lines]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({' '.join(str(error).split())}): {ADVICE}") from None


def _row(case: str, subset: str, region: str, metric: str, policy: str, value: str) -> CaseRow:
    return CaseRow(case, subset, region, metric, policy, float(value))


def read_frame(path: Path) -> "pd.DataFrame":
    """Return the rows as a frame with the `COLUMNS`, all but value as categories.

    Raises `InputError` if the file is not one, or has a row twice.
    """
    import pandas as pd

    try:
        rows = _frame(path, "category")
        if any(pd.api.types.is_numeric_dtype(rows[name].cat.categories) for name in WORDS if name in rows):
            # Categories of digits alone have become numbers, and case 007 has lost its name.
            rows = _frame(path, str).astype({name: "category" for name in WORDS if name in rows})
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}): {ADVICE}") from None
    if tuple(rows.columns) != COLUMNS or not pd.api.types.is_numeric_dtype(rows["value"]):
        raise InputError(
            f"{path}: expected the columns {', '.join(COLUMNS)} and numbers in the last: {ADVICE}"
        )
    repeated = rows.duplicated(WORDS[:4])
    if repeated.any():
        twice = rows[repeated].iloc[0]
        raise InputError(
            f"{path} has case {twice['case']}, subset {twice['subset']}, {twice['region']}, "
            f"{twice['metric']} twice: {ADVICE}"
        )
    return rows


def _frame(path: Path, kind: Any) -> "pd.DataFrame":
    """Read the file with all columns but the last as `kind`."""
    import pandas as pd

    kinds = dict.fromkeys(WORDS, kind)
    missing = {"value": ["nan"]}
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=missing, low_memory=False)
