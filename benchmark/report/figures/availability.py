"""A picture of who lacks what: ``draw_table(table, description, Path("mr2468.png"))``.

A column per case, sorted by what it has, a row per modality. Equal neighbours are drawn as one rectangle, so
a thousand cases are as sharp as ten. The colours can be told apart by the colour-blind.
"""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench_errors import InputError
from benchmark.report.data.names import modality_title
from benchmark.report.figures.style import METADATA, STYLE
from datasets.vocabulary import Description, presence, profile_label, table_subsets

if TYPE_CHECKING:
    from datasets.missingness.availability import Availability

HAS, LACKS = "#0072B2", "#ececec"
POOR = {"1": "#FBCF7A", "2": "#E08E00", "3": "#7A3E00"}
"""By severity."""
LEGEND = {HAS: "has it", LACKS: "lacks it"} | {POOR[s]: f"poor, severity {s}" for s in POOR}
NARROW = 0.022
"""Share of the cases below which a subset's number would not fit above its column."""


def draw_table(table: "Availability", description: Description, path: Path) -> None:
    """Write the table as a png; `InputError` where it cannot be written."""
    figure = table_figure(table, description)
    with rc_context(STYLE):
        try:
            figure.savefig(path, format="png", dpi=150, metadata=METADATA["png"])
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror}): choose another place with --picture"
            ) from None


def table_figure(table: "Availability", description: Description) -> Figure:
    """Draw the table."""
    order = {presence(subset, table.modalities): i for i, subset in enumerate(table_subsets(description))}
    cells = [[table.cell(i, m) for m in range(len(table.modalities))] for i in range(len(table.cases))]
    rows = sorted(
        range(len(cells)), key=lambda i: (-order[tuple(table.table[i].tolist())], cells[i], table.cases[i])
    )
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 1.5 + 0.5 * len(table.modalities)), layout="constrained")
        axis = figure.subplots()
        colours = [_draw_row(axis, m, [cells[i][m] for i in rows]) for m in range(len(table.modalities))]
        _draw_subsets(axis, [tuple(table.table[i].tolist()) for i in rows])
        axis.set_yticks(range(len(table.modalities)), [_label(table, m) for m in table.modalities])
        axis.set_ylim(len(table.modalities) - 0.5, -0.5)
        axis.set_xlim(0, len(rows))
        axis.set_xlabel(f"{len(rows)} cases, sorted by what they have")
        axis.spines[:].set_visible(False)
        axis.tick_params(left=False, bottom=False, labelbottom=False)
        axis.set_title(f"{profile_label(table.profile)}, table {table.hash}", loc="left", pad=18)
        shown = [colour for colour in LEGEND if colour in set().union(*colours)]
        figure.legend(
            handles=[Patch(facecolor=c, edgecolor="#777777", label=LEGEND[c]) for c in shown],
            loc="outside lower center",
            ncols=len(shown),
            frameon=False,
        )
    return figure


def _draw_row(axis: Axes, m: int, cells: list[str]) -> set[str]:
    """Draw a modality's cells and return the colours used."""
    begin, used = 0, set()
    for cell, run in groupby(cells):
        length = len(list(run))
        colour = {"0": LACKS, "1": HAS}.get(cell) or POOR[cell.rpartition("-")[2]]
        axis.broken_barh([(begin, length)], (m - 0.42, 0.84), facecolors=colour)
        used.add(colour)
        begin += length
    return used


def _draw_subsets(axis: Axes, subsets: list[tuple[bool, ...]]) -> None:
    """Separate the subsets by lines and write their numbers above those that are wide enough."""
    begin = 0
    for _, run in groupby(subsets):
        length = len(list(run))
        axis.axvline(begin, color="white", linewidth=1)
        if length >= NARROW * len(subsets):
            axis.annotate(
                str(length),
                (begin + length / 2, 1.0),
                xycoords=axis.get_xaxis_transform(),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        begin += length


def _label(table: "Availability", modality: str) -> str:
    nominal = "" if table.nominal is None else f" (nominal {100 * table.nominal[modality]:g} %)"
    return f"{modality_title(modality)}\n{100 * table.realised[modality]:.1f} % missing{nominal}"
