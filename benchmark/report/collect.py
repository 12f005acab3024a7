"""From a grid's run folders to one tidy frame of all cases, with the conditions of every run.

collected = collect(Path("runs/demo"))
collected.cases             # a row per run, case, subset, region and metric
collected.runs              # every run, finished or not, and why not
collected.studies()         # what goes into one table: the finished runs of a dataset and profile
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from bench_errors import InputError
from benchmark.record import STATES, RunFolder, run_folders
from benchmark.report.names import method_order, method_titles
from datasets.vocabulary import Description, subset_name, table_subsets

COLUMNS = ["case", "subset", "region", "metric", "policy", "value"]


@dataclass(frozen=True)
class Run:
    """One run folder as read.

    Attributes:
        folder: its name.
        state: `done`, `running`, `failed` or `partial`.
        reason: why it failed; empty otherwise.
        content: of `config.yaml`.
        environment: of `environment.json`; empty before the run began.
        log: the lines of `log.jsonl`.
        method: what the tables call it; empty for a run that is not done.
    """

    folder: str
    state: str
    reason: str
    content: dict[str, Any]
    environment: dict[str, Any]
    log: tuple[dict[str, Any], ...]
    method: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration."""
        return dict(self.content["config"])

    @property
    def fold(self) -> str:
        """The fold of a cross-validation that it was tested on, such as `fold0of5`; empty without one."""
        split = str(self.config.get("split", ""))
        return split if split.startswith("fold") else ""

    @property
    def commit(self) -> str:
        """The commit it ran at, marked where the code had been changed since."""
        commit = self.environment.get("commit") or "unknown"
        return f"{commit} (modified)" if self.environment.get("dirty") else commit

    @property
    def hardware(self) -> str:
        """What it ran on: the GPU, or the processor's name."""
        device = self.environment.get("device", "unknown")
        return str(self.environment.get("cpu") or device) if device == "cpu" else str(device)


@dataclass(frozen=True)
class Study:
    """The finished runs of one dataset and profile, in the order of the tables' rows."""

    dataset: str
    profile: str
    runs: tuple[Run, ...]

    @property
    def description(self) -> Description:
        """What the runs' `config.yaml` say of the dataset."""
        return Description.from_dict(self.runs[0].content["dataset"])

    @property
    def methods(self) -> list[str]:
        """Titles of the methods, each once."""
        return list(dict.fromkeys(run.method for run in self.runs))

    @property
    def name(self) -> str:
        """A name for files, such as ``phantom-mr2468``."""
        if not self.profile.startswith("csv:"):
            return f"{self.dataset}-{self.profile}"
        table = self.runs[0].content["data"]["availability"]["hash"]
        return f"{self.dataset}-csv-{table}"


@dataclass(frozen=True)
class Collected:
    """All that is on disk of a grid.

    Attributes:
        grid: its name.
        runs: in the order of their folders' names.
        cases: of the finished runs; columns run (folder name), dataset, profile, method, seed, and those of
            `cases.csv`: case, subset, region, metric, policy, value (Dice in 0..1, HD95 in mm).
    """

    grid: str
    runs: tuple[Run, ...]
    cases: pd.DataFrame

    def studies(self) -> list[Study]:
        """The finished runs, one group per dataset and profile."""
        return _studies([run for run in self.runs if run.state == "done"])


def collect(grid_folder: Path) -> Collected:
    """Read every run folder of a grid.

    Raises `InputError` if there is no finished run, if one is damaged or lacks rows, and if runs that would
    stand in one table differ in metric policy, data or availability table.
    """
    grid = grid_folder.name
    runs = [_read_run(folder) for folder in run_folders(grid_folder)]
    if not runs:
        raise InputError(
            f"no runs at {grid_folder}: start them with 'bench run --grid {grid}', or say with --runs where "
            "they are"
        )
    states = [run.state for run in runs]
    if "done" not in states:
        found = ", ".join(f"{states.count(s)} {s}" for s in STATES if s in states)
        raise InputError(
            f"no finished run at {grid_folder} ({found}): go on with 'bench run --grid {grid}'; "
            f"'bench status --grid {grid}' says why"
        )
    titled: dict[str, Run] = {}
    for study in _studies([run for run in runs if run.state == "done"]):
        _check_comparable(study)
        titles = method_titles([run.config for run in study.runs])
        titled |= {r.folder: replace(r, method=t) for r, t in zip(study.runs, titles, strict=True)}
    cases = pd.concat([_read_cases(grid_folder, run) for run in titled.values()], ignore_index=True)
    return Collected(grid, tuple(titled.get(run.folder, run) for run in runs), cases)


def _studies(done: Sequence[Run]) -> list[Study]:
    grouped: dict[tuple[str, str], list[Run]] = {}
    for run in done:
        grouped.setdefault((run.config["dataset"], run.config["profile"]), []).append(run)
    return [
        Study(*key, tuple(sorted(runs, key=lambda r: (method_order(r.config), r.config["seed"]))))
        for key, runs in grouped.items()
    ]


def _read_run(folder: RunFolder) -> Run:
    environment = folder.path / "environment.json"
    try:
        return Run(
            folder=folder.path.name,
            state=folder.state(),
            reason=folder.reason(),
            content=folder.config(),
            environment=json.loads(environment.read_text()) if environment.exists() else {},
            log=tuple(folder.log()),
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"{folder.path} is damaged ({' '.join(str(error).split())}): remove the folder and run it again"
        ) from None


def _read_cases(grid_folder: Path, run: Run) -> pd.DataFrame:
    path = grid_folder / run.folder / "cases.csv"
    advice = "remove the run's folder and run it again"
    try:
        rows = pd.read_csv(path, dtype={"case": str})
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}): {advice}") from None
    if list(rows.columns) != COLUMNS or not pd.api.types.is_numeric_dtype(rows["value"]):
        raise InputError(
            f"{path}: expected the columns {', '.join(COLUMNS)} and numbers in the last: {advice}"
        )
    expected = run.content["data"]["cases"]["test"]
    if rows["case"].nunique() != expected:
        raise InputError(f"{path} has {rows['case'].nunique()} cases, expected {expected}: {advice}")
    description = Description.from_dict(run.content["dataset"])
    subsets = {subset_name(s, description.modalities) for s in table_subsets(description)}
    if strange := sorted(set(rows["subset"].astype(str)) - subsets):
        raise InputError(f"{path}: unknown subset {strange[0]}: {advice}")
    regions = {region.name for region in description.regions}
    if set(rows["region"]) != regions:
        raise InputError(f"{path} has not the regions {', '.join(sorted(regions))}: {advice}")
    conditions = {
        "run": run.folder,
        "dataset": run.config["dataset"],
        "profile": run.config["profile"],
        "method": run.method,
        "seed": run.config["seed"],
    }
    return pd.concat([pd.DataFrame(conditions, index=rows.index), rows], axis=1)


def _check_comparable(study: Study) -> None:
    same_fold = [run for run in study.runs if run.fold == study.runs[0].fold]
    for what, path, runs in (
        ("metric policy", ("metrics", "policy"), study.runs),
        ("data hash", ("data", "hash"), study.runs),
        ("availability table", ("data", "availability", "hash"), same_fold),
    ):
        found: dict[str, list[str]] = {}
        for run in runs:
            value: Any = run.content
            for key in path:
                value = value[key]
            found.setdefault(str(value), []).append(run.folder)
        if len(found) > 1:
            parts = "; ".join(f"{value} in {', '.join(folders)}" for value, folders in found.items())
            raise InputError(
                f"runs on {study.dataset} under {study.profile} differ in their {what} ({parts}): they "
                "cannot be in one table, move one kind to another folder"
            )
