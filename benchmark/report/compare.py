"""Two runs, or two grids, case by case: ``print_comparison("runs/a/X", "runs/a/Y", Path("runs"), None)``.

Runs are paired as they are given; grids by what their runs are. B is compared with A: differences are B minus
A, and a gain is whatever is better in B. Two runs say nothing of other trainings, and the table says so.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from bench_console import output
from bench_errors import InputError
from benchmark.evaluation.metrics import METRICS
from benchmark.report.data.case_scores import case_frame
from benchmark.report.data.collect import SPLITS, check_comparable, joined, once
from benchmark.report.data.effects import LEAST, Array, Effect, Trainings, common, difference, mean
from benchmark.report.data.find import find_runs
from benchmark.report.data.names import method_titles, options
from benchmark.report.data.runs import Run, Study
from benchmark.report.data.scores import Scores, metric_scale, metric_title, metrics_of, score, training
from benchmark.report.show import WIDTH
from benchmark.report.tables.captions import NETWORKS_ONLY, counted
from benchmark.report.tables.csv_text import csv_text
from benchmark.report.tables.gains import listed
from benchmark.report.tables.render import number, p_value

EXTREMES = 5
"""How many of the largest gains and losses are shown."""
KEYS = ["metric", "region", "subset", "case"]


@dataclass(frozen=True)
class Pair:
    """What is compared: the finished runs of one method on either side, told apart by their seeds alone.

    `alone`: number of runs that are left out, as the other side has none of their seed and table.
    """

    title: str
    a: tuple[Run, ...]
    b: tuple[Run, ...]
    alone: int = 0


def print_comparison(a: str, b: str, runs: Path, out: Path | None) -> None:
    """Print the comparison of two runs or grids, and write all rows side by side to `out`.

    Raises `InputError` if a name is unknown, a run is not finished, nothing stands on both sides, a pair
    differs in data or metric policy, or `out` cannot be written.
    """
    console = output(WIDTH)
    found = [find_runs(text, runs) for text in (a, b)]
    pairs = _pairs(a, b, *found)
    tables = []
    for pair in pairs:
        sides = _frames(pair)
        rows = _side_by_side(*sides)
        _print_heads(pair, console)
        for table in (_summary(pair, *sides), *_extremes(rows)):
            console.print(table)
        tables.append(rows.assign(method=pair.title))
    if out is not None:
        _write(pd.concat(tables), out)
        console.print(f"\nwrote {counted(sum(map(len, tables)), 'row')} to {out}", soft_wrap=True)


def _frames(pair: Pair) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scores of each side; `InputError` where they cannot be compared."""
    _check_conditions(pair.a, pair.b)
    a, b = case_frame(pair.a), case_frame(pair.b)
    if not set(a["case"]) & set(b["case"]):
        raise InputError(f"{pair.a[0].folder} and {pair.b[0].folder} have no test case in common")
    return a, b


def _check_conditions(ours: Sequence[Run], theirs: Sequence[Run]) -> None:
    """Raise `InputError` where the sides differ in metric policy or data."""
    for name, (what, value) in SPLITS.items():
        values = [{value(run) for run in side} for side in (ours, theirs)]
        if name != "availability" and values[0] != values[1]:
            parts = " and ".join(", ".join(sorted(found)) for found in values)
            raise InputError(
                f"{ours[0].folder} and {theirs[0].folder} differ in their {what} ({parts}): their cases "
                "cannot be compared"
            )


def _side_by_side(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The scores that both sides have, runs averaged: columns `KEYS`, a, b and difference (b - a)."""
    means = [side.astype(dict.fromkeys(KEYS, str)).groupby(KEYS)["value"].mean() for side in (a, b)]
    rows = pd.DataFrame({"a": means[0], "b": means[1]}).dropna()
    return rows.assign(difference=rows["b"] - rows["a"]).reset_index()


def _pairs(a: str, b: str, left: Sequence[Run], right: Sequence[Run]) -> list[Pair]:
    if len(left) == len(right) == 1:
        for run in (*left, *right):
            if run.state != "done":
                reason = f" ({run.reason})" if run.reason else ""
                raise InputError(f"{run.folder} is {run.state}{reason}: only finished runs can be compared")
        return [Pair(method_titles([right[0].config])[0], tuple(left), tuple(right))]
    grouped: list[dict[tuple[str, str], list[Run]]] = [{}, {}]
    for side, runs in zip(grouped, (left, right), strict=True):
        for run in runs:
            if run.state == "done":
                side.setdefault(_identity(run), []).append(run)
    matching = [key for key in grouped[0] if key in grouped[1]]
    if not matching:
        others = {method: runs for (method, _), runs in grouped[1].items()}
        for (method, _), own in grouped[0].items():
            if method in others:
                _check_conditions(own, others[method])
        raise InputError(
            f"{a} and {b} have no finished run with the same configuration: name two runs to compare them"
        )
    titles = method_titles([grouped[0][key][0].method_config for key in matching])
    pairs = []
    for title, key in zip(titles, matching, strict=True):
        for side in grouped:
            config = side[key][0].config
            check_comparable(Study(config["dataset"], config["profile"], "", "", tuple(side[key])))
        ours, theirs, alone = _common(*(tuple(joined(once(side[key])[0])) for side in grouped))
        about = f"{title}, {ours[0].config['dataset']}, {ours[0].config['profile']}"
        pairs.append(Pair(about, ours, theirs, alone))
    return pairs


def _common(a: tuple[Run, ...], b: tuple[Run, ...]) -> tuple[tuple[Run, ...], tuple[Run, ...], int]:
    """The trainings that both sides have, as `difference` takes them, and how many are left out."""
    both = common([training(run) for run in a], [training(run) for run in b])
    ours, theirs = (tuple(run for run in side if not both or training(run) in both) for side in (a, b))
    return ours, theirs, len(a) + len(b) - len(ours) - len(theirs)


def _identity(run: Run) -> tuple[str, str]:
    """What runs of two grids have to share: the method with what it is tried on, and the metric policy."""
    return json.dumps((_settings(run, ("dataset", "profile")), run.fold), sort_keys=True), run.metric_policy


def _settings(run: Run, conditions: Sequence[str]) -> dict[str, Any]:
    return {**{key: run.config[key] for key in conditions}, **options(run.method_config)}


def _print_heads(pair: Pair, console: Console) -> None:
    for name, side in (("A", pair.a), ("B", pair.b)):
        seeds = f" ({len(side)} runs)" if len(side) > 1 else ""
        first = side[0]
        title = method_titles([first.config])[0]
        text = f"{name}: {title}, {first.config['profile']}  {first.grid}/{first.folder}{seeds}"
        console.print(text, style="bold", soft_wrap=True)
    if pair.alone:
        console.print(f"left out: {counted(pair.alone, 'run')} of seeds and tables that one side has alone")
    if differing := _differences(pair.a[0], pair.b[0]):
        console.print(f"differ in {', '.join(differing)}", soft_wrap=True)


def _differences(a: Run, b: Run) -> list[str]:
    """What differs, with both values; a configuration does not write down every default."""
    left, right = (_settings(run, ("dataset", "profile", "table_seed", "seed")) for run in (a, b))
    others = tuple(
        f"{what}." for what in ("backbone", "objective") if left[f"{what}.name"] != right[f"{what}.name"]
    )
    keys = [k for k in {**left, **right} if (k in left and k in right) or not k.startswith(others)]
    found = [(key, *(side.get(key, "default") for side in (left, right))) for key in keys]
    return [f"{key} ({ours} | {theirs})" for key, ours, theirs in found if ours != theirs]


def _summary(pair: Pair, a: pd.DataFrame, b: pd.DataFrame) -> Table:
    """Each metric by region on average over the subsets; the first metric's mean over regions has a p."""
    metrics = [metric for metric in metrics_of(a) if metric in metrics_of(b)]
    compared = [_compared(pair, a, b, metric) for metric in metrics]
    first = compared[0][1]
    over = NETWORKS_ONLY if first.of_these_networks else "trainings and patients"
    few = "" if first.trainings >= LEAST else f"; no p with fewer than {LEAST} trainings a side"
    table = Table(
        "metric", "region", title="Average over the subsets", caption=f"intervals are over {over}{few}"
    )
    for head in ("patients", "A", "B", "B - A", "95 % interval", "p"):
        table.add_column(head, justify="right")
    for scores, effect, *sides in compared:
        for i, region in enumerate([*scores.regions, f"mean of {listed(scores.plain)}"]):
            primary = effect is first and i == len(scores.regions)
            low, high = (number(float(end[i])) for end in (effect.low, effect.high))
            table.add_row(
                scores.title,
                region,
                str(effect.patients[i]),
                *(number(float(side[i])) for side in (*sides, effect.mean)),
                f"[{low}, {high}]",
                p_value(float(effect.p[i]) if primary else float("nan")),
            )
        table.add_section()
    return table


def _compared(
    pair: Pair, a: pd.DataFrame, b: pd.DataFrame, metric: str
) -> tuple[Scores, Effect, Array, Array]:
    """A's scores, the differences by region and of their mean, and both sides' means of the same."""
    sides = [
        score(cases, Study("", "", "", "", tuple(replace(run, method="") for run in runs)), metric)
        for cases, runs in ((a, pair.a), (b, pair.b))
    ]
    common = [name for name in sides[0].patients if name in sides[1].patients]
    parts = []
    for side in sides:
        trainings = side.trainings(side.of_regions(side.regions))[""]
        rows = [side.patients.index(name) for name in common]
        parts.append(Trainings(trainings.keys, trainings.values[:, rows]))
    return sides[0], difference(parts[1], parts[0]), mean(parts[0]).mean, mean(parts[1]).mean


def _extremes(rows: pd.DataFrame) -> list[Table]:
    """The rows of each metric with the largest gains and losses, the largest first."""
    metrics = [metric for metric in METRICS if (rows["metric"] == metric).any()]
    return [_of_metric(rows[rows["metric"] == metric], metric) for metric in metrics]


def _of_metric(rows: pd.DataFrame, metric: str) -> Table:
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
        values = metric_scale(metric) * part[["a", "b", "difference"]].to_numpy(float)
        for words, numbers in zip(names, values, strict=True):
            table.add_row(kind, *words, *map(number, numbers))
        table.add_section()
    return table


def _write(rows: pd.DataFrame, out: Path) -> None:
    columns = ["method", *KEYS, "a", "b", "difference"]
    try:
        out.write_text(csv_text(columns, rows[columns].itertuples(index=False)), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another file") from None
