"""Tables of what a method is made of: its parts on and off, its options, its network and training setting.

ablation_tables(scores), sweep_tables(scores), settings_table(scores, complete)

A column is a region, its value a mean over the subsets; the average is over the regions that are not another
one's post-processed twin. A table is made only of runs that differ in what it shows and in nothing else.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from benchmark.report.data.names import method_titles, network_title, options
from benchmark.report.data.runs import Run, Study
from benchmark.report.data.scores import AVERAGE, Frames, Scores
from benchmark.report.tables.by_subset import OVER_SUBSETS, make_table
from benchmark.report.tables.rows import Line, policy, references
from benchmark.report.tables.table import Block, Cell, Column, Table

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
                _line(scores, group.title, on, method, "" if method == baseline else baseline or "")
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
                    lead=f" with the checked parts of {network_title(name)}, {OVER_SUBSETS}; {_over(study)}",
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
                        lead=f" for several values of {what}, {OVER_SUBSETS}; {_over(study)}",
                    )
                )
    return tables


def settings_table(scores: Scores, complete: Scores | None) -> Table | None:
    """Return networks by training setting: PDT, IDT and IDT with each method, with gain and size.

    Args:
        scores: of the study with imperfect data.
        complete: of the same dataset with complete data (PDT); None where there is none.

    None where no network was trained in two settings. Methods with parts switched off are left out.
    """
    baselines = complete.study.runs if complete else ()
    perfect = {
        run.method: run
        for run in baselines
        if policy(run) == "pdt" and run.config["objective"]["name"] == "baseline"
    }
    imperfect = {
        run.method: run
        for run in scores.study.runs
        if not any(value is False for value in run.config["objective"].values())
    }
    against = references(scores.study.runs)
    lines, shown = [], []
    for network in dict.fromkeys(_network(run) for run in imperfect.values()):
        rows = [(complete, method, run) for method, run in perfect.items() if _network(run) == network]
        rows += [(scores, method, run) for method, run in imperfect.items() if _network(run) == network]
        if len(rows) < 2 or all(run.config["objective"]["name"] != "baseline" for *_, run in rows):
            continue
        for source, method, run in rows:
            line = _line(source or scores, network, (_setting(run),), method, against.get(method, ""))
            lines.append(replace(line, ranked=source is scores))
            shown.append(run)
    if not lines:
        return None
    others = [complete.study] if complete and any(not line.ranked for line in lines) else []
    table = make_table(
        [scores],
        kind="settings",
        heading=f"{scores.title} by network and setting",
        labels=("Network", "Setting"),
        columns=_columns(scores),
        lines=lines,
        lead=f" by network and setting, {OVER_SUBSETS}; {_over(scores.study)}; Gain: of the average over "
        "IDT. PDT: perfect training data, every case with all modalities (not ranked); IDT: imperfect "
        "training data. GFLOPs: of one training crop with all modalities, a multiply-add counted as two",
        others=others,
    )
    sizes = {run.method: run.model for run in shown}
    extra = (
        Column("gain", "Gain", higher_is_better=scores.higher_is_better),
        Column("parameters", "Parameters (M)"),
        Column("gflops", "GFLOPs", decimals=1),
    )
    return replace(
        table,
        columns=(*table.columns, *extra),
        blocks=tuple(_with_sizes(block, against, sizes) for block in table.blocks),
    )


def plain_regions(study: Study) -> list[str]:
    """The regions of which none is another one's post-processed twin: those that an average is over."""
    classes: dict[tuple[int, ...], str] = {}
    for region in study.description.regions:
        classes.setdefault(region.classes, region.name)
    return list(classes.values())


def _with_sizes(block: Block, against: Mapping[str, str], sizes: Mapping[str, Any]) -> Block:
    averages = {row.method: row.cells[-1].value for row in block.rows}
    rows = []
    for row in block.rows:
        gain = averages[row.method] - averages.get(against.get(row.method, ""), math.nan)
        size = sizes[row.method]
        rows.append(
            replace(
                row,
                cells=(
                    *row.cells,
                    Cell(gain),
                    Cell(size.get("parameters", math.nan) / 1e6),
                    Cell(size.get("gflops", math.nan)),
                ),
            )
        )
    return replace(block, rows=tuple(rows))


def _network(run: Run) -> str:
    return network_title(run.config["backbone"]["name"])


def _setting(run: Run) -> str:
    """``IDT``, ``IDT + PASSION (tau=2)``: the method's title without its network."""
    kind = "PDT" if policy(run) == "pdt" else "IDT"
    rest = run.method.removeprefix(_network(run)).replace(" (PDT)", "").removeprefix(" baseline")
    return kind + rest


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
        {**run.config, "objective": {k: v for k, v in run.config["objective"].items() if k not in keys}}
        for run in runs
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
    names = [region.name for region in scores.study.description.regions]
    better = scores.higher_is_better
    return [
        *(Column(name, name, higher_is_better=better) for name in names),
        Column(AVERAGE, "Average", higher_is_better=better),
    ]


def _line(
    scores: Scores, block: str, labels: tuple[str | bool, ...], method: str, reference: str = ""
) -> Line:
    plain = plain_regions(scores.study)
    runs, cases = (_regions(frames, method, plain) for frames in (scores.runs, scores.cases))
    dice = _regions(scores.dice, method, plain) if scores.dice else None
    return Line(block, labels, method, runs, cases, reference=reference, dice=dice)


def _regions(frames: Frames, method: str, plain: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame({region: frame[AVERAGE] for region, frame in frames[method].items()})
    table[AVERAGE] = table[list(plain)].mean(axis=1, skipna=False)
    return table


def _over(study: Study) -> str:
    return f"Average: plain mean over {', '.join(plain_regions(study))}"
