"""Which methods a figure shows where a study has more than can be told apart: ``chosen([scores], MOST)``.

Of each network its baseline, then in turn the best others of each. The tables have all methods.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest

import numpy as np

from benchmark.report.data.runs import Run
from benchmark.report.data.scores import Scores
from benchmark.report.tables.table import Table


def chosen(every: Sequence[Scores], most: int) -> list[str]:
    """Return the methods that are shown, at most `most`, in the order of the tables.

    Args:
        every: one metric of one study, or of several whose figures are drawn together; what is best is
            decided by the mean over them, over their regions and subsets.
        most: how many a figure has room for.
    """
    first = {run.method: run for scores in reversed(every) for run in reversed(scores.study.runs)}
    methods = list(dict.fromkeys(method for scores in every for method in scores.study.methods))
    if len(methods) <= most:
        return methods
    ranks = {method: _rank(every, first[method]) for method in methods}
    by_network: dict[str, list[str]] = {}
    for method in methods:
        by_network.setdefault(first[method].config["backbone"]["name"], []).append(method)
    turns = []
    for own in by_network.values():
        baselines = [m for m in own if first[m].config["objective"]["name"] == "baseline"][:1]
        turns.append([*baselines, *sorted((m for m in own if m not in baselines), key=ranks.__getitem__)])
    shown = [method for method in chain(*zip_longest(*turns)) if method][:most]
    return [method for method in methods if method in shown]


def chosen_text(count: int, shown: Sequence[str], title: str, lead: str) -> str:
    """Return a caption's sentence on which of `count` methods are shown; nothing where all are."""
    if len(shown) >= count:
        return ""
    return (
        f" {lead} {len(shown)} of {count} methods: of each network its baseline and, in turn, the best by "
        f"mean {title}; the tables have all."
    )


def only_rows(table: Table, methods: Sequence[str]) -> Table:
    """Return the table with our rows of these methods alone."""
    blocks = tuple(
        replace(block, rows=tuple(row for row in block.rows if not row.source and row.method in methods))
        for block in table.blocks
    )
    return replace(table, blocks=blocks)


def _rank(every: Sequence[Scores], run: Run) -> float:
    """The smaller, the better; without a value last."""
    having = [scores for scores in every if run.method in scores.study.methods]
    mean = np.mean([scores.by_region(run.method, ())[:, -1].mean() for scores in having])
    return math.inf if math.isnan(mean) else -mean if every[0].higher_is_better else mean
