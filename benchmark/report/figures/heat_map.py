"""The report's figures: ``save(heat_map(table), Path("figures/phantom-mr2468-dice"))``.

Colour maps and line styles can be told apart by the colour-blind and in grey. The files hold no date and no
random identifier, so equal data give equal bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from benchmark.report.collect import Run, Study
from benchmark.report.names import modality_title
from benchmark.report.render import number
from benchmark.report.table import Table

METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "passion-bench",
    "font.size": 9,
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette for the colour-blind, its darker colours first."""
DASHES = ("-", "--", "-.", ":")
GAP = 0.35
"""Space in columns between the subsets and their average."""
INCHES = {"cell": 0.58, "row": 0.3, "dots": 0.2}


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``<stem>.png`` (200 dpi) and ``<stem>.svg``; return the paths."""
    paths = []
    for kind, metadata in METADATA.items():
        path = stem.with_name(f"{stem.name}.{kind}")
        with rc_context(STYLE):
            figure.savefig(path, dpi=200, metadata=metadata)
        paths.append(path)
    return paths


def heat_map(table: Table) -> Figure:
    """Draw methods by subsets, one panel per region, on one scale; bright is better. Values in the cells."""
    columns, methods = len(table.columns), len(table.blocks[0].rows)
    panels, dots = len(table.blocks), len(table.modalities)
    every = np.array([[cell.value for cell in row.cells] for row in table.rows])
    low, high = (np.nanmin(every), np.nanmax(every)) if np.isfinite(every).any() else (0.0, 1.0)
    scale = Normalize(low, max(high, low + 1e-6))
    colours = colormaps["cividis" if table.higher_is_better else "cividis_r"].with_extremes(bad="#dddddd")
    heights = [methods * INCHES["row"] + 0.1] * panels + [dots * INCHES["dots"]]
    with rc_context(STYLE):
        figure = Figure(
            figsize=(columns * INCHES["cell"] + 2.5, sum(heights) + 0.32 * panels), layout="constrained"
        )
        axes = figure.subplots(panels + 1, 1, sharex=True, gridspec_kw={"height_ratios": heights})
        for axis, block in zip(axes[:-1], table.blocks, strict=True):
            values = np.array([[cell.value for cell in row.cells] for row in block.rows])
            _draw_cells(axis, values, colours, scale)
            axis.set_title(block.title, loc="left", fontweight="bold", pad=3)
            axis.set_yticks(range(methods), [row.method for row in block.rows])
            axis.tick_params(bottom=False, labelbottom=False)
        _draw_presence(axes[-1], table)
        arrow = "higher" if table.higher_is_better else "lower"
        bar = figure.colorbar(
            ScalarMappable(scale, colours), ax=list(axes[:-1]), fraction=0.02, pad=0.01, aspect=30
        )
        bar.set_label(f"{table.title}, {arrow} is better")
    return figure


def preference_curves(study: Study) -> Figure | None:
    """Draw relative preference and beta over the epochs, a row per method; None where no run has them.

    Lines are means over a method's runs; several runs add a band from the lowest to the highest.
    """
    having = [run for run in study.runs if _series(run, "beta") or _series(run, "preference")]
    methods = [m for m in study.methods if any(run.method == m for run in having)]
    if not methods:
        return None
    terms = {"preference": ("relative preference", 0), "beta": ("beta", 1)}
    with rc_context(STYLE):
        figure = Figure(figsize=(7.5, 2.1 * len(methods) + 0.9), layout="constrained")
        axes = figure.subplots(len(methods), 2, sharex=True, sharey="col", squeeze=False)
        for row, method in zip(axes, methods, strict=True):
            runs = [run for run in having if run.method == method]
            for axis, (term, (title, neutral)) in zip(row, terms.items(), strict=True):
                _draw_curves(axis, [_series(run, term) for run in runs], study.description.modalities)
                axis.axhline(neutral, color="#999999", linewidth=0.8, zorder=0)
                axis.set_ylabel(title)
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
                axis.spines[["top", "right"]].set_visible(False)
            row[0].set_title(method, loc="left", fontweight="bold")
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, handlelength=3
        )
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
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = colours(scale(value)) if np.isfinite(value) else (1, 1, 1, 1)
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
        x = column if column < columns - 1 else last
        axis.text(x, row, number(value), ha="center", va="center", color="white" if dark else "black", size=8)


def _draw_presence(axis: Axes, table: Table) -> None:
    for row in range(len(table.modalities)):
        for column, present in enumerate(c.present for c in table.columns if c.present):
            face = "black" if present[row] else "white"
            axis.plot(column, row, "o", markersize=6, markerfacecolor=face, markeredgecolor="black", mew=0.8)
    axis.set_yticks(range(len(table.modalities)), table.modalities)
    axis.set_ylim(len(table.modalities) - 0.5, -0.5)
    axis.text(
        len(table.columns) - 1 + GAP, (len(table.modalities) - 1) / 2, "Average", ha="center", va="center"
    )
    axis.spines[:].set_visible(False)
    axis.tick_params(left=False, bottom=False, labelbottom=False)


def _series(run: Run, term: str) -> dict[str, dict[int, float]]:
    """Per modality, the term of each epoch that has it."""
    series: dict[str, dict[int, float]] = {}
    for line in run.log:
        for modality, terms in line["modality"].items():
            if term in terms:
                series.setdefault(modality, {})[line["epoch"]] = terms[term]
    return series


def _draw_curves(axis: Axes, runs: Sequence[dict[str, dict[int, float]]], modalities: Sequence[str]) -> None:
    for i, modality in enumerate(modalities):
        curves = [run[modality] for run in runs if modality in run]
        epochs = sorted(set().union(*curves))
        at = [[curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
        colour, dashes = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
        means = [sum(values) / len(values) for values in at]
        axis.plot(epochs, means, dashes, color=colour, label=modality_title(modality), linewidth=1.8)
        if len(curves) > 1:
            bounds = [min(values) for values in at], [max(values) for values in at]
            axis.fill_between(epochs, *bounds, color=colour, alpha=0.15, linewidth=0)
