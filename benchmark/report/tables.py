"""The main tables: methods by subsets of modalities, a block per region, with the conditions as caption.

table = subset_table(collected, study, "dice")
table.blocks[0].rows[0].cells       # one per subset, the last their average
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.metrics import METRICS
from benchmark.report.captions import caption
from benchmark.report.collect import Collected, Study
from benchmark.report.names import modality_title
from benchmark.report.table import DECIMALS, SECOND_FROM, Block, Cell, Column, Row, Table
from datasets.vocabulary import presence, subset_name, table_subsets

AVERAGE = "average"


def metrics_of(collected: Collected) -> list[str]:
    """Names of the recorded metrics, in the order of `METRICS`."""
    recorded = set(collected.cases["metric"])
    return [metric for metric in METRICS if metric in recorded]


def metric_title(metric: str) -> str:
    """``Dice (%)``, ``HD95 (mm)``: metrics without a unit are given in percent."""
    return f"{METRICS[metric].title} ({METRICS[metric].unit or '%'})"


def subset_table(collected: Collected, study: Study, metric: str) -> Table:
    """Return the table of a metric over all regions and subsets.

    A value is the mean over the test cases of one run, then over the runs; the average is the plain mean over
    the subsets. Metrics without a unit are given in percent.
    """
    description = study.description
    subsets = table_subsets(description)
    names = [subset_name(s, description.modalities) for s in subsets]
    rows = collected.cases
    rows = rows[rows["run"].isin([run.folder for run in study.runs]) & (rows["metric"] == metric)]
    means = run_means(rows, study, metric)
    better = METRICS[metric].higher_is_better
    methods = study.methods
    return Table(
        name=f"{study.name}-{metric}",
        kind="subsets",
        metric=metric,
        title=metric_title(metric),
        higher_is_better=better,
        policy=study.runs[0].content["metrics"]["policy"],
        labels=("Region", "Method"),
        columns=(
            *(
                Column(name, name, presence(s, description.modalities), better)
                for s, name in zip(subsets, names, strict=True)
            ),
            Column(AVERAGE, "Average", higher_is_better=better),
        ),
        blocks=tuple(
            Block(r.name, block_rows(means[r.name], methods, better), r.name) for r in description.regions
        ),
        caption=caption(
            [study],
            "for every subset of modalities, mean over {tested}; Average: plain mean over the subsets",
            study.runs,
            fewest_cases(rows),
        ),
        modalities=tuple(modality_title(m) for m in description.modalities),
        heading=metric_title(metric),
    )


def run_means(rows: pd.DataFrame, study: Study, metric: str) -> dict[str, pd.DataFrame]:
    """Return, for each region, the means over the cases: index method and run, columns subsets and average.

    In percent where the metric has no unit. A subset that no case has is nan, and so is then the average.
    """
    description = study.description
    names = [subset_name(s, description.modalities) for s in table_subsets(description)]
    means = rows.groupby(["method", "run", "region", "subset"], observed=True)["value"].mean()
    tables = {}
    for region in description.regions:
        part = means.xs(region.name, level="region").unstack("subset")
        wide = pd.DataFrame(part.to_numpy(), part.index, list(part.columns)).reindex(columns=names)
        wide[AVERAGE] = wide.mean(axis=1, skipna=False)
        tables[region.name] = wide if METRICS[metric].unit else 100 * wide
    return tables


def block_rows(values: pd.DataFrame, methods: Sequence[str], higher_is_better: bool) -> tuple[Row, ...]:
    """Return a row per method from a row of `values` per method and run; best and second best are marked."""
    grouped = values.groupby("method", sort=False, observed=True)
    means, sds = (getattr(grouped, what)().loc[list(methods)].to_numpy() for what in ("mean", "std"))
    runs = grouped.size()
    marks = marked(means, higher_is_better)
    return tuple(
        Row(
            (method,),
            tuple(
                Cell(float(mean), float(sd), mark=mark)
                for mean, sd, mark in zip(means[i], sds[i], marks[i], strict=True)
            ),
            method,
            int(runs[method]),
        )
        for i, method in enumerate(methods)
    )


def marked(values: NDArray[np.float64], higher_is_better: bool) -> list[list[str]]:
    """Return `best`, `second` or nothing for each of [methods, columns]; equal as printed is equal.

    Where all methods are equal none is marked; the second is from `SECOND_FROM` methods on.
    """
    ranks = pd.DataFrame(values).round(DECIMALS).rank(method="min", ascending=not higher_is_better).to_numpy()
    last = [np.nanmax(column) if np.isfinite(column).any() else math.nan for column in ranks.T]
    second = len(values) >= SECOND_FROM
    return [
        [
            "best" if rank == 1 and most > 1 else "second" if rank == 2 and second else ""
            for rank, most in zip(row, last, strict=True)
        ]
        for row in ranks
    ]


def fewest_cases(rows: pd.DataFrame) -> int:
    """The smallest number of cases that any subset has, or 0 where each has all of them."""
    fewest = int(rows.groupby("subset", observed=True)["case"].nunique().min())
    return fewest if fewest < rows["case"].nunique() else 0
