"""Published numbers as rows under ours.

    add_reported(table, "brats2020", lambda column: ("complete", column))

`results/published/<dataset>.csv` holds them, each with the setting it was obtained in, its source, and a note
where one must stand beside it. They are shown, never computed with: no mark, no test and no average of ours
knows them.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.report.tables.table import Cell, Row, Table

FOLDER = Path(__file__).parents[3] / "results" / "published"


KEYS = ("method", "region", "source", "setting", "note")
"""Columns that say which row of a table a number belongs to."""


@dataclass(frozen=True)
class Reported:
    """One row of a table as one source prints it.

    Attributes:
        method: as the source calls it.
        region: that it is about.
        source: where the numbers stand.
        setting: what they were obtained under.
        note: what must be said beside them, such as that their average is not theirs; often empty.
        values: by profile and subset (or `average`), as the tables give them.
    """

    method: str
    region: str
    source: str
    setting: str
    note: str
    values: dict[tuple[str, str], float]

    @property
    def origin(self) -> str:
        """All that must be said of the numbers: source, setting and note."""
        return "; ".join(filter(None, (f"{self.source}: {self.setting}", self.note)))

    @property
    def title(self) -> str:
        """The method with the source without remarks."""
        return f"{self.method} ({self.source.split(' (')[0].split(',')[0]})"


def reported(dataset: str, metric: str) -> list[Reported]:
    """Return what is shipped for a dataset and metric, in the order of the file."""
    path = FOLDER / f"{dataset}.csv"
    if not path.exists():
        return []
    rows: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["metric"] == metric:
                row = tuple(line[key] for key in KEYS)
                rows.setdefault(row, {})[line["profile"], line["subset"]] = float(line["value"])
    return [Reported(**dict(zip(KEYS, row, strict=True)), values=values) for row, values in rows.items()]


def add_reported(table: Table, dataset: str, place: Callable[[str], tuple[str, str]]) -> Table:
    """Return the table with the published rows that have a value in it, or as it is where none has.

    Args:
        table: with a block per region.
        dataset: whose.
        place: the profile and subset (or `average`) that a column stands for, by its name.
    """
    every = reported(dataset, table.metric)
    columns = [place(column.name) for column in table.columns]
    cited: dict[str, int] = {}
    blocks = []
    for block in table.blocks:
        rows = []
        for one in every:
            cells = tuple(Cell(one.values.get(column, math.nan)) for column in columns)
            if one.region == block.region and not all(math.isnan(cell.value) for cell in cells):
                number = cited.setdefault(one.origin, len(cited) + 1)
                rows.append(Row((one.method,), cells, one.title, 0, one.origin, number))
        blocks.append(replace(block, rows=(*block.rows, *rows)))
    if not cited:
        return table
    return replace(
        table,
        blocks=tuple(blocks),
        caption=f"{table.caption} Numbered rows are reported by others and have no part in marks and tests; "
        "they may differ in split, training and metric, and their averages are as reported. "
        f"{' '.join(f'[{number}] {origin}.' for origin, number in cited.items())}",
    )
