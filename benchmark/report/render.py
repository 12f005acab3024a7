"""A `Table` as Markdown, LaTeX or csv: ``markdown(table)``, ``latex(table)``, ``wide_csv(table)``.

Markdown needs nothing; LaTeX compiles in any document that loads booktabs.
"""

import csv
import io
import math
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.report.tables import DECIMALS, Row, Table

PRESENT, ABSENT = "●", "○"
DASH = "\N{EN DASH}"

_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


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
        autoescape=False,  # Markdown and LaTeX, no HTML
    )
    made.filters |= {"latex": escape_latex, "cell": escape_markdown}
    return made


def markdown(table: Table) -> str:
    """Return the table and, under it, its caption. Best bold, second underlined."""
    head = [
        ["", "", *(f"{PRESENT if on else ABSENT}" for on in column), ""]
        for column in zip(*table.present, strict=True)
    ]
    for row, modality in zip(head, table.modalities, strict=True):
        row[1] = modality
    head[-1][-1] = "Average"
    body = [
        [block.region if i == 0 else "", escape_markdown(row.method), *_markdown_values(row)]
        for block in table.blocks
        for i, row in enumerate(block.rows)
    ]
    lines = [head[0], ["---", "---", *["---:"] * (len(table.subsets) + 1)], *_bold(head[1:]), *body]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{text}\n{table.title} {_arrow(table, '↑', '↓')} {escape_markdown(table.caption)}\n"


def latex(table: Table) -> str:
    """Return a `table*` environment. Best bold, second underlined; standard deviations in a line below."""
    head = [
        [escape_latex(modality), *("\\present" if on else "\\absent" for on in column)]
        for modality, column in zip(table.modalities, zip(*table.present, strict=True), strict=True)
    ]
    return (
        environment()
        .get_template("table.tex.j2")
        .render(
            table=table,
            arrow=_arrow(table, r"$\uparrow$", r"$\downarrow$"),
            head=head,
            blocks=[
                (block.region, [line for row in block.rows for line in _latex_lines(row)])
                for block in table.blocks
            ],
        )
    )


def wide_csv(table: Table) -> str:
    """Return a line per region, method and statistic (mean, sd over several runs), a column per subset."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "policy", "region", "method", "runs", "statistic", *table.subsets, "average"])
    for block in table.blocks:
        for row in block.rows:
            for statistic, values in (("mean", row.mean), ("sd", row.sd)):
                if values:
                    numbers = ["" if math.isnan(v) else f"{v:.{DECIMALS + 2}f}" for v in values]
                    conditions = [table.title, table.policy, block.region, row.method, row.runs, statistic]
                    writer.writerow([*conditions, *numbers])
    return text.getvalue()


def escape_latex(text: Any) -> str:
    """Return `text` with LaTeX's special characters made harmless; % stays with its number."""
    return "".join(_LATEX.get(character, character) for character in str(text)).replace(r" \%", r"~\%")


def escape_markdown(text: Any) -> str:
    """Return `text` fit for one cell of a Markdown table."""
    return re.sub(r"([|*_<>`])", r"\\\1", " ".join(str(text).split()))


def number(value: float) -> str:
    """Return a value as printed in tables; a dash where there is none."""
    return DASH if math.isnan(value) else f"{value:.{DECIMALS}f}"


def _arrow(table: Table, up: str, down: str) -> str:
    return up if table.higher_is_better else down


def _bold(lines: list[list[str]]) -> list[list[str]]:
    return [
        [f"**{cell}**" if cell and cell not in (PRESENT, ABSENT) else cell for cell in line] for line in lines
    ]


def _markdown_values(row: Row) -> list[str]:
    cells = []
    for i, (value, mark) in enumerate(zip(row.mean, row.marks, strict=True)):
        text = number(value) + (f" ± {number(row.sd[i])}" if row.sd else "")
        cells.append({"best": f"**{text}**", "second": f"<ins>{text}</ins>"}.get(mark, text))
    return cells


def _latex_lines(row: Row) -> list[list[str]]:
    values = [
        {"best": f"\\textbf{{{number(v)}}}", "second": f"\\underline{{{number(v)}}}"}.get(mark, number(v))
        for v, mark in zip(row.mean, row.marks, strict=True)
    ]
    lines = [[escape_latex(row.method), *values]]
    if row.sd:
        lines.append(["", *(f"{{\\tiny$\\pm${number(v)}}}" for v in row.sd)])
    return [[cell.replace(DASH, "--") for cell in line] for line in lines]
