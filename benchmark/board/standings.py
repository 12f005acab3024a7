"""The table that a board is for: ``standings_table(scores, recomputed)``, the methods of a study in order.

Methods stand by their means. One that the first of a place is better than with the whole interval of the
difference, over trainings and patients, begins the next place; others share it. So a method that varies much
is never before one with a better mean.
"""

from collections.abc import Mapping

import numpy as np

from benchmark.report.data.effects import LEVEL, Array, Effect, Trainings, difference, mean, training_means
from benchmark.report.data.scores import AVERAGE, Scores
from benchmark.report.tables.by_subset import OVER_SUBSETS
from benchmark.report.tables.captions import caption, conditions, intervals
from benchmark.report.tables.gains import listed
from benchmark.report.tables.rows import marked
from benchmark.report.tables.table import Block, Cell, Column, Row, Table


def places(scores: Scores) -> dict[str, int]:
    """Return the place of each method of a study by the primary endpoint, 1 is first; the best mean first."""
    every = scores.trainings(scores.endpoint)
    sign = 1 if scores.higher_is_better else -1
    order = sorted(every, key=lambda method: (-sign * float(mean(every[method]).mean[0]), method))
    placed: dict[str, int] = {}
    first = order[0]
    for i, method in enumerate(order):
        effect = difference(every[first], every[method])
        if float(effect.low[0] if sign > 0 else -effect.high[0]) > 0:
            first = method
        placed[method] = i + 1 if first == method else placed[first]
    return placed


def standings_table(scores: Scores, recomputed: Mapping[str, int]) -> Table:
    """Return the methods of a study with their means by region, the mean of these and what the best is ahead.

    Args:
        scores: one metric of the study.
        recomputed: of how many trainings of a method the scores were computed from shared predictions.
    """
    study, up = scores.study, scores.higher_is_better
    placed = places(scores)
    every = scores.trainings(scores.of_regions(scores.plain))
    ends = scores.trainings(scores.endpoint)
    best = next(iter(placed))
    effects = {method: mean(every[method]) for method in placed}
    marks = marked(np.array([effect.mean for effect in effects.values()]), [True] * len(placed), up)
    rows: dict[int, list[Row]] = {}
    for (method, place), marks_of in zip(placed.items(), marks, strict=True):
        effect = effects[method]
        spread = _spread(every[method])
        of_regions = [
            Cell(float(value), float(sd), mark=mark)
            for value, sd, mark in zip(effect.mean[:-1], spread[:-1], marks_of, strict=False)
        ]
        behind = difference(ends[method], ends[best])
        cells = (
            *of_regions,
            Cell(float(effect.mean[-1]), float(spread[-1]), _ends(effect, -1), marks_of[-1]),
            Cell(float("nan")) if method == best else Cell(float(behind.mean[0]), interval=_ends(behind, 0)),
            Cell(len(ends[method].keys)),
            Cell(recomputed[method]),
        )
        rows.setdefault(place, []).append(Row((method,), cells, method, len(ends[method].keys)))
    return Table(
        name=f"{study.name}-standings-{scores.metric}",
        kind="standings",
        metric=scores.metric,
        title=scores.title,
        higher_is_better=up,
        policy=study.runs[0].metric_policy,
        labels=("Place", "Method"),
        columns=(
            *(Column(region, region, higher_is_better=up) for region in scores.plain),
            Column(AVERAGE, "Mean", higher_is_better=up),
            Column("to-best", "To the best", higher_is_better=up),
            Column("trainings", "Trainings", decimals=0),
            Column("recomputed", "Recomputed", decimals=0),
        ),
        blocks=tuple(Block(str(place), tuple(own)) for place, own in rows.items()),
        caption=caption(study, _lead(scores)),
        heading=f"{scores.title}, {study.dataset}, {study.title}",
        conditions=conditions([scores]),
    )


def _lead(scores: Scores) -> str:
    return (
        f", {OVER_SUBSETS}. ±: standard deviation over the trainings. Mean: of {listed(scores.plain)}; To "
        f"the best: its difference to that of the best; both with {100 * (1 - LEVEL):g} % intervals over "
        f"{intervals(scores.study.runs)}. A place begins where the first of the place before is better with "
        "the whole interval of the difference. Recomputed: trainings whose scores the board has computed "
        "itself, from the predictions that were handed in"
    )


def _spread(trainings: Trainings) -> Array:
    """The standard deviation over the trainings of each column; nan for a single one."""
    means = training_means(trainings)
    return means.std(axis=0, ddof=1) if len(means) > 1 else np.full(means.shape[1], np.nan)


def _ends(effect: Effect, column: int) -> tuple[float, float] | tuple[()]:
    low, high = float(effect.low[column]), float(effect.high[column])
    return (low, high) if np.isfinite([low, high]).all() else ()
