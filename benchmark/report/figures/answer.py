"""The figures that a report begins with: ``forest(answers)`` and ``rank_diagram(ranked)``."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.report.data.effects import LEVEL
from benchmark.report.figures.style import COLOURS, NEUTRAL, STYLE, WIDTH, new_figure
from benchmark.report.tables.contents import Answer
from benchmark.report.tables.gains import Gain
from benchmark.report.tables.ranking import Blocks

ROW = 0.21
"""Inches of a method's line."""
PANELS = 3
"""Studies that stand side by side."""
MOST = 40
"""Methods that fit a page."""


def forest(answers: Sequence[Answer], methods: Sequence[str]) -> Figure:
    """Draw the gains of `methods` with their intervals: a panel per study, a line per method, by network.

    Filled where the corrected test finds a difference; a thin line where the interval is over the patients of
    trained networks alone.
    """
    lines = _lines(answers, methods)
    columns = min(PANELS, len(answers))
    rows = -(-len(answers) // columns)
    with rc_context(STYLE):
        figure = new_figure(max(WIDTH, 2.4 + 1.9 * columns), rows * (0.75 + ROW * len(lines)) + 0.3)
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axis, answer in zip(axes.flat, answers, strict=False):
            for y, (_, method) in enumerate(lines):
                for gain in answer.gains:
                    if gain.method == method:
                        _draw_gain(axis, y, gain)
            axis.axvline(0, color=NEUTRAL, linewidth=0.8, zorder=1)
            axis.grid(axis="x", color="#e6e6e6", linewidth=0.6)
            axis.set_axisbelow(True)
            axis.set_title(answer.scores.study.title, loc="left", fontweight="bold")
        for axis in axes.flat[len(answers) :]:
            axis.set_visible(False)
        axes[0, 0].set_yticks(range(len(lines)), [label for label, _ in lines])
        axes[0, 0].set_ylim(len(lines) - 0.4, -0.6)
        for axis in axes.flat:
            axis.tick_params(axis="y", length=0)
        for axis in axes[:, 0]:
            heads = [i for i, (_, method) in enumerate(lines) if not method]
            for i in heads:
                axis.get_yticklabels()[i].set_fontweight("bold")
        scores = answers[0].scores
        better = "more" if scores.higher_is_better else "less"
        figure.supxlabel(f"gain over the baseline in mean {scores.title}, {better} is better", size=9)
        _explain(figure, [gain for answer in answers for gain in answer.gains if gain.method in methods])
    return figure


def rank_diagram(ranked: Blocks) -> Figure:
    """Draw the mean ranks on a line, the best at the left; bars join methods that are not told apart."""
    ranks = ranked.ranks.ranks
    order = np.argsort(ranks, kind="stable").tolist()
    half = -(-len(order) // 2)
    bars = _bars([float(ranks[i]) for i in order], ranked.ranks.critical)
    below = 0.25 + 0.16 * len(bars)
    with rc_context(STYLE):
        figure = new_figure(WIDTH, 0.9 + 0.22 * half + 0.14 * len(bars))
        axis = figure.subplots()
        count = len(order)
        axis.plot([1, count], [0, 0], color="black", linewidth=1)
        for rank in range(1, count + 1):
            axis.plot([rank, rank], [0, -0.08], color="black", linewidth=1)
            axis.text(rank, -0.14, str(rank), ha="center", va="bottom", size=8)
        for place, i in enumerate(order):
            left = place < half
            y = below + 0.24 * (place if left else count - 1 - place)
            edge = 0.7 if left else count + 0.3
            axis.plot([ranks[i], ranks[i], edge], [0, y, y], color=COLOURS[0], linewidth=1)
            text = f"{ranked.methods[i]}  {ranks[i]:.2f}" if left else f"{ranks[i]:.2f}  {ranked.methods[i]}"
            axis.text(edge, y, f" {text} ", ha="right" if left else "left", va="center")
        for line, (begin, end) in enumerate(bars):
            axis.plot([begin - 0.04, end + 0.04], [0.14 + 0.16 * line] * 2, color="black", linewidth=3)
        critical = min(ranked.ranks.critical, count - 1.0)
        axis.plot([1, 1 + critical], [-0.5, -0.5], "|-", color="black", linewidth=1)
        axis.text(
            1 + critical / 2, -0.54, f"critical difference {ranked.ranks.critical:.2f}", ha="center", size=8
        )
        axis.set_xlim(0.7 - 0.35 * count, count + 0.3 + 0.35 * count)
        axis.set_ylim(below + 0.24 * half, -0.75)
        axis.set_axis_off()
    return figure


def _lines(answers: Sequence[Answer], methods: Sequence[str]) -> list[tuple[str, str]]:
    """What stands at the left: a network without a method, then its methods."""
    by_network: dict[str, dict[str, str]] = {}
    for answer in answers:
        for gain in answer.gains:
            if gain.method in methods:
                by_network.setdefault(gain.network, {})[gain.method] = gain.label
    return [
        line
        for network, labels in by_network.items()
        for line in ((network, ""), *((label, method) for method, label in labels.items()))
    ]


def _draw_gain(axis: Axes, y: float, gain: Gain) -> None:
    value, low, high = gain.value()
    thin = gain.effect.of_these_networks
    if math.isfinite(low):
        axis.hlines(y, low, high, colors=COLOURS[0], linewidth=0.8 if thin else 1.8, zorder=2)
    face = COLOURS[0] if gain.p < LEVEL else "white"
    axis.plot([value], [y], "o", color=COLOURS[0], markersize=5, markerfacecolor=face, zorder=3)


def _explain(figure: Figure, every: Sequence[Gain]) -> None:
    labels = {
        f"p < {LEVEL:g} after Holm": (COLOURS[0], any(gain.p < LEVEL for gain in every)),
        f"p from {LEVEL:g} on": ("white", any(gain.p >= LEVEL for gain in every)),
        "too few trainings for a test": ("white", any(math.isnan(gain.p) for gain in every)),
    }
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", markersize=5, markerfacecolor=face, label=label)
        for label, (face, occurs) in labels.items()
        if occurs
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)


def _bars(ranks: Sequence[float], critical: float) -> list[tuple[float, float]]:
    """The longest stretches of sorted ranks within the critical difference, those of one method left out."""
    bars: list[tuple[float, float]] = []
    for begin in ranks:
        end = max(rank for rank in ranks if rank - begin <= critical)
        if end > begin and (not bars or end > bars[-1][1]):
            bars.append((begin, end))
    return bars
