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
    def short(self) -> str:
        """The source without remarks."""
        return self.source.split(" (")[0].split(",")[0]


def reported(dataset: str, metric: str) -> list[Reported]:
    """Return what is shipped for a dataset and metric, in the order of the file."""
    path = FOLDER / f"{dataset}.csv"
    if not path.exists():
        return []
    rows: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["metric"] == metric:
                row = tuple(line[key] for key in ("method", "region", "source", "setting", "note"))
                rows.setdefault(row, {})[line["profile"], line["subset"]] = float(line["value"])
    return [Reported(*row, values) for row, values in rows.items()]


def add_reported(table: Table, dataset: str, place: Callable[[str], tuple[str, str]]) -> Table:
    """Return the table with the published rows that have a value in it, or as it is where none has.

    Args:
        table: with a block per region.
        dataset: whose.
        place: the profile and subset (or `average`) that a column stands for, by its name.
    """
    every = reported(dataset, table.metric)
    columns = [place(column.name) for column in table.columns]
    sources: dict[str, None] = {}
    blocks = []
    for block in table.blocks:
        rows = []
        for one in every:
            values = [one.values.get(column, math.nan) for column in columns]
            if one.region == block.region and not all(map(math.isnan, values)):
                rows.append(_row(one, values))
                sources[f"{one.source}: {one.setting}"] = None
        blocks.append(replace(block, rows=(*block.rows, *rows)))
    if not sources:
        return table
    return replace(
        table,
        blocks=tuple(blocks),
        caption=f"{table.caption} Rows reported by others are set apart and have no part in marks and tests; "
        "they may differ in split, training and metric, and their averages are as reported: "
        f"{'; '.join(sources)}.",
    )


def _row(one: Reported, values: list[float]) -> Row:
    source = f"{one.short}; {one.note}" if one.note else one.short
    return Row((one.method,), tuple(map(Cell, values)), f"{one.method} ({one.short})", 0, source)
