"""What a table is, before it is Markdown, LaTeX, csv or HTML.

    Table(labels=("Network", "Method"), columns=(Column("WT", "WT"),), blocks=(Block("RFNet", rows),), ...)

`tables` and its neighbours make them, `render` turns them into text, and `figures` draws some of them. This
file reads no run and imports no library.
"""

import math
from dataclasses import dataclass

DECIMALS = 2
P_PLACES = 4
"""Places after the point of a p, which nothing else has as many of."""
SECOND_FROM = 3
"""Number of methods from which on the second best is marked too."""


@dataclass(frozen=True)
class Cell:
    """One number with what is known of it.

    Attributes:
        value: in percent or in the column's unit; nan where there is none.
        sd: standard deviation over the runs; nan where there is one run.
        interval: the lower and upper end of its confidence interval; empty without one.
        mark: `best`, `second` or the empty string.
    """

    value: float
    sd: float = math.nan
    interval: tuple[float, float] | tuple[()] = ()
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        name: what csv files call it, such as `flair+t1ce`.
        title: its head, such as `WT`; not shown above a subset's dots.
        present: where the column is a subset, which of the table's `modalities` are present.
        higher_is_better: the direction; None where the column has none, such as a number of parameters.
        decimals: places after the point.
    """

    name: str
    title: str
    present: tuple[bool, ...] = ()
    higher_is_better: bool | None = None
    decimals: int = DECIMALS


@dataclass(frozen=True)
class Row:
    """One method, or one setting of it.

    Attributes:
        labels: what stands left of the numbers, after the block's title; True and False are a check and none.
        cells: one per column.
        method: title of the method, for those who sort and filter.
        runs: how many runs (seeds) the values are over.
        source: who reported the numbers, where they are not ours; such rows have no part in marks.
        citation: number by which the caption names that source; 0 where they are ours.
        link: page of the method, where there is one; in HTML alone.
    """

    labels: tuple[str | bool, ...]
    cells: tuple[Cell, ...]
    method: str
    runs: int = 1
    source: str = ""
    citation: int = 0
    link: str = ""


@dataclass(frozen=True)
class Block:
    """Rows that belong together under one title: those of a region, or of a backbone."""

    title: str
    rows: tuple[Row, ...]
    region: str = ""


@dataclass(frozen=True)
class Difference:
    """One cell's difference to that of its reference.

    Attributes:
        block: title of the row's block.
        column: name of the column.
        method: title of the method.
        reference: title of what it is compared with.
        trainings: their number, on the side that has fewer; those of one seed under several tables are one.
        patients: their number.
        difference: method minus reference.
        low, high: ends of its interval, see `Effect`; nan where there is none.
    """

    block: str
    column: str
    method: str
    reference: str
    trainings: int
    patients: int
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """A table: what stands where, and under which conditions.

    Attributes:
        name: for files and labels, such as ``phantom-mr2468-dice``.
        kind: what it shows: `answer`, `numbers`, `ranks`, `places`, `subsets`, `profiles`, `ablation`,
            `sweep`, `marginal`, `shapley` or `costs`.
        metric: name of the metric, such as `dice`.
        title: the metric with its unit, such as ``Dice (%)``.
        higher_is_better: direction of the metric.
        policy: name of the metric policy.
        labels: heads of the label columns: of the block's title, then one per label of a row.
        columns: of the numbers.
        blocks: the rows.
        caption: what it shows, plain text that goes on from the title.
        modalities: titles of the modalities, where columns are subsets; else empty.
        heading: what the report calls it.
        differences: of its cells, where there is something to compare them with.
        conditions: of its numbers, in sentences; a report says them once for all tables of a section.
    """

    name: str
    kind: str
    metric: str
    title: str
    higher_is_better: bool
    policy: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    caption: str
    modalities: tuple[str, ...] = ()
    heading: str = ""
    differences: tuple[Difference, ...] = ()
    conditions: str = ""

    @property
    def text(self) -> str:
        """What stands under the table where it stands alone."""
        return f"{self.caption} {self.conditions}".strip()

    @property
    def rows(self) -> list[Row]:
        """The rows of all blocks."""
        return [row for block in self.blocks for row in block.rows]
