"""The paper's table: methods by subsets of modalities, a block per region, with its conditions as caption.

    table = subset_table(collected, study, "dice")
    table.blocks[0].rows[0].mean        # one value per subset, the last their average

A `Table` says what stands where; `render` turns it into Markdown, LaTeX and csv.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.metrics import METRICS
from benchmark.report.collect import Collected, Study
from benchmark.report.names import modality_title
from datasets.vocabulary import presence, subset_name, table_subsets

DECIMALS = 2
SECOND_FROM = 3
"""Number of methods from which on the second best is marked too."""


@dataclass(frozen=True)
class Row:
    """One method in one region.

    Attributes:
        method: its title.
        runs: how many runs (seeds) the values are over.
        mean: a value per subset and the average, in percent or in the metric's unit.
        sd: their standard deviation over the runs; empty with one run.
        marks: `best`, `second` or the empty string, for each value.
    """

    method: str
    runs: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """The rows of one region."""

    region: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table before it is Markdown, LaTeX or csv.

    Attributes:
        name: for files and labels, such as ``phantom-mr2468-dice``.
        title: the metric with its unit, such as ``Dice (%)``.
        higher_is_better: direction of the metric.
        policy: name of the metric policy.
        modalities: titles, in the order of the head's rows.
        subsets: names of the columns, in the paper's order, without the average.
        present: for each subset, which of `modalities` are present.
        blocks: one per region.
        caption: the conditions, plain text that goes on from the title.
    """

    name: str
    title: str
    higher_is_better: bool
    policy: str
    modalities: tuple[str, ...]
    subsets: tuple[str, ...]
    present: tuple[tuple[bool, ...], ...]
    blocks: tuple[Block, ...]
    caption: str


def metrics_of(collected: Collected) -> list[str]:
    """Names of the recorded metrics, in the order of `METRICS`."""
    recorded = set(collected.cases["metric"])
    return [metric for metric in METRICS if metric in recorded]


def subset_table(collected: Collected, study: Study, metric: str) -> Table:
    """Return the table of a metric over all regions and subsets.

    A value is the mean over the test cases of one run, then over the runs; the average is the plain mean over
    the subsets. Metrics without a unit are given in percent.
    """
    description = study.description
    subsets = table_subsets(description)
    names = [subset_name(s, description.modalities) for s in subsets]
    regions = [region.name for region in description.regions]
    cases = collected.cases
    folders = [run.folder for run in study.runs]
    rows = cases[cases["run"].isin(folders) & (cases["metric"] == metric)]
    means = (
        rows.groupby(["method", "run", "region", "subset"])["value"]
        .mean()
        .unstack("subset")
        .reindex(columns=names)
    )
    means["average"] = means.mean(axis=1, skipna=False)
    if not METRICS[metric].unit:
        means *= 100
    return Table(
        name=f"{study.name}-{metric}",
        title=f"{METRICS[metric].title} ({METRICS[metric].unit or '%'})",
        higher_is_better=METRICS[metric].higher_is_better,
        policy=study.runs[0].content["metrics"]["policy"],
        modalities=tuple(modality_title(m) for m in description.modalities),
        subsets=tuple(names),
        present=tuple(presence(s, description.modalities) for s in subsets),
        blocks=tuple(
            _block(region, means, study.methods, METRICS[metric].higher_is_better) for region in regions
        ),
        caption=_caption(study, rows),
    )


def _block(region: str, values: pd.DataFrame, methods: list[str], higher_is_better: bool) -> Block:
    grouped = values.xs(region, level="region").groupby("method", sort=False)
    mean, runs = grouped.mean().loc[methods], grouped.size()
    ranks = mean.round(DECIMALS).rank(method="min", ascending=not higher_is_better).to_numpy()
    means, sds = mean.to_numpy(), grouped.std().loc[methods].to_numpy()
    rows = [
        Row(
            method,
            int(runs[method]),
            mean=tuple(means[i].tolist()),
            sd=tuple(sds[i].tolist()) if runs[method] > 1 else (),
            marks=tuple(
                _mark(rank, column.max(), len(methods))
                for rank, column in zip(ranks[i], ranks.T, strict=True)
            ),
        )
        for i, method in enumerate(methods)
    ]
    return Block(region, tuple(rows))


def _mark(rank: float, last: float, methods: int) -> str:
    """Name a rank out of 1 to `last`; where all methods are equal none is marked."""
    if rank == 1 and last > 1:
        return "best"
    return "second" if rank == 2 and methods >= SECOND_FROM else ""


def _caption(study: Study, rows: pd.DataFrame) -> str:
    content = study.runs[0].content
    cases = content["data"]["cases"]
    folds = sorted({run.fold for run in study.runs})
    tested, trained = counted(cases["test"], "test case"), "Trained"
    if len(folds) > 1:
        tested, trained = "the test cases of each fold", f"{study.runs[0].fold} trained"
    sentences = [
        f"on {study.dataset} for every subset of modalities, mean over {tested}; "
        "Average: plain mean over the subsets.",
        f"{trained} on {counted(cases['train'], 'case')} under profile {study.profile}: {rates(content)}; "
        f"availability table {content['data']['availability']['hash']}, data {content['data']['hash']}.",
    ]
    fewest = rows.groupby("subset")["case"].nunique().min()
    if fewest < rows["case"].nunique():
        sentences.append(
            f"Not every test case has every modality: a subset has {counted(fewest, 'case')} or more."
        )
    runs = sorted(Counter(run.method for run in study.runs).values())
    if runs[-1] > 1:
        number = runs[0] if runs[0] == runs[-1] else f"{runs[0]} to {runs[-1]}"
        differ = "seed" if len(folds) == 1 else "seed or fold"
        sentences.append(f"Mean and standard deviation over {number} runs of different {differ}.")
    sentences += [
        f"{region.name} is emptied when fewer than {region.min_voxels} of its voxels are predicted."
        for region in study.description.regions
        if region.min_voxels
    ]
    sentences.append(content["metrics"]["text"])
    sentences.append(f"Code at commit {', '.join(sorted({run.commit for run in study.runs}))}.")
    return " ".join(sentences)


def rates(content: dict[str, Any]) -> str:
    """Say how often each modality is really missing in training, from the content of a `config.yaml`."""
    realised = content["data"]["availability"]["realised"]
    if not any(realised.values()):
        return "no modality missing"
    parts = ", ".join(f"{modality_title(m)} {100 * rate:.1f} %" for m, rate in realised.items())
    return f"realised missing rates {parts}"


def counted(number: int, thing: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
