"""Methods by subsets as a heat map: ``heat_map(table)``."""

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmark.report.figures.style import GAP, STYLE, draw_presence, new_figure
from benchmark.report.tables.render import number
from benchmark.report.tables.table import Table

INCHES = {"cell": 0.58, "row": 0.3}
SMALL = {"cell": 0.3, "row": 0.14}
"""The same for more methods than `ROOMY`: they fit a page without the numbers in their cells."""
ROOMY = 12
DOTS = 0.2
MOST_ROWS = 24
"""Methods that fit a page."""


def heat_map(table: Table) -> Figure:
    """Draw methods by subsets, one panel per region, on one scale; bright is better.

    The values stand in the cells where there are at most `ROOMY` methods.
    """
    blocks = [(b.title, [row for row in b.rows if not row.source]) for b in table.blocks]
    columns, methods = len(table.columns), len(blocks[0][1])
    panels, dots = len(blocks), len(table.modalities)
    every = np.array([[[cell.value for cell in row.cells] for row in rows] for _, rows in blocks])
    low, high = (np.nanmin(every), np.nanmax(every)) if np.isfinite(every).any() else (0.0, 1.0)
    scale = Normalize(low, max(high, low + 1e-6))
    colours = colormaps["cividis" if table.higher_is_better else "cividis_r"].with_extremes(bad="#dddddd")
    inches = INCHES if methods <= ROOMY else SMALL
    heights = [methods * inches["row"] + 0.1] * panels + [dots * DOTS]
    with rc_context(STYLE):
        figure = new_figure(columns * inches["cell"] + 2.5, sum(heights) + 0.32 * panels)
        axes = figure.subplots(panels + 1, 1, sharex=True, gridspec_kw={"height_ratios": heights})
        for axis, (title, rows), values in zip(axes[:-1], blocks, every, strict=True):
            _draw_cells(axis, values, colours, scale)
            if methods <= ROOMY:
                _write_values(axis, values, colours, scale)
            axis.set_title(title, loc="left", fontweight="bold", pad=3)
            axis.set_yticks(range(methods), [row.method for row in rows], size=9 if methods <= ROOMY else 7)
            axis.xaxis.set_visible(False)
        draw_presence(
            axes[-1],
            table.modalities,
            [c.present for c in table.columns if c.present],
            narrow=methods > ROOMY,
        )
        arrow = "higher" if table.higher_is_better else "lower"
        bar = figure.colorbar(
            ScalarMappable(scale, colours), ax=list(axes[:-1]), fraction=0.02, pad=0.01, aspect=30
        )
        bar.set_label(f"{table.title}, {arrow} is better")
        bar.outline.set_visible(False)
    return figure


def _draw_cells(axis: Axes, values: NDArray[np.float64], colours: Colormap, scale: Normalize) -> None:
    methods, columns = values.shape
    last = columns - 1 + GAP
    for part, left, right in (
        (values[:, :-1], -0.5, columns - 1.5),
        (values[:, -1:], last - 0.5, last + 0.5),
    ):
        box = (left, right, methods - 0.5, -0.5)
        axis.imshow(np.ma.masked_invalid(part), cmap=colours, norm=scale, aspect="auto", extent=box)
    axis.set_xlim(-0.5, last + 0.5)
    axis.spines[:].set_visible(False)
    axis.tick_params(left=False)


def _write_values(axis: Axes, values: NDArray[np.float64], colours: Colormap, scale: Normalize) -> None:
    columns = values.shape[1]
    last = columns - 1 + GAP
    shades = colours(scale(values))[..., :3]
    for (row, column), value in np.ndenumerate(values):
        red, green, blue = shades[row, column] if np.isfinite(value) else (1, 1, 1)
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
        x = column if column < columns - 1 else last
        text = axis.text(x, row, number(value), ha="center", va="center", size=8)
        text.set_color("white" if dark else "black")
        text.set_in_layout(False)  # it stands within its cell, and measuring thousands of texts takes long
