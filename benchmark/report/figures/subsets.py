"""Subset by subset: ``differences(table)`` to the baseline, and ``boxes(scores)`` over the cases."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.report.data.names import modality_title
from benchmark.report.data.scores import Scores
from benchmark.report.figures.style import (
    STYLE,
    Look,
    Point,
    draw_points,
    draw_presence,
    legend,
    looks,
    method_legend,
    new_figure,
    offsets,
    places,
    widen,
    zero_line,
)
from benchmark.report.tables.table import Table
from datasets.vocabulary import parse_subset, presence

ROW = 1.5
"""Inches of a region's panel."""
BOX_FROM = 5
BOXES = (
    "Box: quartiles and median over the cases, seeds averaged first; whiskers: farthest case within 1.5 box "
    "heights; dots: cases beyond."
)
EACH_CASE = "A marker per case, seeds averaged first, as so few cases have no quartiles."


def differences(table: Table) -> Figure | None:
    """Draw each method's difference to its baseline with its interval, a row per region.

    None where the table has no differences.
    """
    if not table.differences:
        return None
    compared = {difference.method for difference in table.differences}
    every = looks([row.method for row in table.blocks[0].rows if not row.source])
    look_of = {method: look for method, look in every.items() if method in compared}
    names = [column.name for column in table.columns]
    xs = dict(zip(names, places(len(names), with_average=True), strict=True))
    shifts = dict(zip(look_of, offsets(len(look_of)), strict=True))
    against = sorted({difference.reference for difference in table.differences})
    with rc_context(STYLE):
        figure, axes = _panels(len(table.blocks), len(names), len(look_of), len(table.modalities))
        for axis, block in zip(axes, table.blocks, strict=False):
            for method, look in look_of.items():
                points = [
                    Point(xs[d.column] + shifts[method], d.difference, d.low, d.high)
                    for d in table.differences
                    if (d.block, d.method) == (block.title, method)
                ]
                draw_points(axis, points, look)
            zero_line(axis)
            widen(axis)
            axis.set_title(block.title, loc="left", fontweight="bold", pad=3)
        figure.supylabel(
            f"difference in {table.title} to {against[0] if len(against) == 1 else 'the baseline'}", size=9
        )
        draw_presence(axes[-1], table.modalities, [c.present for c in table.columns if c.present])
        method_legend(figure, look_of)
    return figure


def boxes(scores: Scores) -> Figure:
    """Draw the cases' scores as boxes, a row per region, side by side for the first `MOST` methods.

    Box: quartiles and median; whiskers: the farthest case within 1.5 box heights; dots: cases beyond. Fewer
    than `BOX_FROM` cases have no quartiles worth a box: each is a marker.
    """
    as_boxes = box_text(scores) == BOXES
    modalities = scores.study.description.modalities
    look_of = looks(scores.study.methods)
    xs = places(len(scores.subsets) + 1, with_average=True)
    with rc_context(STYLE):
        figure, axes = _panels(len(scores.regions), len(xs), len(look_of), len(modalities))
        for i, (axis, region) in enumerate(zip(axes, scores.regions, strict=False)):
            for (method, look), shift in zip(look_of.items(), offsets(len(look_of)), strict=True):
                columns = scores.of_cases(method)[:, i].T
                values = [column[np.isfinite(column)] for column in columns]
                at = [x + shift for x in xs]
                if as_boxes:
                    _draw_boxes(axis, values, at, 0.6 / len(look_of), look)
                else:
                    cases = [Point(x, v) for x, own in zip(at, values, strict=True) for v in own]
                    draw_points(axis, cases, look)
            widen(axis)
            axis.set_title(region, loc="left", fontweight="bold", pad=3)
        figure.supylabel(scores.title, size=9)
        dots = [presence(parse_subset(name, modalities), modalities) for name in scores.subsets]
        draw_presence(axes[-1], [modality_title(m) for m in modalities], dots)
        if as_boxes:
            legend(figure, [Patch(**_box_style(look)) for look in look_of.values()], list(look_of))
        else:
            method_legend(figure, look_of)
    return figure


def box_text(scores: Scores) -> str:
    """What `boxes` draws of the cases, for its caption."""
    return BOXES if len(scores.names) >= BOX_FROM else EACH_CASE


def _panels(regions: int, columns: int, methods: int, dots: int) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with a panel per region and, below, room for the subsets' dots."""
    heights = [ROW] * regions + [0.19 * dots]
    width = 1.6 + columns * max(0.42, 0.085 * methods)
    figure = new_figure(width, sum(heights) + 0.35 * regions + 0.3)
    axes = figure.subplots(regions + 1, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    for axis in axes[:-1]:
        axis.xaxis.set_visible(False)
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.6)
        axis.set_axisbelow(True)
    axes[0].set_xlim(-0.6, places(columns, with_average=True)[-1] + 0.6)
    return figure, list(axes)


def _box_style(look: Look) -> dict[str, Any]:
    return {"facecolor": f"{look.colour}40", "edgecolor": look.colour, "hatch": look.hatch, "linewidth": 0.8}


def _draw_boxes(
    axis: Axes, values: Sequence[np.ndarray], xs: Sequence[float], width: float, look: Look
) -> None:
    # As collections: `Axes.boxplot` makes seven artists of each box.
    found = [(x, s) for x, s in zip(xs, boxplot_stats(values), strict=True) if math.isfinite(s["med"])]
    if not found:
        return
    places = np.array([x for x, _ in found])
    low, q1, median, q3, high = (
        np.array([s[key] for _, s in found]) for key in ("whislo", "q1", "med", "q3", "whishi")
    )
    left, right = places - width / 2, places + width / 2
    corners = np.stack([np.stack([left, right, right, left]), np.stack([q1, q1, q3, q3])]).T
    axis.add_collection(PolyCollection(list(corners), **_box_style(look)))
    line: dict[str, Any] = {"colors": look.colour, "linewidth": 0.8}
    axis.vlines(np.tile(places, 2), np.concatenate([low, q3]), np.concatenate([q1, high]), **line)
    cap = width / 4
    axis.hlines(np.concatenate([low, high]), np.tile(places - cap, 2), np.tile(places + cap, 2), **line)
    axis.hlines(median, left, right, colors="black", linewidth=1.4)
    beyond = [(x, value) for x, s in found for value in s["fliers"]]
    if beyond:
        dot: dict[str, Any] = {"markersize": 3, "markerfacecolor": look.colour, "markeredgewidth": 0}
        axis.plot(*zip(*beyond, strict=True), ".", **dot)
