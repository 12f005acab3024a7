"""Tables of what a method is made of: its parts on and off, its options.

ablation_tables(scores), sweep_tables(scores)

A column is a region, its value a mean over the subsets; the average is over the regions that are not another
one's post-processed twin. A table is made only of runs that differ in what it shows and in nothing else.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmark.report.data.names import method_titles, network_title, options
from benchmark.report.data.runs import Run
from benchmark.report.data.scores import AVERAGE, Scores
from benchmark.report.tables.by_subset import OVER_SUBSETS, make_table
from benchmark.report.tables.rows import Line, references
from benchmark.report.tables.table import Column, Table

WEIGHTS = ("lambda1", "lambda2")
"""Options that are tried together and share a table."""


@dataclass(frozen=True)
class _Group:
    """Runs that are alike but for some options of the objective, and what they are called without these."""

    title: str
    runs: tuple[Run, ...]


def ablation_tables(scores: Scores) -> list[Table]:
    """Return a table per objective whose parts were switched on and off: a row per combination."""
    study, tables = scores.study, []
    against = references(study.runs)
    trainings = scores.trainings(scores.of_regions(scores.regions))
    for name, runs in _by_objective(study.runs).items():
        switches = [key for key, value in runs[0].config["objective"].items() if isinstance(value, bool)]
        lines: list[Line] = []
        for group in _alike(runs, switches):
            rows = {
                run.method: tuple(bool(run.config["objective"][s]) for s in switches) for run in group.runs
            }
            if baseline := against.get(group.runs[0].method):
                rows[baseline] = (False,) * len(switches)
            order = sorted(rows.items(), key=lambda row: (sum(row[1]), [not on for on in row[1]]))
            lines += [
                replace(
                    _line(scores, group.title, on, method),
                    trainings=(trainings[method],),
                    reference="" if method == baseline else baseline or "",
                )
                for method, on in order
            ]
        if lines:
            tables.append(
                make_table(
                    [scores],
                    kind="ablation",
                    part=f"{name}-parts",
                    heading=f"{scores.title} with parts of {network_title(name)}",
                    labels=("Method", *switches),
                    columns=_columns(scores),
                    lines=lines,
                    lead=f" with the checked parts of {network_title(name)}, {OVER_SUBSETS}; {_over(scores)}",
                )
            )
    return tables


def sweep_tables(scores: Scores) -> list[Table]:
    """Return a table per option of an objective, such as the temperature, that has several values."""
    study, tables = scores.study, []
    for name, runs in _by_objective(study.runs).items():
        for keys in _numeric(runs):
            lines: list[Line] = []
            for group in _alike(runs, keys):
                rows = {run.method: tuple(run.config["objective"][key] for key in keys) for run in group.runs}
                lines += [
                    _line(scores, group.title, tuple(f"{v:g}" for v in values), method)
                    for method, values in sorted(rows.items(), key=lambda row: row[1])
                ]
            if lines:
                what = " and ".join(keys)
                tables.append(
                    make_table(
                        [scores],
                        kind="sweep",
                        part=f"{name}-{'-'.join(keys)}",
                        heading=f"{scores.title} against {what} of {network_title(name)}",
                        labels=("Method", *keys),
                        columns=_columns(scores),
                        lines=lines,
                        lead=f" for several values of {what}, {OVER_SUBSETS}; {_over(scores)}",
                    )
                )
    return tables


def _by_objective(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.config["objective"]["name"], []).append(run)
    return found


def _numeric(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """The numbers among an objective's options, `WEIGHTS` together and all others alone."""
    keys = [
        key
        for key, value in runs[0].config["objective"].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    pair = tuple(key for key in keys if key in WEIGHTS)
    return [*((key,) for key in keys if key not in WEIGHTS), *([pair] if pair else [])]


def _alike(runs: Sequence[Run], keys: Sequence[str]) -> list[_Group]:
    """Group runs of one objective that are alike but for `keys` and the seed; groups of one are left out."""
    rest = [
        {**config, "objective": {k: v for k, v in config["objective"].items() if k not in keys}}
        for config in (run.method_config for run in runs)
    ]
    groups: dict[str, list[int]] = {}
    for i, config in enumerate(rest):
        groups.setdefault(json.dumps(options(config), sort_keys=True), []).append(i)
    found = [members for members in groups.values() if len({runs[i].method for i in members}) > 1]
    titles = method_titles([rest[members[0]] for members in found])
    return [
        _Group(title, tuple(runs[i] for i in members)) for title, members in zip(titles, found, strict=True)
    ]


def _columns(scores: Scores) -> list[Column]:
    return [
        *(Column(name, name, higher_is_better=scores.higher_is_better) for name in scores.regions),
        Column(AVERAGE, "Average", higher_is_better=scores.higher_is_better),
    ]


def _line(scores: Scores, block: str, labels: tuple[str | bool, ...], method: str) -> Line:
    runs = scores.by_region(method, scores.regions)
    dice = scores.dice.by_region(method, scores.regions) if scores.dice else None
    return Line(block, labels, method, runs, dice=dice)


def _over(scores: Scores) -> str:
    return f"Average: plain mean over {', '.join(scores.plain)}"
