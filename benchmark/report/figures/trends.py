"""Scores against modalities present, ``over_number(scores)``, and missing rates, ``over_missing(every)``."""

from collections.abc import Sequence

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.data.effects import Effect, mean
from benchmark.report.data.names import modality_title
from benchmark.report.data.runs import Run
from benchmark.report.data.scores import Scores, finite_mean
from benchmark.report.figures.style import (
    STYLE,
    WIDTH,
    Look,
    Point,
    draw_points,
    looks,
    method_legend,
    new_figure,
    offsets,
    widen,
)

PANEL = 2.1
"""Inches of a panel's height."""


def over_number(scores: Scores) -> Figure:
    """Draw the mean over all subsets of a size against that size, a panel per region, with intervals."""
    look_of = looks(scores.study.methods)
    numbers = sorted({name.count("+") + 1 for name in scores.subsets})
    trainings = {region: scores.trainings(scores.of_numbers([region])) for region in scores.regions}
    shifts = offsets(len(look_of), 0.24)
    with rc_context(STYLE):
        figure = new_figure(max(WIDTH, 1.8 * len(scores.regions)), PANEL + 0.7)
        axes = figure.subplots(1, len(scores.regions), sharex=True, sharey=True, squeeze=False)[0]
        for axis, region in zip(axes, scores.regions, strict=True):
            for (method, look), shift in zip(look_of.items(), shifts, strict=True):
                _draw_line(axis, [n + shift for n in numbers], mean(trainings[region][method]), look)
            axis.set_title(region, fontweight="bold")
            axis.set_xticks(numbers)
            axis.grid(axis="y", color="#e6e6e6", linewidth=0.6)
        widen(axes[0])
        axes[0].set_ylabel(scores.title)
        figure.supxlabel("modalities present in testing", size=9)
        method_legend(figure, look_of)
    return figure


def over_missing(every: Sequence[Scores]) -> Figure | None:
    """Draw what a network makes of one modality alone against how often training lacked it.

    Args:
        every: of one study: a panel per region holds all modalities; of several of a dataset: a row per
            modality, and the profiles lie along the x-axis.

    None where all rates are the same, or none is known.
    """
    description = every[0].study.description
    found = [point for scores in every for point in _points(scores)]
    if len({point["rate"] for point in found}) < 2:
        return None
    points = pd.DataFrame(found)
    rows = [(m,) for m in description.modalities] if len(every) > 1 else [description.modalities]
    look_of = looks(list(dict.fromkeys(m for scores in every for m in scores.study.methods)))
    regions = [region.name for region in description.regions]
    with rc_context(STYLE):
        figure = new_figure(max(WIDTH, 1.8 * len(regions)), PANEL * 0.8 * len(rows) + 1.1)
        axes = figure.subplots(len(rows), len(regions), sharex=True, sharey="row", squeeze=False)
        for line, modalities in zip(axes, rows, strict=True):
            for axis, region in zip(line, regions, strict=True):
                here = points[(points["region"] == region) & points["modality"].isin(modalities)]
                for method, look in look_of.items():
                    means = here[here["method"] == method].groupby("rate")["value"].mean()
                    axis.plot(
                        means.index, means, color=look.colour, linestyle=look.dash, linewidth=1.3, zorder=2
                    )
                    axis.plot(means.index, means, look.marker, color=look.colour, markersize=4.5, zorder=3)
                axis.grid(axis="y", color="#e6e6e6", linewidth=0.6)
            widen(line[0])
            title = f"{modality_title(modalities[0])} alone\n" if len(every) > 1 else "one modality alone\n"
            line[0].set_ylabel(title + every[0].title)
        for axis, region in zip(axes[0], regions, strict=True):
            axis.set_title(region, fontweight="bold", pad=18 if len(every) == 1 else 6)
            if len(every) == 1:
                _name_modalities(axis, points)
        figure.supxlabel("missing rate of the modality in training (%)", size=9)
        method_legend(figure, look_of)
    return figure


def _points(scores: Scores) -> list[dict[str, object]]:
    return [
        {
            "modality": modality,
            "rate": rate,
            "method": method,
            "region": region,
            "value": means[i, scores.subsets.index(modality)],
        }
        for method in scores.study.methods
        for means in [finite_mean(scores.of_cases(method), axis=0)]
        for i, region in enumerate(scores.regions)
        for modality, rate in _rates(scores.study.of_methods([method]).runs).items()
    ]


def _rates(runs: Sequence[Run]) -> dict[str, float]:
    """How often training lacked each modality (%), on average over the runs; nothing where none says it."""
    realised = pd.DataFrame([run.content["data"]["availability"]["realised"] for run in runs])
    return {str(modality): round(100 * float(rate), 1) for modality, rate in realised.mean().items()}


def _name_modalities(axis: Axes, points: pd.DataFrame) -> None:
    """Write above a panel which modality lies at which rate, on average over the methods."""
    rates = points.groupby("modality", sort=False)["rate"].mean().round(1)
    for rate, names in rates.groupby(rates):
        text = "\n".join(modality_title(str(name)) for name in names.index)
        axis.annotate(
            text,
            (float(str(rate)), 1),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            size=7.5,
        )


def _draw_line(axis: Axes, xs: Sequence[float], found: Effect, look: Look) -> None:
    axis.plot(xs, found.mean, color=look.colour, linestyle=look.dash, linewidth=1.3, zorder=2)
    ends = zip(xs, found.mean, found.low, found.high, strict=True)
    draw_points(axis, [Point(x, float(y), float(low), float(high)) for x, y, low, high in ends], look)
