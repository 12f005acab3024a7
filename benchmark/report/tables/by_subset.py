"""The main tables: methods by subsets of modalities, and methods by profiles of missing modalities.

table = subset_table(score(collected, study, "dice"))
table.blocks[0].rows[0].cells       # one per subset, the last their average

Which tables a report has is said in `contents`; those over options of a method are in `variants`.
"""

from collections.abc import Sequence

import pandas as pd

from benchmark.report.data.names import modality_title
from benchmark.report.data.runs import Study
from benchmark.report.data.scores import AVERAGE, Frames, Scores, under_several
from benchmark.report.tables.captions import caption
from benchmark.report.tables.rows import Line, assemble, references
from benchmark.report.tables.table import Column, Table
from datasets.vocabulary import presence, table_subsets

OVER_SUBSETS = "mean over the subsets of modalities and over {tested}"


def subset_table(scores: Scores) -> Table:
    """Return methods by subsets, a block per region; the last column is the plain mean over the subsets."""
    study, better = scores.study, scores.higher_is_better
    description = study.description
    against = references(study.runs)
    lines = [
        Line(
            region.name,
            (method,),
            method,
            scores.runs[method][region.name],
            scores.cases[method][region.name],
            region.name,
            against.get(method, ""),
            dice=scores.dice.get(method, {}).get(region.name),
        )
        for region in description.regions
        for method in study.methods
    ]
    columns = [
        Column(name, name, presence(s, description.modalities), better)
        for s, name in zip(table_subsets(description), scores.subsets, strict=True)
    ]
    return make_table(
        [scores],
        kind="subsets",
        heading=scores.title,
        labels=("Region", "Method"),
        columns=[*columns, Column(AVERAGE, "Average", higher_is_better=better)],
        lines=lines,
        lead=" for every subset of modalities, mean over {tested}; Average: plain mean over the subsets",
        modalities=tuple(modality_title(m) for m in description.modalities),
    )


def profile_table(every: Sequence[Scores]) -> Table | None:
    """Return methods by profiles, a block per region; None where no method was run under two profiles.

    Args:
        every: of the studies of one dataset. Left out are methods under one profile alone, and studies that
            have no other.
    """
    shown = set(under_several(every))
    every = [scores for scores in every if shown & set(scores.runs)]
    if not every:
        return None
    better = every[0].higher_is_better
    runs = [run for scores in every for run in scores.study.runs]
    against = references(runs)
    lines = [
        Line(
            region.name,
            (method,),
            method,
            _beside({s.study.title: _by_seed(s, s.runs, method, region.name) for s in every}),
            _beside({s.study.title: _by_case(s, method, region.name) for s in every}),
            region.name,
            against.get(method, ""),
            dice=_beside({s.study.title: _by_seed(s, s.dice, method, region.name) for s in every})
            if all(s.dice for s in every)
            else None,
        )
        for region in every[0].study.description.regions
        for method in dict.fromkeys(run.method for run in runs if run.method in shown)
    ]
    return make_table(
        every,
        kind="profiles",
        heading=f"{every[0].title} under each profile",
        labels=("Region", "Method"),
        columns=[
            *(Column(s.study.title, s.study.title, higher_is_better=better) for s in every),
            Column(AVERAGE, "Average", higher_is_better=better),
        ],
        lines=lines,
        lead=f" under several profiles of missing modalities, {OVER_SUBSETS}; Average: plain mean over "
        "the profiles",
    )


def make_table(
    every: Sequence[Scores],
    *,
    kind: str,
    heading: str,
    labels: tuple[str, ...],
    columns: Sequence[Column],
    lines: Sequence[Line],
    lead: str,
    part: str = "",
    modalities: tuple[str, ...] = (),
    others: Sequence[Study] = (),
) -> Table:
    """Put a table together: its rows with marks and tests, its name and its caption.

    Args:
        every: whose numbers stand in it, of one dataset and metric.
        kind: as in `Table`.
        heading: as in `Table`.
        labels: as in `Table`.
        columns: as in `Table`.
        lines: its rows.
        lead: what it shows, for the caption.
        part: what tells its name from those of other tables of its kind.
        modalities: as in `Table`.
        others: further studies whose conditions the caption names.
    """
    first = every[0]
    blocks, tests = assemble(lines, [column.name for column in columns], first.higher_is_better)
    studies = [*(scores.study for scores in every), *others]
    shown = {line.method for line in lines}
    start = first.study.dataset if kind == "profiles" else first.study.name
    words = [part or kind] if kind != "subsets" else []
    return Table(
        name="-".join([start, *words, first.metric]),
        kind=kind,
        metric=first.metric,
        title=first.title,
        higher_is_better=first.higher_is_better,
        policy=first.study.runs[0].metric_policy,
        labels=labels,
        columns=tuple(columns),
        blocks=blocks,
        caption=caption(
            studies,
            lead,
            [run for study in studies for run in study.runs if run.method in shown],
            max(scores.fewest for scores in every),
            tests,
        ),
        modalities=modalities,
        heading=heading,
        tests=tests,
    )


def _beside(parts: dict[str, pd.Series]) -> pd.DataFrame:
    """Put series side by side and, where all have a value, their average."""
    table = pd.DataFrame(parts)
    table[AVERAGE] = table.mean(axis=1, skipna=False)
    return table


def _by_case(scores: Scores, method: str, region: str) -> pd.Series:
    return scores.cases[method][region][AVERAGE] if method in scores.cases else pd.Series(dtype=float)


def _by_seed(scores: Scores, frames: Frames, method: str, region: str) -> pd.Series:
    """The runs' averages by seed and fold, so that runs under several profiles can stand side by side."""
    if method not in frames:
        return pd.Series(dtype=float)
    runs = {run.folder: f"{run.config['seed']} {run.fold}" for run in scores.study.runs}
    return frames[method][region][AVERAGE].rename(index=runs)
