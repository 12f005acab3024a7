"""The scores of finished runs as one frame, each file checked to be whole: ``case_frame(runs)``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench_errors import InputError
from benchmark.report.data.names import is_dedicated
from benchmark.report.data.runs import Run
from benchmark.run_folder.case_rows import ADVICE, WORDS, read_frame
from datasets.vocabulary import Description, subset_name, table_subsets


def case_frame(done: Sequence[Run]) -> pd.DataFrame:
    """Return all rows of finished runs, one run after the other.

    The columns are run, grid, dataset, profile, variant, method, seed, table_seed and those of `cases.csv`:
    case, subset, region, metric, policy, value (Dice in 0..1, HD95 in mm). All but seeds and value are words.
    Words are categories and nothing is copied, or a thousand runs would not fit into the memory.
    """
    frames = [read_cases(run) for run in done]
    lengths = [len(frame) for frame in frames]
    columns: dict[str, Any] = {}
    values = {
        "run": [run.folder for run in done],
        "grid": [run.grid for run in done],
        "dataset": [run.config["dataset"] for run in done],
        "profile": [run.config["profile"] for run in done],
        "variant": [run.variant for run in done],
        "method": [run.method for run in done],
    }
    for name, words in values.items():
        columns[name] = pd.Categorical(words, categories=list(dict.fromkeys(words))).repeat(lengths)
    for name in ("seed", "table_seed"):
        columns[name] = np.repeat([run.config[name] for run in done], lengths)
    for name in WORDS:
        columns[name] = pd.api.types.union_categoricals([frame[name] for frame in frames])
    columns["value"] = np.concatenate([frame["value"] for frame in frames])
    return pd.DataFrame(columns, copy=False)


def read_cases(run: Run) -> pd.DataFrame:
    """Return the scores of a finished run, all columns but value as categories.

    Raises `InputError` if the file is damaged, lacks cases, subsets, regions or metrics, or has a row twice.
    """
    if run.parts:
        parts = [read_cases(part) for part in run.parts]
        words = {name: pd.api.types.union_categoricals([part[name] for part in parts]) for name in WORDS}
        values = pd.concat([part["value"] for part in parts], ignore_index=True)
        return pd.DataFrame({**words, "value": values.to_numpy()})
    if run.test is None:
        raise InputError(f"{run.path} has no test: run its grid, or bench evaluate")
    path = run.test / "cases.csv"
    rows = read_frame(path)
    expected = run.content["data"]["cases"]["test"]
    if (counted := len(rows["case"].cat.categories)) != expected:
        raise InputError(f"{path} has {counted} cases, expected {expected}: {ADVICE}")
    description = Description.from_dict(run.content["dataset"])
    subsets = {subset_name(s, description.modalities) for s in table_subsets(description)}
    if strange := sorted(set(rows["subset"].cat.categories) - subsets):
        raise InputError(f"{path}: unknown subset {strange[0]}: {ADVICE}")
    regions = {region.name for region in description.regions}
    if set(rows["region"].cat.categories) != regions:
        raise InputError(f"{path} has not the regions {', '.join(sorted(regions))}: {ADVICE}")
    declared = run.config["test"].get("metrics", ())  # of before edition 2 none are
    if lacking := [metric for metric in declared if metric not in rows["metric"].cat.categories]:
        raise InputError(f"{path} lacks the metric {', '.join(lacking)} of its test.yaml: {ADVICE}")
    _check_whole(rows, path, is_dedicated(run.config))
    return rows


def _check_whole(rows: pd.DataFrame, path: Path, dedicated: bool) -> None:
    """Raise `InputError` where a case lacks some of its subsets, or of one a region or metric.

    A case that lacks modalities has the subsets of the others.
    """
    names = {word: rows[word].cat.categories for word in ("case", "subset", "metric", "region")}
    at = tuple(rows[word].cat.codes.to_numpy() for word in ("case", "subset", "metric"))
    counts = np.zeros(tuple(len(names[word]) for word in ("case", "subset", "metric")), dtype=int)
    np.add.at(counts, at, 1)
    has = counts.sum(axis=2) > 0
    lacking = np.argwhere(has[..., None] & (counts != len(names["region"])))
    if len(lacking):
        case, subset, metric = lacking[0]
        where = f"case {names['case'][case]}, subset {names['subset'][subset]}, {names['metric'][metric]}"
        raise InputError(f"{path} lacks regions of {where}: {ADVICE}")
    singles = has[:, ["+" not in subset for subset in names["subset"]]].sum(axis=1)
    if not dedicated and (partial := np.flatnonzero(has.sum(axis=1) != 2**singles - 1)).size:
        raise InputError(f"{path} lacks subsets of case {names['case'][partial[0]]}: {ADVICE}")
