"""Figures of a study: ``draw(search, trials, importances)``, by name: history, slices, contours, importances.

A point is a trial. Complete ones are full, pruned ones hollow at the value they were given up with, which
was seen on fewer epochs and perhaps fewer cases; only complete ones make contours.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from benchmark.report.figures.style import COLOURS, NEUTRAL, STYLE, WIDTH, new_figure
from benchmark.tune.study_file import Range, Search
from benchmark.tune.view import shown

POINTS = "trials"
"""How the groups of points of complete trials are called in an SVG."""
CONTOURED = 4
"""Parameters with a range, the most important ones, that contours are drawn of."""
LEVELS = 10


def draw(
    search: Search, trials: Sequence[FrozenTrial], importances: Mapping[str, Mapping[str, float]]
) -> dict[str, Figure]:
    """Return the figures by name; none before a trial is complete."""
    if not any(t.state == TrialState.COMPLETE for t in trials):
        return {}
    figures = {}
    with rc_context(STYLE):
        for i, goal in enumerate(search.goals):
            end = f"-{('mean', 'worst')[i]}" if search.goal == "both" else ""
            figures[f"history{end}"] = _history(trials, i, goal)
            figures[f"slice{end}"] = _slices(search, trials, i, goal)
            if importances[goal]:
                figures[f"importances{end}"] = _importances(importances[goal], goal)
            ranked = [*importances[goal], *(k for k in search.space if k not in importances[goal])]
            keys = [key for key in ranked if isinstance(search.space[key], Range)][:CONTOURED]
            if len(keys) > 1:
                figures[f"contour{end}"] = _contours(search, trials, keys, i, goal)
        if len(search.goals) > 1:
            figures["front"] = _front(trials, search.goals)
    return figures


def with_tooltips(svg: str, search: Search, complete: Sequence[FrozenTrial]) -> str:
    """Let each point of a complete trial say which it is when the mouse is over it."""
    titles = [
        f"trial {t.number}: {', '.join(shown(v) for v in t.values)}; "
        + ", ".join(f"{key.rpartition('.')[2]} {shown(t.params.get(key))}" for key in search.space)
        for t in complete
    ]

    def named(group: re.Match[str]) -> str:
        waiting = iter(titles)
        return re.sub(
            r"<use ([^>]*)/>",
            lambda use: f"<use {use[1]}><title>{escape(next(waiting, ''))}</title></use>",
            group[0],
        )

    drawing = svg[svg.index("<svg") :]
    return re.sub(rf'<g id="{POINTS}-\d+">.*?</g>\n *</g>', named, drawing, flags=re.DOTALL)


def _history(trials: Sequence[FrozenTrial], goal: int, title: str) -> Figure:
    figure = new_figure(WIDTH, 2.8)
    axis = figure.subplots()
    complete = _complete(trials)
    numbers, values = [t.number for t in complete], [t.values[goal] for t in complete]
    best = np.maximum.accumulate(values)
    axis.step(numbers, best, where="post", color=COLOURS[0], linewidth=1.2, label="best so far")
    _points(axis, numbers, values, 0, label="complete")
    pruned = _pruned(trials) if goal == 0 else []
    if pruned:
        axis.scatter(
            [t.number for t in pruned],
            [t.intermediate_values[t.last_step or 0] for t in pruned],
            s=18,
            facecolors="none",
            edgecolors=NEUTRAL,
            label="pruned",
        )
    failed = [t.number for t in trials if t.state == TrialState.FAIL]
    if failed:
        low = axis.get_ylim()[0]
        axis.scatter(failed, [low] * len(failed), s=24, marker="x", color=COLOURS[1], label="failed")
    axis.set(xlabel="trial", ylabel=title)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def _slices(search: Search, trials: Sequence[FrozenTrial], goal: int, title: str) -> Figure:
    columns = min(3, len(search.space))
    rows = math.ceil(len(search.space) / columns)
    figure = new_figure(WIDTH, 2.4 * rows + 0.2)
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    complete, pruned = _complete(trials), _pruned(trials) if goal == 0 else []
    for i, (key, axis) in enumerate(zip(search.space, axes.flat, strict=False)):
        known = search.space[key]
        if pruned:
            axis.scatter(
                [_place(known, t.params[key]) for t in pruned],
                [t.intermediate_values[t.last_step or 0] for t in pruned],
                s=18,
                facecolors="none",
                edgecolors=NEUTRAL,
                label=None if i else "pruned",
            )
        places = [_place(known, t.params[key]) for t in complete]
        _points(axis, places, [t.values[goal] for t in complete], i, label=None if i else "complete")
        _scale(axis, "x", key, known)
    for axis in axes[:, 0]:
        axis.set_ylabel(title)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    for axis in axes.flat[len(search.space) :]:
        axis.set_visible(False)
    return figure


def _contours(
    search: Search, trials: Sequence[FrozenTrial], keys: Sequence[str], goal: int, title: str
) -> Figure:
    pairs = list(combinations(keys, 2))
    columns = min(3, len(pairs))
    rows = math.ceil(len(pairs) / columns)
    width = WIDTH if columns > 1 else 4.2
    figure = new_figure(width, 2.5 * rows + 0.2)
    axes = figure.subplots(rows, columns, squeeze=False)
    complete = _complete(trials)
    values = np.array([t.values[goal] for t in complete])
    low, high = float(values.min()), float(values.max())
    levels = np.linspace(low, high if high > low else low + 1e-3, LEVELS)
    shown_points: Any = None
    for i, ((x, y), axis) in enumerate(zip(pairs, axes.flat, strict=False)):
        places = np.array(
            [[_place(search.space[key], t.params[key]) for key in (x, y)] for t in complete], dtype=float
        )
        if _spans(places):
            axis.tricontourf(places[:, 0], places[:, 1], values, levels=levels, cmap="viridis", alpha=0.75)
        shown_points = axis.scatter(
            places[:, 0],
            places[:, 1],
            c=values,
            vmin=levels[0],
            vmax=levels[-1],
            cmap="viridis",
            s=20,
            edgecolors="black",
            linewidths=0.6,
            zorder=3,
        )
        shown_points.set_gid(f"{POINTS}-{i}")
        _scale(axis, "x", x, search.space[x])
        _scale(axis, "y", y, search.space[y])
    for axis in axes.flat[len(pairs) :]:
        axis.set_visible(False)
    figure.colorbar(shown_points, ax=axes, label=title, fraction=0.03, pad=0.01)
    return figure


def _importances(found: Mapping[str, float], title: str) -> Figure:
    figure = new_figure(WIDTH, 0.8 + 0.3 * len(found))
    axis = figure.subplots()
    names, values = list(found)[::-1], list(found.values())[::-1]
    bars = axis.barh(names, values, color=COLOURS[0], height=0.6)
    axis.bar_label(bars, [f"{value:.2f}" for value in values], padding=3)
    axis.set(xlabel=f"share of what matters for {title}", xlim=(0, 1.1 * max(values)))
    return figure


def _front(trials: Sequence[FrozenTrial], goals: Sequence[str]) -> Figure:
    figure = new_figure(4.2, 3.2)
    axis = figure.subplots()
    values = np.array([t.values for t in _complete(trials)])
    _points(axis, values[:, 0], values[:, 1], 0)
    front = [v for v in values if not any((w >= v).all() and (w > v).any() for w in values)]
    front = sorted(front, key=lambda v: v[0])
    axis.plot([v[0] for v in front], [v[1] for v in front], color=COLOURS[1], linewidth=1)
    axis.set(xlabel=goals[0], ylabel=goals[1])
    return figure


def _points(axis: Axes, x: Any, y: Any, number: int, label: str | None = None) -> None:
    axis.scatter(x, y, s=18, color=COLOURS[0], zorder=3, label=label).set_gid(f"{POINTS}-{number}")


def _complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state == TrialState.COMPLETE]


def _pruned(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state == TrialState.PRUNED and t.last_step is not None]


def _place(known: Range | list[Any], value: Any) -> float:
    """Where a value stands on an axis: choices in their order, a range with log by its logarithm."""
    if isinstance(known, list):
        return float(known.index(value))
    return math.log10(value) if known.log else float(value)


def _scale(axis: Axes, which: str, key: str, known: Range | list[Any]) -> None:
    """Let an axis span the whole range or all choices, and name its ticks."""
    own = getattr(axis, f"{which}axis")
    own.set_label_text(key.rpartition(".")[2])
    ticks: list[Any] = known if isinstance(known, list) else [known.low, known.high]
    if isinstance(known, Range) and known.log:
        ticks = [known.low, math.sqrt(known.low * known.high), known.high]
    places = [_place(known, value) for value in ticks]
    if isinstance(known, list) or known.log:
        own.set_ticks(places, [f"{value:.3g}" if isinstance(value, float) else str(value) for value in ticks])
    margin = 0.04 * (places[-1] - places[0])
    getattr(axis, f"set_{which}lim")(places[0] - margin, places[-1] + margin)


def _spans(points: Any) -> bool:
    """Whether the points span a surface, so that there is something to triangulate."""
    different = np.unique(points, axis=0)
    spread = (different - different.mean(axis=0)) / np.maximum(np.ptp(different, axis=0), 1e-12)
    return len(different) > 3 and np.linalg.matrix_rank(spread, tol=1e-6) == 2
