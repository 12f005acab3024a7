"""Tables of a study in the paper's form: Dice by region against the temperature, the weights, and the like.

value_tables(search, read_validated(place, complete), complete)

A row is a value of a parameter (of the paper's two weights, a pair), or one of five equal parts of its
range: the best trial that has it. The study chose that trial's other parameters, so a row is what the value
can reach, not what it alone changes; for that, give a grid the parameter as an axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from benchmark.report.data.names import method_titles
from benchmark.report.tables.captions import counted
from benchmark.report.tables.rows import marked
from benchmark.report.tables.table import Block, Cell, Column, Row, Table
from benchmark.run_folder.case_rows import read_rows
from benchmark.run_folder.folder import VALIDATED, RunFolder
from benchmark.training.trial import VALIDATION
from benchmark.tune.scores import means_by
from benchmark.tune.search import Place
from benchmark.tune.study_file import Choice, Range, Search
from benchmark.tune.view import shown
from datasets.vocabulary import Description

WEIGHTS = ("objective.lambda1", "objective.lambda2")
"""The paper's weights, which share a table."""
PARTS = 5
"""Parts that a range of more values than `WHOLE` is divided into."""
WHOLE = 10
"""Whole numbers of a range that get a row each."""


@dataclass(frozen=True)
class ValidatedTrials:
    """The Dice of complete trials by region, and the conditions that they share.

    Attributes:
        study: its name.
        regions: by a trial's number, the mean Dice (0..1) of each region over subsets and validation cases.
        content: the `config.yaml` of one of them; empty where none is complete.
        cases: number of validation cases.
    """

    study: str
    regions: dict[int, dict[str, float]]
    content: dict[str, object]
    cases: int


def read_validated(place: Place, complete: Sequence[FrozenTrial]) -> ValidatedTrials:
    """Read the validation of complete trials; those whose run folder is not here are left out."""
    regions, content, cases = {}, {}, 0
    for trial in complete:
        folder = RunFolder(place.folder / str(trial.user_attrs.get("run", "")))
        if not (folder.path / VALIDATED).exists():
            continue
        rows = read_rows(folder.path / VALIDATED)
        regions[trial.number] = means_by(rows, lambda row: row.region)
        content, cases = folder.config(), len({row.case for row in rows})
    return ValidatedTrials(place.name, regions, content, cases)


def value_tables(search: Search, validated: ValidatedTrials, complete: Sequence[FrozenTrial]) -> list[Table]:
    """Return a table per parameter, `WEIGHTS` together."""
    trials = [trial for trial in complete if trial.number in validated.regions]
    if not trials:
        return []
    pair = tuple(key for key in search.space if key in WEIGHTS)
    alone = [(key,) for key in search.space if key not in WEIGHTS]
    return [_table(search, validated, trials, keys) for keys in [*alone, *([pair] if pair else [])]]


def _table(
    search: Search, validated: ValidatedTrials, trials: Sequence[FrozenTrial], keys: tuple[str, ...]
) -> Table:
    best: dict[tuple[int, ...], FrozenTrial] = {}
    for trial in sorted(trials, key=lambda t: (-t.values[0], t.number)):
        best.setdefault(tuple(_part(search.space[key], trial.params[key]) for key in keys), trial)
    description = Description.from_dict(validated.content["dataset"])  # type: ignore[arg-type]
    names = description.plain_regions
    order = sorted(best)
    values = np.array(
        [
            [
                *(100 * validated.regions[best[place].number][name] for name in names),
                100 * float(np.mean([validated.regions[best[place].number][name] for name in names])),
            ]
            for place in order
        ]
    )
    marks = marked(values, [True] * len(order), True)
    title = method_titles([validated.content["config"]])[0]  # type: ignore[list-item]
    rows = tuple(
        Row(
            (
                *(_title(search.space[key], part) for key, part in zip(keys, place, strict=True)),
                str(best[place].number),
            ),
            tuple(Cell(float(v), mark=m) for v, m in zip(line, line_marks, strict=True)),
            title,
        )
        for place, line, line_marks in zip(order, values, marks, strict=True)
    )
    short = [key.rpartition(".")[2] for key in keys]
    what = " and ".join(short)
    return Table(
        name="-".join([validated.study, *short]),
        kind="sweep",
        metric="dice",
        title="Dice (%)",
        higher_is_better=True,
        policy=VALIDATION.policy.name,
        labels=("Method", *short, "trial"),
        columns=tuple(Column(n, n, higher_is_better=True) for n in [*names, "average"]),
        blocks=(Block(title, rows),),
        caption=(
            f"on {description.name}, validation: of each value of {what} the best of the study's trials that "
            f"have it, whose other parameters the study chose; mean over the subsets of modalities and over "
            f"{counted(validated.cases, 'validation case')}; average: plain mean over "
            f"{', '.join(names)}. {counted(len(trials), 'complete trial')} of study "
            f"{validated.study}. {VALIDATION.conditions(description.spatial_dims)['text']}"
        ),
        heading=f"Dice (%) against {what}",
    )


def _edges(known: Range) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if known.log:
        return np.geomspace(known.low, known.high, PARTS + 1)
    return np.linspace(known.low, known.high, PARTS + 1)


def _by_value(known: Range) -> bool:
    return known.whole and known.high - known.low < WHOLE


def _part(known: Range | list[Choice], value: Any) -> int:
    """Which row a value belongs to: its place among the choices, itself, or the part of the range."""
    if isinstance(known, list):
        return known.index(value)
    if _by_value(known):
        return int(value)
    return int(np.clip(np.searchsorted(_edges(known), value, side="right") - 1, 0, PARTS - 1))


def _title(known: Range | list[Choice], part: int) -> str:
    if isinstance(known, list):
        return shown(known[part])
    if _by_value(known):
        return str(part)
    low, high = _edges(known)[part : part + 2]
    return f"{_short(low)} to {_short(high)}"


def _short(number: float) -> str:
    """Three digits, as whole numbers where they are large."""
    return f"{number:.3g}" if number < 1000 or not math.isfinite(number) else f"{number:.0f}"
