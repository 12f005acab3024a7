"""From lines of numbers to a table's rows: means, best and second best, tests against a reference.

blocks, tests = assemble(lines, ["WT", "TC", "ET"], higher_is_better=True)
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from benchmark.report.data.names import options
from benchmark.report.data.runs import Run
from benchmark.report.data.statistics import Array, holm, paired
from benchmark.report.tables.table import DECIMALS, SECOND_FROM, Block, Cell, Row, Test


@dataclass(frozen=True)
class Line:
    """One row before marks and tests.

    Attributes:
        block: title of its block.
        labels: as in `Row`.
        method: its title.
        runs: a row per run, one column per column of the table.
        cases: a row per case, the same columns.
        region: as in `Block`.
        reference: title of the method whose line in the same block it is tested against; empty: no test.
        ranked: whether it may be marked as best.
        dice: mean Dice in % of each run, the same columns, for metrics of which less is better; None where it
            is not known.
    """

    block: str
    labels: tuple[str | bool, ...]
    method: str
    runs: pd.DataFrame
    cases: pd.DataFrame
    region: str = ""
    reference: str = ""
    ranked: bool = True
    dice: pd.DataFrame | None = None


def assemble(
    lines: Sequence[Line], columns: Sequence[str], higher_is_better: bool
) -> tuple[tuple[Block, ...], tuple[Test, ...]]:
    """Return the blocks of a table and its tests, corrected over all of them."""
    lines = [replace(line, runs=line.runs[list(columns)], cases=line.cases[list(columns)]) for line in lines]
    tests = _tests(lines, columns)
    corrected = {(t.block, t.method, t.column): t.corrected for t in tests}
    blocks = []
    for title in dict.fromkeys(line.block for line in lines):
        own = [line for line in lines if line.block == title]
        means, sds = (
            np.array(parts) for parts in zip(*(_mean_and_sd(line.runs) for line in own), strict=True)
        )
        finds = np.array([_finds_something(line, columns) for line in own])
        marks = marked(np.where(finds, means, np.nan), [line.ranked for line in own], higher_is_better)
        rows = []
        for i, line in enumerate(own):
            cells = tuple(
                Cell(
                    float(means[i, j]),
                    float(sds[i, j]),
                    mark=marks[i][j],
                    p=corrected.get((title, line.method, column), math.nan),
                )
                for j, column in enumerate(columns)
            )
            rows.append(Row(line.labels, cells, line.method, len(line.runs)))
        blocks.append(Block(title, tuple(rows), own[0].region))
    return tuple(blocks), tests


def _finds_something(line: Line, columns: Sequence[str]) -> list[bool]:
    """Whether the Dice of each column is more than 0 as printed: a distance of nothing is never the best."""
    if line.dice is None:
        return [True] * len(columns)
    return (line.dice[list(columns)].mean().round(DECIMALS) > 0).tolist()


def marked(values: Array, ranked: Sequence[bool], higher_is_better: bool) -> list[list[str]]:
    """Return `best`, `second` or nothing for each of [rows, columns]; equal as printed is equal.

    Where all rows are equal none is marked; the second is from `SECOND_FROM` rows on. Rows that are not
    `ranked` have no part in it.
    """
    rounded = np.where(np.array(ranked)[:, None], values.round(DECIMALS), np.nan)
    ranks = pd.DataFrame(rounded).rank(method="min", ascending=not higher_is_better).to_numpy()
    last = [max((rank for rank in column if rank == rank), default=math.nan) for column in ranks.T]
    second = sum(ranked) >= SECOND_FROM
    return [
        [
            "best" if rank == 1 and most > 1 else "second" if rank == 2 and second else ""
            for rank, most in zip(row, last, strict=True)
        ]
        for row in ranks
    ]


def references(runs: Sequence[Run]) -> dict[str, str]:
    """Return, for each method's title, that of the baseline it is tested against; none for such a baseline.

    That is the baseline of the same network, training and policy; without one, the baseline on the
    imperfect data as they are (`idt`).
    """
    baselines: dict[str, dict[str, str]] = {}
    for run in runs:
        if run.config["objective"]["name"] == "baseline":
            baselines.setdefault(_setting(run), {}).setdefault(policy(run), run.method)
    found = {}
    for run in runs:
        own = baselines.get(_setting(run), {})
        drops = run.config["objective"]["name"] == "baseline" and policy(run) == "idt_drop"
        reference = own.get("idt") if drops else own.get(policy(run), own.get("idt"))
        if reference and reference != run.method:
            found[run.method] = reference
    return found


def policy(run: Run) -> str:
    """What a training case shows of itself: `idt`, `idt_drop` or `pdt`."""
    return str(run.config["objective"].get("policy", "idt"))


def _setting(run: Run) -> str:
    """What a run shares with its baseline: everything that is not of the objective."""
    kept: dict[str, Any] = {k: v for k, v in options(run.config).items() if not k.startswith("objective.")}
    return json.dumps(kept, sort_keys=True)


def _mean_and_sd(runs: pd.DataFrame) -> tuple[Array, Array]:
    """Mean and standard deviation (n - 1) of each column over the runs that have a value."""
    values = runs.to_numpy(float)
    there = np.isfinite(values)
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=0) / count
        sd = np.sqrt((np.where(there, values - mean, 0.0) ** 2).sum(axis=0) / (count - 1))
    return mean, np.where(count > 1, sd, np.nan)


def _tests(lines: Sequence[Line], columns: Sequence[str]) -> tuple[Test, ...]:
    known = {(line.block, line.method): line for line in lines}
    tested = [line for line in lines if (line.block, line.reference) in known]
    if not tested:
        return ()
    # All at once, as the many small steps of many lines would take longer than their arithmetic.
    index = reduce(pd.Index.union, (line.cases.index for line in lines))
    cases = {place: line.cases.reindex(index).to_numpy(float) for place, line in known.items()}
    differences = [cases[line.block, line.method] - cases[line.block, line.reference] for line in tested]
    result = paired(np.hstack(differences))
    corrected = holm(result.p)
    return tuple(
        Test(
            line.block,
            column,
            line.method,
            line.reference,
            int(result.cases[i]),
            *(float(values[i]) for values in (result.difference, result.low, result.high)),
            *(float(values[i]) for values in (result.effect, result.p, corrected)),
        )
        for i, (line, column) in enumerate(product(tested, columns))
        if result.cases[i]
    )
