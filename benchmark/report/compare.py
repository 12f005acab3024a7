"""Two runs, or two grids, case by case: ``print_comparison("runs/a/X", "runs/a/Y", Path("runs"), None)``.

Runs are paired as they are given; grids by what their runs are, seeds averaged per case. B is compared with
A: differences are B minus A, and a gain is whatever is better in B.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench_errors import InputError
from benchmark.evaluation.metrics import METRICS
from benchmark.report.data.collect import SPLITS, read_cases
from benchmark.report.data.find import find_runs
from benchmark.report.data.names import method_titles, options
from benchmark.report.data.runs import Run
from benchmark.report.data.scores import metric_title
from benchmark.report.data.statistics import holm, paired
from benchmark.report.show import WIDTH
from benchmark.report.tables.captions import counted
from benchmark.report.tables.csv_text import csv_text
from benchmark.report.tables.render import DASH, number, p_value
from datasets.vocabulary import Description

EXTREMES = 5
"""How many of the largest gains and losses are shown."""
KEYS = ["metric", "region", "subset", "case"]


@dataclass(frozen=True)
class Pair:
    """What is compared: the finished runs of one method on either side, told apart by their seeds alone."""

    title: str
    a: tuple[Run, ...]
    b: tuple[Run, ...]


def print_comparison(a: str, b: str, runs: Path, out: Path | None) -> None:
    """Print the comparison of two runs or grids, and write all rows side by side to `out`.

    Raises `InputError` if a name is unknown, a run is not finished, nothing stands on both sides, a pair
    differs in data or metric policy, or `out` cannot be written.
    """
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)
    found = [find_runs(text, runs) for text in (a, b)]
    pairs = _pairs(a, b, *found)
    tables = []
    for pair in pairs:
        rows = side_by_side(pair)
        _print_pair(pair, rows, console)
        tables.append(rows.assign(method=pair.title))
    if out is not None:
        _write(pd.concat(tables), out)
        console.print(f"\nwrote {counted(sum(map(len, tables)), 'row')} to {out}", soft_wrap=True)


def side_by_side(pair: Pair) -> pd.DataFrame:
    """Return the scores that both sides have: columns `KEYS`, a, b and difference (b - a), as recorded."""
    for name, (what, value) in SPLITS.items():
        values = [{value(run) for run in side} for side in (pair.a, pair.b)]
        if name != "availability" and values[0] != values[1]:
            parts = " and ".join(", ".join(sorted(found)) for found in values)
            raise InputError(
                f"{pair.a[0].folder} and {pair.b[0].folder} differ in their {what} ({parts}): their cases "
                "cannot be compared"
            )
    sides = [
        pd.concat([read_cases(run).astype(dict.fromkeys(KEYS, str)) for run in side])
        .groupby(KEYS)["value"]
        .mean()
        for side in (pair.a, pair.b)
    ]
    rows = pd.DataFrame({"a": sides[0], "b": sides[1]}).dropna()
    if rows.empty:
        raise InputError(f"{pair.a[0].folder} and {pair.b[0].folder} have no test case in common")
    rows["difference"] = rows["b"] - rows["a"]
    return rows.reset_index()


def _pairs(a: str, b: str, left: Sequence[Run], right: Sequence[Run]) -> list[Pair]:
    if len(left) == len(right) == 1:
        for run in (*left, *right):
            if run.state != "done":
                reason = f" ({run.reason})" if run.reason else ""
                raise InputError(f"{run.folder} is {run.state}{reason}: only finished runs can be compared")
        return [Pair(method_titles([right[0].config])[0], tuple(left), tuple(right))]
    grouped: list[dict[str, list[Run]]] = [{}, {}]
    for side, runs in zip(grouped, (left, right), strict=True):
        for run in runs:
            if run.state == "done":
                side.setdefault(_identity(run), []).append(run)
    common = [key for key in grouped[0] if key in grouped[1]]
    if not common:
        raise InputError(
            f"{a} and {b} have no finished run with the same configuration: name two runs to compare them"
        )
    titles = method_titles([grouped[0][key][0].config for key in common])
    pairs = []
    for title, key in zip(titles, common, strict=True):
        ours, theirs = (tuple(side[key]) for side in grouped)
        pairs.append(Pair(f"{title}, {ours[0].config['dataset']}, {ours[0].config['profile']}", ours, theirs))
    return pairs


def _identity(run: Run) -> str:
    return json.dumps([_settings(run, ("dataset", "profile")), run.fold], sort_keys=True)


def _settings(run: Run, conditions: Sequence[str]) -> dict[str, Any]:
    return {**{key: run.config[key] for key in conditions}, **options(run.config)}


def _print_pair(pair: Pair, rows: pd.DataFrame, console: Console) -> None:
    for name, side in (("A", pair.a), ("B", pair.b)):
        seeds = f" ({len(side)} runs, averaged per case)" if len(side) > 1 else ""
        first = side[0]
        title = method_titles([first.config])[0]
        text = f"{name}: {title}, {first.config['profile']}  {first.grid}/{first.folder}{seeds}"
        console.print(escape(text), style="bold", soft_wrap=True)
    if differing := _differences(pair.a[0], pair.b[0]):
        console.print(escape(f"differ in {', '.join(differing)}"), soft_wrap=True)
    regions = [region.name for region in Description.from_dict(pair.a[0].content["dataset"]).regions]
    metrics = [metric for metric in METRICS if (rows["metric"] == metric).any()]
    console.print(_summary(rows, metrics, regions))
    for metric in metrics:
        console.print(_extremes(rows[rows["metric"] == metric], metric))


def _differences(a: Run, b: Run) -> list[str]:
    left, right = (_settings(run, ("dataset", "profile", "seed")) for run in (a, b))
    return [f"{key} ({left[key]} | {right[key]})" for key in left if right.get(key, left[key]) != left[key]]


def _summary(rows: pd.DataFrame, metrics: Sequence[str], regions: Sequence[str]) -> Table:
    """Each metric and region on average over the subsets of a case, tested over the cases."""
    means = rows.groupby(["metric", "region", "case"])[["a", "b", "difference"]].mean()
    places = [(metric, region) for metric in metrics for region in regions]
    parts = [_scale(place[0]) * pd.DataFrame(means.xs(place)) for place in places]
    results = [paired(part[["difference"]].to_numpy(float)) for part in parts]
    corrected = holm(np.array([result.p[0] for result in results]))
    table = Table("metric", "region", title="Average over the subsets, paired over the cases")
    for head in ("cases", "A", "B", "B - A", "95 % interval", "effect", "p", "p (Holm)"):
        table.add_column(head, justify="right")
    for (metric, region), part, result, p in zip(places, parts, results, corrected, strict=True):
        low, high = (float(end[0]) for end in (result.low, result.high))
        table.add_row(
            metric_title(metric),
            region,
            str(result.cases[0]),
            *(number(float(part[side].mean())) for side in ("a", "b")),
            number(float(result.difference[0])),
            DASH if math.isnan(low) else escape(f"[{number(low)}, {number(high)}]"),
            number(float(result.effect[0])),
            p_value(float(result.p[0])),
            p_value(float(p)),
        )
    table.caption = "p: Wilcoxon signed-rank test, two-sided; effect: matched-pairs rank-biserial correlation"
    return table


def _extremes(rows: pd.DataFrame, metric: str) -> Table:
    """The rows with the largest gains and losses, the largest first."""
    sign = 1 if METRICS[metric].higher_is_better else -1
    rows = rows.assign(gain=sign * rows["difference"])
    table = Table("", "case", "subset", "region", title=f"Largest differences, {metric_title(metric)}")
    for head in ("A", "B", "B - A"):
        table.add_column(head, justify="right")
    for kind, ascending in (("gain", False), ("loss", True)):
        ordered = rows.sort_values(["gain", *KEYS], ascending=[ascending, *[True] * len(KEYS)])
        part = ordered[(ordered["gain"] < 0) if ascending else (ordered["gain"] > 0)].head(EXTREMES)
        if part.empty:
            table.add_row(f"no {kind}")
        names = part[["case", "subset", "region"]].to_numpy(str)
        values = _scale(metric) * part[["a", "b", "difference"]].to_numpy(float)
        for words, numbers in zip(names, values, strict=True):
            table.add_row(kind, *map(escape, words), *map(number, numbers))
        table.add_section()
    return table


def _scale(metric: str) -> int:
    """Metrics without a unit are in percent."""
    return 1 if METRICS[metric].unit else 100


def _write(rows: pd.DataFrame, out: Path) -> None:
    columns = ["method", *KEYS, "a", "b", "difference"]
    try:
        out.write_text(csv_text(columns, rows[columns].itertuples(index=False)), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another file") from None
