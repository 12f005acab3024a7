"""What W&B gets at the end of a run, from its folder: ``summary(folder)``, ``media(folder)``.

Means as `test/WT/flair+t1ce/dice`, a table of all cases, slices of the worst, median and best case, and who
lacked what in training. A trial, which is not tested, has `validation/...` in place of `test/...`.
"""

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from benchmark.evaluation.example_slices import ROLES
from benchmark.evaluation.metrics import METRICS
from benchmark.run_folder.case_rows import read_rows
from benchmark.run_folder.folder import VALIDATED, RunFolder
from datasets.vocabulary import Description

DPI = 200
KEY = ["case", "subset"]
AVAILABILITY = "availability.csv"


def summary(folder: Path) -> dict[str, float]:
    """Return the mean over the cases as ``{"test/WT/flair+t1ce/dice": 0.8, ...}``.

    `average` in the place of a subset is the mean over all subsets, as in the tables. Dice in 0..1, HD95 in
    mm; a mean without a value is left out. A trial has the values of its study's goals too, `goal/mean Dice`.
    """
    goals = {f"goal/{name}": value for name, value in RunFolder(folder).trial().get("goals", {}).items()}
    return {**goals, **{name: value for part, rows in _parts(folder) for name, value in _means(part, rows)}}


def media(folder: Path) -> dict[str, Any]:
    """Return W&B's tables and images by name."""
    import wandb

    found: dict[str, Any] = {f"{part}/cases": _case_table(rows) for part, rows in _parts(folder)}
    for role, (picture, caption) in _slices(folder).items():
        found[f"examples/{role}"] = wandb.Image(picture, caption=caption)
    if (folder / AVAILABILITY).exists():
        table = pd.read_csv(folder / AVAILABILITY, dtype=str, keep_default_na=False)
        found["availability/table"] = wandb.Table(dataframe=table)
        found["availability/matrix"] = wandb.Image(_matrix(folder))
    return found


def _parts(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The scores of the tests and of the validation, where there are such; of several tests, each by name."""
    tests = [test for test in RunFolder(folder).tests() if test.done]
    for test in tests:
        yield "test" if len(tests) == 1 else f"test-{test.path.name}", pd.DataFrame(read_rows(test.cases))
    if rows := read_rows(folder / VALIDATED):
        yield "validation", pd.DataFrame(rows)


def _means(part: str, rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    means = rows.groupby(["region", "subset", "metric"], sort=False)["value"].mean()
    averages = means.groupby(["region", "metric"], sort=False).agg(lambda of: of.mean(skipna=False))
    whole = pd.concat([means.reset_index(), averages.reset_index().assign(subset="average")])
    names = f"{part}/" + whole["region"] + "/" + whole["subset"] + "/" + whole["metric"]
    return ((n, float(v)) for n, v in zip(names, whole["value"], strict=True) if not math.isnan(v))


def _case_table(rows: pd.DataFrame) -> Any:
    """A row per case and subset, a column per region and metric: a tenth of W&B's limit of 10000 rows.

    One row per value would pass that limit with 84 cases of BraTS, and W&B cuts off what is beyond.
    """
    import wandb

    columns = rows["region"] + " " + rows["metric"].map(lambda name: METRICS[name].title)
    wide = rows.assign(column=columns).pivot(index=KEY, columns="column", values="value")
    wide = wide.reindex(index=pd.MultiIndex.from_frame(rows[KEY].drop_duplicates()))
    wide = wide[list(dict.fromkeys(columns))].reset_index()
    values = wide.astype(object).where(wide.notna(), None)
    wandb.Table.MAX_ROWS = max(wandb.Table.MAX_ROWS, len(values))
    return wandb.Table(columns=list(values.columns), data=values.to_numpy())


def _slices(folder: Path) -> dict[str, tuple[Image.Image, str]]:
    """A picture and its caption by role: label, then the predictions for subsets that grow to the whole."""
    from benchmark.report.data.case_scores import case_frame
    from benchmark.report.data.collect import read_runs
    from benchmark.report.data.runs import Study
    from benchmark.report.data.scores import score
    from benchmark.report.figures.panel import PanelRow, panel
    from benchmark.report.figures.pictures import dice_by_subset

    run = read_runs(RunFolder(folder))[0]
    examples = run.examples
    if not examples:
        return {}
    dataset, profile = run.config["dataset"], run.config["profile"]
    study = Study(dataset, profile, "", profile, (run,))
    scores = score(case_frame([run]), study, "dice")
    pictures = {}
    for example in examples:
        dice = dice_by_subset(scores, run, example)
        for role in example.roles:
            if role != ROLES[0]:
                figure = panel([PanelRow(role, example, dice)], study)
                pictures[role] = _drawn(figure), f"{role} case by mean Dice: {example.case}"
    return pictures


def _matrix(folder: Path) -> Image.Image:
    """The picture of who lacked what in training."""
    from benchmark.report.figures.availability import table_figure
    from datasets.missingness.availability import read_csv

    content = RunFolder(folder).config()
    description = Description.from_dict(content["dataset"])
    conditions = content["data"]["availability"]
    table = read_csv(folder / AVAILABILITY, description)
    named = replace(table, profile=conditions["profile"], nominal=conditions["nominal"])
    return _drawn(table_figure(named, description))


def _drawn(figure: Any) -> Image.Image:
    from matplotlib import rc_context

    from benchmark.report.figures.style import STYLE

    content = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(content, format="png", dpi=DPI)
    return Image.open(content)
