"""From lines of numbers to a table's rows: means, best and second best, differences to a reference.

blocks, differences = assemble(lines, ["WT", "TC", "ET"], higher_is_better=True)
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmark.report.data.effects import Array, Trainings, difference
from benchmark.report.data.names import is_dedicated, options
from benchmark.report.data.runs import Run
from benchmark.report.tables.table import DECIMALS, SECOND_FROM, Block, Cell, Difference, Row


@dataclass(frozen=True)
class Line:
    """One row before marks and differences.

    Attributes:
        block: title of its block.
        labels: as in `Row`.
        method: its title.
        runs: [runs, columns of the table]; nan where a run has no value.
        trainings: the same by training and patient, for the first columns, then for the next, and so on; None
            where there is nothing for a column.
        region: as in `Block`.
        reference: title of the method whose line in the same block it is compared with; empty: with none.
        ranked: whether it may be marked as best.
        dice: mean of `Scores.dice` of each run, the same columns; None where it is not known.
    """

    block: str
    labels: tuple[str | bool, ...]
    method: str
    runs: Array
    trainings: tuple[Trainings | None, ...] = ()
    region: str = ""
    reference: str = ""
    ranked: bool = True
    dice: Array | None = None


def assemble(
    lines: Sequence[Line], columns: Sequence[str], higher_is_better: bool
) -> tuple[tuple[Block, ...], tuple[Difference, ...]]:
    """Return the blocks of a table, and the differences of its cells to their references."""
    blocks = []
    for title in dict.fromkeys(line.block for line in lines):
        own = [line for line in lines if line.block == title]
        means, sds = (
            np.array(parts) for parts in zip(*(_mean_and_sd(line.runs) for line in own), strict=True)
        )
        finds = np.array([_finds_something(line) for line in own])
        marks = marked(np.where(finds, means, np.nan), [line.ranked for line in own], higher_is_better)
        rows = []
        for i, line in enumerate(own):
            cells = tuple(
                Cell(float(means[i, j]), float(sds[i, j]), mark=marks[i][j]) for j in range(len(columns))
            )
            rows.append(Row(line.labels, cells, line.method, len(line.runs)))
        blocks.append(Block(title, tuple(rows), own[0].region))
    return tuple(blocks), tuple(_differences(lines, columns))


def _finds_something(line: Line) -> NDArray[np.bool_]:
    """Whether the Dice of each column is more than 0 as printed: a distance of nothing is never the best."""
    if line.dice is None:
        return np.ones(line.runs.shape[1], dtype=bool)
    return _mean_and_sd(line.dice)[0].round(DECIMALS) > 0


def marked(values: Array, ranked: Sequence[bool], higher_is_better: bool) -> list[list[str]]:
    """Return `best`, `second` or nothing for each of [rows, columns]; equal as printed is equal.

    Where all rows are equal none is marked; the second is from `SECOND_FROM` rows on. Rows that are not
    `ranked` have no part in it.
    """
    rounded = np.where(np.array(ranked)[:, None], values.round(DECIMALS), np.nan)
    ranks = rankdata(-rounded if higher_is_better else rounded, "min", axis=0, nan_policy="omit")
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
    """Return, for each method's title, that of the baseline it is compared with; none for such a baseline.

    That is the baseline of the same network, training and policy; without one, the baseline on the
    imperfect data as they are (`idt`).
    """
    baselines: dict[str, dict[str, str]] = {}
    for run in runs:
        if run.config["objective"]["name"] == "baseline" and not is_dedicated(run.config):
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
    """What a run shares with its baseline: all but the objective, and the subset that it is dedicated to."""
    every = options(run.config).items()
    kept = {k: v for k, v in every if not k.startswith("objective.") and k != "train.subset"}
    return json.dumps(kept, sort_keys=True)


def _mean_and_sd(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (n - 1) of each column over the runs that have a value."""
    there = np.isfinite(values)
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=0) / count
        sd = np.sqrt((np.where(there, values - mean, 0.0) ** 2).sum(axis=0) / (count - 1))
    return mean, np.where(count > 1, sd, np.nan)


def _differences(lines: Sequence[Line], columns: Sequence[str]) -> Iterator[Difference]:
    places = {(line.block, line.method): line for line in lines}
    for line in lines:
        other = places.get((line.block, line.reference))
        begin = 0
        for ours, theirs in zip(line.trainings, other.trainings if other else (), strict=False):
            if ours is None or theirs is None:
                begin += 1
                continue
            found = difference(ours, theirs)
            names = columns[begin : begin + len(found.mean)]
            begin += len(names)
            numbers = (found.patients, found.mean, found.low, found.high)
            for column, patients, *ends in zip(names, *(n.tolist() for n in numbers), strict=True):
                if not math.isnan(ends[0]):
                    yield Difference(
                        line.block, column, line.method, line.reference, found.trainings, patients, *ends
                    )
