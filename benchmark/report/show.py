"""In the terminal: a run, ``show_run("phantom-rfnet-passion-mr2468-s1037-1a2b3c4d5e", Path("runs"))``, and
what a report begins with, ``print_answers(written.answers)``.

Of a run: what it is, where it stands, its conditions, the last values of its curves, and its scores by subset
and region. An unfinished run is shown as far as it came.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from bench_console import output
from benchmark.evaluation.metrics import METRICS
from benchmark.report.data.collect import read_runs
from benchmark.report.data.effects import mean
from benchmark.report.data.find import find_folder
from benchmark.report.data.names import method_titles, modality_title
from benchmark.report.data.runs import Run
from benchmark.report.data.scores import AVERAGE, metric_title
from benchmark.report.tables.captions import counted, rates
from benchmark.report.tables.contents import Answer
from benchmark.report.tables.render import ABSENT, DASH, PRESENT, number, p_value
from benchmark.run_folder.case_rows import read_frame
from datasets.vocabulary import Description, presence, subset_name, table_subsets

WIDTH = 160
"""Columns of the output where it is no terminal."""
MOST = 3
"""Studies whose answer is printed."""


def show_run(text: str, runs: Path) -> None:
    """Print all about one run; raise `InputError` where there is none or its folder is damaged."""
    tested = read_runs(find_folder(text, runs))
    run = tested[0]
    console = output(WIDTH)
    console.print(f"{method_titles([run.config])[0]}  ({run.path.name})", style="bold", soft_wrap=True)
    console.print(_state(run), soft_wrap=True)
    console.print(_pairs(_conditions(run)))
    log = run.log
    if log:
        _print_log(log, console)
    for run in tested:
        if run.test and (run.test / "cases.csv").exists():
            if len(tested) > 1:
                console.print(f"\n{run.folder}: {_state(run)}", style="bold", soft_wrap=True)
            _print_scores(run, run.test / "cases.csv", console)


def print_answers(answers: Sequence[Answer]) -> None:
    """Print the primary endpoint of each method, its gain over the baseline, and what is said of it."""
    console = output(WIDTH)
    for answer in answers[:MOST]:
        console.print(f"\n{answer.heading}", style="bold", soft_wrap=True)
        table = Table("method")
        for head in ("mean", "gain", "95 % interval", "p (Holm)", "trainings"):
            table.add_column(head, justify="right")
        scores, gains = answer.scores, {gain.method: gain for gain in answer.gains}
        for method, trainings in scores.trainings(scores.endpoint).items():
            own = mean(trainings)
            about = [DASH] * 3
            if gain := gains.get(method):
                value, low, high = map(number, gain.value())
                about = [value, f"[{low}, {high}]", p_value(gain.p)]
            table.add_row(method, number(float(own.mean[0])), *about, str(own.tables[0]))
        console.print(table)
        for sentence in answer.sentences:
            console.print(sentence, soft_wrap=True)
    if len(answers) > MOST:
        console.print(f"\nand of {counted(len(answers) - MOST, 'more profile')} in the report")
    console.print()


def _state(run: Run) -> str:
    reason = f": {run.reason}" if run.reason else ""
    return f"{run.state}{reason}"


def _conditions(run: Run) -> dict[str, str]:
    config, content = run.config, run.content
    parts = {
        key: ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
        for key, value in config.items()
    }
    found = {"grid": run.grid, **parts}
    if "metrics" in content:
        found["metrics"] = run.metric_text
    if data := content.get("data"):
        cases = ", ".join(f"{n} {part}" for part, n in data["cases"].items())
        found["data"] = f"{data['hash']}: {cases}"
        found["availability"] = f"{data['availability']['hash']}: {rates(content)}"
    if run.model:
        millions = run.model["parameters"] / 1e6
        found["network"] = f"{millions:.2f} M parameters, {run.model['gflops']:.1f} GFLOPs a crop"
    if run.environments:
        first = run.environments[0]
        versions = (f"{name} {first[name]}" for name in ("version", "python", "torch") if name in first)
        found["code"] = ", ".join([f"commit {run.commit}", *versions])
        found["ran on"] = f"{run.hardware}, {run.precision}"
    return found


def _pairs(values: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(key, value)
    return table


def _print_log(log: list[dict[str, Any]], console: Console) -> None:
    last = log[-1]
    seconds = sum(line["timing"]["seconds"] for line in log)
    losses = ", ".join(f"{name} {value:.4g}" for name, value in last["loss"].items())
    console.print(f"\nlast of {counted(len(log), 'epoch')} ({seconds / 60:.1f} minutes): {losses}")
    modalities = last.get("modality", {})
    terms = list(dict.fromkeys(term for values in modalities.values() for term in values))
    if terms:
        table = Table("modality", *terms)
        for modality, values in modalities.items():
            cells = [f"{values[term]:.4g}" if term in values else DASH for term in terms]
            table.add_row(modality_title(modality), *cells)
        console.print(table)


def _print_scores(run: Run, path: Path, console: Console) -> None:
    rows = read_frame(path)
    description = Description.from_dict(run.content["dataset"])
    metrics = [metric for metric in METRICS if (rows["metric"] == metric).any()]
    regions = [region.name for region in description.regions]
    columns = [(metric, region) for metric in metrics for region in regions]
    means = rows.groupby(["subset", "metric", "region"], observed=True)["value"].mean()
    names = [subset_name(s, description.modalities) for s in table_subsets(description)]
    wide = pd.DataFrame(
        {column: [means.get((name, *column), float("nan")) for name in names] for column in columns}, names
    )
    wide.loc[AVERAGE] = wide.mean(skipna=False)
    tested, expected = rows["case"].nunique(), run.content.get("data", {}).get("cases", {}).get("test")
    so_far = f" of {expected} so far" if expected and tested < expected else ""
    titles = ", ".join(map(metric_title, metrics))
    console.print(f"\n{titles}, mean over {counted(tested, 'test case')}{so_far}")
    table = Table(*map(modality_title, description.modalities))
    for metric, region in columns:
        table.add_column(f"{METRICS[metric].title}\n{region}", justify="right")
    for subset, name in zip([*table_subsets(description), None], wide.index, strict=True):
        if subset is None:
            dots = ["Average", *[""] * (len(description.modalities) - 1)]
            table.add_section()
        else:
            dots = [PRESENT if on else ABSENT for on in presence(subset, description.modalities)]
        values = [
            number(value if METRICS[metric].unit else 100 * value)
            for (metric, _), value in wide.loc[name].items()
        ]
        table.add_row(*dots, *values)
    console.print(table)
