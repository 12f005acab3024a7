"""A `Table` as text: ``markdown(table)``, ``latex(table)``, ``wide_csv(table)``, ``html(table)``.

Best is bold, second best underlined, and arrows say which way is better. Under a table stand its caption and
the conditions of its numbers, which `brief` leaves out again. Markdown needs nothing; LaTeX compiles in any
document that loads booktabs and graphicx; the HTML is one `<table>` that names region, metric and method of
each row in data attributes.
"""

import math
import re
from collections.abc import Callable
from dataclasses import astuple, fields
from functools import cache
from html import escape as escape_html
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.report.tables.csv_text import csv_text
from benchmark.report.tables.table import P_PLACES, Block, Cell, Column, Difference, Row, Table

PRESENT, ABSENT, CHECK = "●", "○", "✓"
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
ARROWS = (r"$\uparrow$", r"$\downarrow$")
"""LaTeX's arrows, up and down."""
LINES = 40
"""Lines below its head that a page of LaTeX takes beside a long caption; more go into several parts."""

_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    CHECK: r"\checkmark{}",
    "±": r"$\pm$",
    DASH: "--",
    MINUS: "$-$",
}


@cache
def environment() -> Environment:
    """Return the environment of the shipped templates; its marks are angles, as braces belong to LaTeX."""
    made = Environment(
        loader=PackageLoader("benchmark.report"),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # three languages, each with a filter of its own
    )
    made.filters |= {"latex": escape_latex, "cell": escape_markdown, "html": escape_html}
    return made


def markdown(table: Table) -> str:
    """Return the table and, under it, its caption."""
    head = _head(table, (PRESENT, ABSENT), escape_markdown, ("↑", "↓"))
    body = []
    for block in table.blocks:
        for i, row in enumerate(block.rows):
            labels = [escape_markdown(block.title) if i == 0 else "", *map(escape_markdown, label_texts(row))]
            body.append([*labels, *map(_markdown_cell, table.columns, row.cells)])
    rule = [*["---"] * len(table.labels), *["---:"] * len(table.columns)]
    lines = [head[0], rule, *_bold(head[1:]), *body]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{text}\n{table.title} {_arrow(table.higher_is_better)} {escape_markdown(table.text)}\n"


def brief(text: str, table: Table, clean: Callable[[Any], str]) -> str:
    """Return a table's Markdown or HTML without the conditions, which a page says once for many tables."""
    return text.replace(f" {clean(table.conditions)}", "", 1) if table.conditions else text


def latex(table: Table) -> str:
    """Return a `table*` environment; of a table taller than a page one for each part, with one number.

    Standard deviations and intervals stand beside their numbers, in a column of their own; under them where
    the columns are subsets, as these fill the page.
    """
    beside = [
        not table.modalities and any(_small(column, row.cells[i]) for row in table.rows)
        for i, column in enumerate(table.columns)
    ]
    head = _head(table, ("\\present", "\\absent"), escape_latex, ARROWS)
    for line in head:
        start = len(table.labels)
        line[start:] = [
            f"\\multicolumn{{2}}{{c}}{{{cell}}}" if double else cell
            for cell, double in zip(line[start:], beside, strict=True)
        ]
    kinds = [r"r@{\,}l" if double else "r" for double in beside]
    if table.modalities:
        kinds[-1] = r"@{\hspace{8pt}}r"
    return (
        environment()
        .get_template("table.tex.j2")
        .render(
            table=table,
            arrow=_arrow(table.higher_is_better, ARROWS),
            columns="l" * len(table.labels) + "".join(kinds),
            head=head,
            parts=_parts([_latex_block(table.columns, block, beside) for block in table.blocks]),
        )
    )


def wide_csv(table: Table) -> str:
    """Return a line per row and statistic (mean, sd, low, high, as far as there are), all columns beside.

    The head has `metric`, `policy`, the table's labels, `runs`, `source`, `statistic` and the columns' names.
    """
    heads = [label.lower() for label in table.labels]
    names = [column.name for column in table.columns]
    lines = []
    for block in table.blocks:
        for row in block.rows:
            labels = [int(label) if isinstance(label, bool) else label for label in row.labels]
            start = [table.title, table.policy, block.title, *labels, row.runs or "", row.source]
            for statistic, values in _statistics(row).items():
                numbers = [
                    "" if math.isnan(value) else f"{value:.{column.decimals + 2}f}"
                    for value, column in zip(values, table.columns, strict=True)
                ]
                lines.append([*start, statistic, *numbers])
    return csv_text(["metric", "policy", *heads, "runs", "source", "statistic", *names], lines)


def html(table: Table) -> str:
    """Return a `<table>` with its caption: one head row, a `<tbody>` per block, a `<th scope="row">` per row.

    `<table>` has `data-kind`, `data-metric` and `data-higher-is-better`; each `<tr>` `data-region`,
    `data-metric` and `data-method` (and the class `reported` and `data-source` where the numbers are not
    ours); each number's `<td>` `data-value` and the classes `best` and `second`; each number's `<th>`
    `data-column`.
    """
    return (
        environment()
        .get_template("table.html.j2")
        .render(
            table=table,
            arrow=_arrow(table.higher_is_better),
            column_title=lambda column: column.title + _column_arrow(table, column),
            label_texts=label_texts,
            pairs=lambda row: zip(table.columns, row.cells, strict=True),
            attributes=_html_attributes,
            cell_html=_html_cell,
        )
    )


def differences_csv(table: Table) -> str:
    """Return a line per difference of the table, whole: the heads are those of `Difference`."""
    rows = (
        [table.title, *(f"{v:.6g}" if isinstance(v, float) else v for v in astuple(difference))]
        for difference in table.differences
    )
    return csv_text(["metric", *(field.name for field in fields(Difference))], rows)


def p_value(p: float) -> str:
    """``0.031``, ``< 0.001``, a dash for none."""
    return DASH if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def escape_latex(text: Any) -> str:
    """Return `text` with LaTeX's special characters made harmless; % stays with its number."""
    return "".join(_LATEX.get(character, character) for character in str(text)).replace(r" \%", r"~\%")


def escape_markdown(text: Any) -> str:
    """Return `text` fit for one cell of a Markdown table."""
    return re.sub(r"([|*_<>`])", r"\\\1", " ".join(str(text).split()))


def number(value: float, decimals: int = 2) -> str:
    """Return a value as printed in tables, with a true minus; a dash where there is none.

    With the four places of a p, one that would be rounded to nothing is ``< 0.0001``.
    """
    if math.isnan(value):
        return DASH
    if decimals == P_PLACES and 0 <= value < 0.5 * 10**-P_PLACES:
        return f"< {10**-P_PLACES:.{P_PLACES}f}"
    text = f"{abs(value):.{decimals}f}"
    return MINUS + text if value < 0 and float(text) else text


def label_texts(row: Row) -> list[str]:
    """The labels of a row as words: a check mark or nothing for a switch, the citation after the last."""
    texts = [(CHECK if label else "") if isinstance(label, bool) else label for label in row.labels]
    if row.citation:
        texts[-1] += f" [{row.citation}]"
    return texts


def _statistics(row: Row) -> dict[str, list[float]]:
    """Each statistic that any cell of a row has, with its value in every cell."""
    found = {
        "mean": [cell.value for cell in row.cells],
        "sd": [cell.sd for cell in row.cells],
        "low": [cell.interval[0] if cell.interval else math.nan for cell in row.cells],
        "high": [cell.interval[1] if cell.interval else math.nan for cell in row.cells],
    }
    return {k: v for k, v in found.items() if k == "mean" or not all(map(math.isnan, v))}


def _arrow(higher_is_better: bool, arrows: tuple[str, str] = ("↑", "↓")) -> str:
    return arrows[0] if higher_is_better else arrows[1]


def _column_arrow(table: Table, column: Column, arrows: tuple[str, str] = ("↑", "↓")) -> str:
    """An arrow where the column's direction is not the table's."""
    if column.higher_is_better in (None, table.higher_is_better):
        return ""
    return f" {_arrow(bool(column.higher_is_better), arrows)}"


def _head(
    table: Table, dots: tuple[str, str], clean: Callable[[Any], str], arrows: tuple[str, str]
) -> list[list[str]]:
    """The head's lines: the columns' titles, or a line of dots per modality and the titles in the last."""
    titles = ["" if c.present else clean(c.title) + _column_arrow(table, c, arrows) for c in table.columns]
    if not table.modalities:
        return [[*map(clean, table.labels), *titles]]
    lines = []
    for i, modality in enumerate(table.modalities):
        last = i == len(table.modalities) - 1
        cells = [
            dots[not column.present[i]] if column.present else title * last
            for column, title in zip(table.columns, titles, strict=True)
        ]
        lines.append([*[""] * (len(table.labels) - 1), clean(modality), *cells])
    return lines


def _bold(lines: list[list[str]]) -> list[list[str]]:
    return [
        [f"**{cell}**" if cell and cell not in (PRESENT, ABSENT) else cell for cell in line] for line in lines
    ]


def _interval(column: Column, cell: Cell) -> str:
    return "[" + ", ".join(number(v, column.decimals) for v in cell.interval) + "]" if cell.interval else ""


def _spread(column: Column, cell: Cell) -> str:
    return "" if math.isnan(cell.sd) else f"± {number(cell.sd, column.decimals)}"


def _markdown_cell(column: Column, cell: Cell) -> str:
    text = f"{number(cell.value, column.decimals)} {_small(column, cell)}".strip()
    return {"best": f"**{text}**", "second": f"<ins>{text}</ins>"}.get(cell.mark, text)


def _parts(blocks: list[list[list[list[str]]]]) -> list[list[list[list[str]]]]:
    """Cut blocks of rows of lines into parts of blocks of lines, each of `LINES` at most; rows stay whole.

    A part begins with a block, unless one is taller than a part: then its title comes again.
    """
    parts: list[list[list[list[str]]]] = [[]]
    room = LINES
    for rows in blocks:
        title = rows[0][0][0]
        lines: list[list[str]] = []
        if parts[-1] and sum(map(len, rows)) > room:
            parts.append([])
            room = LINES
        for row in rows:
            if len(row) > room:
                parts[-1].append(lines)
                parts.append([])
                lines, room = [[title, *row[0][1:]], *row[1:]], LINES
            else:
                lines += row
            room -= len(row)
        parts[-1].append(lines)
    return parts


def _latex_block(columns: tuple[Column, ...], block: Block, beside: list[bool]) -> list[list[list[str]]]:
    """The rows of a block: of each the line of its numbers, and one of what stands under them, if any."""
    rows = []
    for i, row in enumerate(block.rows):
        title = escape_latex(block.title) if i == 0 else ""
        if row.source and i and not block.rows[i - 1].source:
            title = r"\addlinespace "
        numbers, below = [], []
        for column, cell, double in zip(columns, row.cells, beside, strict=True):
            small = escape_latex(_small(column, cell))
            small = f"{{\\tiny {small}}}" if small else ""
            value = _latex_number(column, cell)
            numbers += [value, small] if double else [value]
            below.append("" if double else small)
        rows.append([[title, *map(escape_latex, label_texts(row)), *numbers]])
        if any(below):
            rows[-1].append([""] * (len(row.labels) + 1) + below)
    return rows


def _latex_number(column: Column, cell: Cell) -> str:
    text = escape_latex(number(cell.value, column.decimals))
    return {"best": f"\\textbf{{{text}}}", "second": f"\\underline{{{text}}}"}.get(cell.mark, text)


def _small(column: Column, cell: Cell) -> str:
    """What stands with a number: its standard deviation, its interval."""
    return " ".join(part for part in (_spread(column, cell), _interval(column, cell)) if part)


def _html_attributes(cell: Cell) -> str:
    text = "" if math.isnan(cell.value) else f' data-value="{cell.value:.6g}"'
    return f'{text} class="{cell.mark}"' if cell.mark else text


def _html_cell(column: Column, cell: Cell) -> str:
    text = number(cell.value, column.decimals)
    text = {"best": f"<b>{text}</b>", "second": f"<u>{text}</u>"}.get(cell.mark, text)
    small = _small(column, cell)
    return f"{text} <small>{escape_html(small)}</small>" if small else text
