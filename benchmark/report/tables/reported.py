"""Published numbers as rows under ours.

    add_reported(table, "brats2020", lambda column: ("complete", column))

`results/published/<dataset>.csv` holds them, each with the setting it was obtained in and its source. They
are shown, never computed with: no mark, no test and no average of ours knows them.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.report.tables.table import Block, Cell, Row, Table

FOLDER = Path(__file__).parents[3] / "results" / "published"


@dataclass(frozen=True)
class Reported:
    """One method as one source reports it.

    Attributes:
        method: as the source calls it.
        source: where the numbers stand.
        settings: what they were obtained under.
        values: by profile, subset (or `average`) and region, as the tables give them.
    """

    method: str
    source: str
    settings: tuple[str, ...]
    values: dict[tuple[str, str, str], float]

    @property
    def short(self) -> str:
        """The source without remarks."""
        return self.source.split(" (")[0].split(",")[0]


def reported(dataset: str, metric: str) -> list[Reported]:
    """Return what is shipped for a dataset and metric, by method and source in the order of the file."""
    path = FOLDER / f"{dataset}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == metric]
    found = []
    for method, source in dict.fromkeys((row["method"], row["source"]) for row in rows):
        own = [row for row in rows if (row["method"], row["source"]) == (method, source)]
        values = {(row["profile"], row["subset"], row["region"]): float(row["value"]) for row in own}
        found.append(Reported(method, source, tuple(dict.fromkeys(row["setting"] for row in own)), values))
    return found


def add_reported(table: Table, dataset: str, place: Callable[[str], tuple[str, str]]) -> Table:
    """Return the table with the published rows that have a value in it, or as it is where none has.

    Args:
        table: with a block per region.
        dataset: whose.
        place: the profile and subset (or `average`) that a column stands for, by its name.
    """
    every = reported(dataset, table.metric)
    columns = [place(column.name) for column in table.columns]
    used: list[Reported] = []
    blocks = []
    for block in table.blocks:
        rows = []
        for one in every:
            values = [one.values.get((*where, block.region), math.nan) for where in columns]
            if not all(map(math.isnan, values)):
                rows.append(_row(one, values))
                used += [one] if one not in used else []
        blocks.append(Block(block.title, (*block.rows, *rows), block.region))
    if not used:
        return table
    sources = dict.fromkeys(f"{one.source}: {', '.join(one.settings)}" for one in used)
    return replace(
        table,
        blocks=tuple(blocks),
        caption=f"{table.caption} Rows reported by others are set apart and have no part in marks and tests; "
        "they may differ in split, training and metric, and their averages are as reported: "
        f"{'; '.join(sources)}.",
    )


def _row(one: Reported, values: list[float]) -> Row:
    return Row((one.method,), tuple(map(Cell, values)), f"{one.method} ({one.short})", 0, one.short)
