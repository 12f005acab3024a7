"""What each modality is worth, by region and method: ``contributions(marginal, shapley)``."""

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmark.report.figures.style import (
    STYLE,
    WIDTH,
    Point,
    draw_points,
    looks,
    method_legend,
    new_figure,
    offsets,
    widen,
    zero_line,
)
from benchmark.report.tables.table import Table


def contributions(marginal: Table, shapley: Table) -> Figure:
    """Draw matched marginal contributions above Shapley values, a column per region, with their intervals."""
    look_of = looks([row.method for row in marginal.blocks[0].rows])
    regions, modalities = len(marginal.blocks), len(marginal.columns) - 1
    with rc_context(STYLE):
        figure = new_figure(max(WIDTH, 1.1 + regions * modalities * (0.15 + 0.06 * len(look_of))), 4.6)
        axes = figure.subplots(2, regions, sharex=True, sharey="row", squeeze=False)
        titles = ("matched marginal\ncontribution", "Shapley value")
        for row, table, title in zip(axes, (marginal, shapley), titles, strict=True):
            for axis, block in zip(row, table.blocks, strict=True):
                rows = [r for r in block.rows if r.method in look_of]
                for found, shift in zip(rows, offsets(len(rows)), strict=True):
                    points = [
                        Point(m + shift, cell.value, *cell.interval)
                        for m, cell in enumerate(found.cells[:modalities])
                    ]
                    draw_points(axis, points, look_of[found.method])
                zero_line(axis)
            widen(row[0])
            row[0].set_ylabel(f"{title}\n{table.title}")
        for axis, block in zip(axes[0], marginal.blocks, strict=True):
            axis.set_title(block.title, fontweight="bold")
        for axis in axes[1]:
            axis.set_xticks(range(modalities), [column.title for column in marginal.columns[:modalities]])
            axis.set_xlim(-0.5, modalities - 0.5)
        method_legend(figure, look_of)
    return figure
