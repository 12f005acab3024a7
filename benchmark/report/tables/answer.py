"""The tables that a report begins with: each method's primary endpoint and its gain over the baseline.

every = gains(scores)
answer_table(scores, every, complete), number_table(scores, every)
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from benchmark.report.data.effects import LEAST, POWER, training_means
from benchmark.report.data.names import without_network
from benchmark.report.data.runs import Run
from benchmark.report.data.scores import AVERAGE, Scores
from benchmark.report.tables.by_subset import OVER_SUBSETS, make_table
from benchmark.report.tables.captions import conditions, intervals, of_whole
from benchmark.report.tables.gains import Gain, listed, network_of
from benchmark.report.tables.rows import Line, policy
from benchmark.report.tables.table import P_PLACES, Cell, Column, Row, Table

EMPTY = Cell(math.nan)


def answer_table(
    scores: Scores,
    every: Sequence[Gain],
    complete: Scores | None = None,
    margin: float | None = None,
    primary: bool = True,
) -> Table:
    """Return the methods by network with their means by region, the mean of these, and its gain.

    Args:
        scores: of the study.
        every: its gains.
        complete: of the same dataset with complete training data, whose baselines (PDT) stand beside; None
            where there are none.
        margin: a difference below which two methods are called equivalent; None: not asked.
        primary: whether this is the metric of the primary endpoint, which alone has p-values.
    """
    rows = [(scores, scores.study.first_run(method)) for method in scores.study.methods]
    networks = list(dict.fromkeys(network_of(run) for _, run in rows))
    perfect = [
        (complete, run)
        for run in (map(complete.study.first_run, complete.study.methods) if complete else ())
        if complete and _is_perfect(run) and network_of(run) in networks
    ]
    lines = [
        _line(source, network, run, ranked=source is scores)
        for network in networks
        for source, run in (*perfect, *rows)
        if network_of(run) == network
    ]
    up = scores.higher_is_better
    tested = primary and any(gain.p == gain.p for gain in every)
    table = make_table(
        [scores],
        kind="answer",
        heading=f"{scores.title} and gain over the baseline, {scores.study.title}",
        labels=("Network", "Method"),
        columns=[
            *(Column(region, region, higher_is_better=up) for region in scores.plain),
            Column(AVERAGE, "Mean", higher_is_better=up),
        ],
        lines=lines,
        lead=_lead(scores, every, margin if tested else None, primary, bool(perfect)),
    )
    columns = [
        Column("gain", "Gain", higher_is_better=up),
        *([Column("p", "p (Holm)", decimals=P_PLACES)] if tested else []),
        *(
            [Column("equivalent", "p (equivalent)", decimals=P_PLACES)]
            if tested and margin is not None
            else []
        ),
        Column("superiority", "P(better)"),
        Column("detectable", "Detectable"),
        Column("trainings", "Trainings", decimals=0),
    ]
    by_method = {gain.method: gain for gain in every}

    def whole(row: Row) -> Row:
        cells = {
            "trainings": Cell(row.runs),
            **(_about(by_method[row.method], margin, up) if row.method in by_method else {}),
        }
        return replace(row, cells=(*row.cells, *(cells.get(column.name, EMPTY) for column in columns)))

    return replace(
        table,
        columns=(*table.columns, *columns),
        blocks=tuple(replace(block, rows=tuple(map(whole, block.rows))) for block in table.blocks),
        conditions=conditions([scores], [complete.study] if complete and perfect else []),
    )


def number_table(scores: Scores, every: Sequence[Gain]) -> Table:
    """Return the methods by the number of modalities that a network is given, each with its gain."""
    weights = scores.of_numbers(scores.plain)
    numbers = [str(n + 1) for n in range(len(weights))]
    lines = []
    for method, trainings in scores.trainings(weights).items():
        run = scores.study.first_run(method)
        lines.append(Line(network_of(run), (_label(run),), method, training_means(trainings)))
    up = scores.higher_is_better
    heads = ["1 modality", *(f"{n} modalities" for n in numbers[1:])]
    over = (
        f"; Gain: over the baseline{_within(every)}, with its 95 % interval over "
        f"{intervals(scores.study.runs)}"
    )
    table = make_table(
        [scores],
        kind="numbers",
        heading=f"{scores.title} by number of modalities, {scores.study.title}",
        labels=("Network", "Method"),
        columns=[Column(n, head, higher_is_better=up) for n, head in zip(numbers, heads, strict=True)],
        lines=lines,
        lead=f" by the number of modalities in testing: mean of {listed(scores.plain)} over all subsets of "
        f"so many, and over {{tested}}{of_whole(scores)}{over if every else ''}",
    )
    table = replace(table, conditions=conditions([scores]))
    if not every:
        return table
    by_method = {gain.method: gain for gain in every}

    def whole(row: Row) -> Row:
        gain = by_method.get(row.method)
        gained = [_gained(gain, i + 1) if gain else EMPTY for i in range(len(numbers))]
        return replace(row, cells=tuple(chain(*zip(row.cells, gained, strict=True))))

    beside = [Column(f"gain-{n}", "Gain", higher_is_better=up) for n in numbers]
    return replace(
        table,
        columns=tuple(chain(*zip(table.columns, beside, strict=True))),
        blocks=tuple(replace(block, rows=tuple(map(whole, block.rows))) for block in table.blocks),
    )


def _line(scores: Scores, network: str, run: Run, ranked: bool) -> Line:
    runs = scores.by_region(run.method, scores.plain)
    dice = scores.dice.by_region(run.method, scores.plain) if scores.dice else None
    return Line(network, (_label(run),), run.method, runs, ranked=ranked, dice=dice)


def _label(run: Run) -> str:
    return without_network(run.method, run.config["backbone"]["name"])


def _about(gain: Gain, margin: float | None, up: bool) -> dict[str, Cell]:
    """What is known of a gain, by the name of the column."""
    share = float(gain.effect.superiority[0])
    return {
        "gain": _gained(gain),
        "p": Cell(gain.p),
        "equivalent": Cell(float(gain.effect.equivalence(margin or 0.0)[0])),
        "superiority": Cell(share if up else 1 - share),
        "detectable": Cell(float(gain.effect.detectable[0])),
    }


def _gained(gain: Gain, column: int = 0) -> Cell:
    value, low, high = gain.value(column)
    return Cell(value, interval=() if math.isnan(low) else (low, high))


def _is_perfect(run: Run) -> bool:
    return policy(run) == "pdt" and run.config["objective"]["name"] == "baseline"


def _within(every: Sequence[Gain]) -> str:
    """Say of which trainings gains are, where one of two methods has others."""
    return " within the trainings that both have" if any(gain.effect.unpaired for gain in every) else ""


def _lead(scores: Scores, every: Sequence[Gain], margin: float | None, primary: bool, perfect: bool) -> str:
    """What the table shows: its caption."""
    parts = [
        f" by network and method, {OVER_SUBSETS}",
        f"Mean: of {listed(scores.plain)}{', the primary endpoint' if primary else ''}",
        f"Gain: over the baseline of the same network{_within(every)}{of_whole(scores)}, with its 95 % "
        f"interval over {intervals(scores.study.runs)} (crossed random effects, Satterthwaite's degrees of "
        "freedom)",
    ]
    if primary:
        parts.append(
            "p: two-sided, corrected by Holm over all gains of the table; there is none with fewer than "
            f"{LEAST} trainings a side"
        )
    if margin is not None:
        parts.append(f"p (equivalent): of two one-sided tests against a difference of {margin:g}")
    parts += [
        "P(better): share of the pairs of trainings in which the method is better",
        f"Detectable: the true gain whose interval would leave out 0 with a chance of {100 * POWER:g} %",
    ]
    return ". ".join(parts + ["(PDT): trained on complete data, not ranked"] * perfect)
