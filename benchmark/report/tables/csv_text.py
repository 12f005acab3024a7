"""Csv for people, who open it in spreadsheets: ``csv_text(head, rows)``.

A spreadsheet computes a cell that begins as a formula does, and a formula can fetch pages and start programs.
Names in our tables may come from folders of others, so such a cell is written as text, with an apostrophe
before it. What our own code reads back (`cases.csv`, `availability.csv`) needs none: `check_name` of the
store refuses such names of cases.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from datasets.vocabulary import FORMULA


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as csv, with a line for its head and each row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_harmless(cell) for cell in row] for row in (head, *rows))
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r", " ")  # which would begin a line, and so another cell
    return f"'{text}" if text.strip().startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
