"""The main tables: methods by subsets of modalities, and methods by profiles of missing modalities.

table = subset_table(score(collected.cases, study, "dice"))
table.blocks[0].rows[0].cells       # one per subset, the last their average

Which tables a report has is said in `contents`; those over options of a method are in `by_setting`.
"""

from collections.abc import Sequence

import numpy as np

from benchmark.report.data.effects import Array, Training, Trainings
from benchmark.report.data.names import modality_title
from benchmark.report.data.scores import AVERAGE, Scores, training, under_several
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
    trainings = {region: scores.trainings(scores.of_subsets(region)) for region in scores.regions}
    lines = [
        Line(
            region.name,
            (method,),
            method,
            scores.of_runs(method)[:, i],
            (trainings[region.name][method],),
            region.name,
            against.get(method, ""),
            dice=scores.dice.of_runs(method)[:, i] if scores.dice else None,
        )
        for i, region in enumerate(description.regions)
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
    every = [scores for scores in every if shown & set(scores.study.methods)]
    if not every:
        return None
    better = every[0].higher_is_better
    runs = [run for scores in every for run in scores.study.runs]
    against = references(runs)
    regions = every[0].regions
    trainings = {region: [s.trainings(s.of_subsets(region)[-1:]) for s in every] for region in regions}
    dice = [scores.dice for scores in every if scores.dice]
    lines = [
        Line(
            region,
            (method,),
            method,
            _by_seed(every, method, i),
            _across(every, [of_study.get(method) for of_study in trainings[region]]),
            region,
            against.get(method, ""),
            dice=_by_seed(dice, method, i) if len(dice) == len(every) else None,
        )
        for i, region in enumerate(regions)
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
) -> Table:
    """Put a table together: its rows with marks and differences, its name and its caption.

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
    """
    first = every[0]
    blocks, differences = assemble(lines, [column.name for column in columns], first.higher_is_better)
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
        caption=caption(first.study, lead),
        modalities=modalities,
        heading=heading,
        differences=differences,
    )


def _across(every: Sequence[Scores], parts: Sequence[Trainings | None]) -> tuple[Trainings | None, ...]:
    """A method's averages under each profile and, over the seeds and folds that all have, their mean."""
    if None in parts or len({s.names for s in every}) > 1:
        return (*parts, None)
    by_seed = [{k._replace(table=""): v for k, v in zip(p.keys, p.values, strict=True)} for p in parts if p]
    common = [key for key in by_seed[0] if all(key in own for own in by_seed)]
    if not common:
        return (*parts, None)
    mean = np.mean([[own[key] for key in common] for own in by_seed], axis=0)
    return (*parts, Trainings(tuple(common), mean))


def _by_seed(every: Sequence[Scores], method: str, region: int) -> Array:
    """A method's averages under each profile and their mean, a row for each seed and fold of any of them."""
    rows: dict[Training, Array] = {}
    for column, scores in enumerate(every):
        if method in scores.study.methods:
            runs = [run for run in scores.study.runs if run.method == method]
            for run, value in zip(runs, scores.of_runs(method)[:, region, -1], strict=True):
                key = training(run)._replace(table="")
                rows.setdefault(key, np.full(len(every), np.nan))[column] = value
    values = np.array(list(rows.values()))
    return np.column_stack([values, values.mean(axis=1)])
