"""From the run folders of one or several grids to one tidy frame of all cases, with every run's conditions.

collected = collect([Path("runs/rivals"), Path("runs/ablation")])
collected.cases             # a row per run, case, subset, region and metric
collected.runs              # every run, finished or not, and why not
collected.studies()         # what goes into one table: the finished runs of a dataset and profile
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench_errors import InputError
from bench_registry import unknown
from benchmark.config.editions import current_layout
from benchmark.report.data.case_scores import case_frame
from benchmark.report.data.names import is_dedicated, method_order, method_titles
from benchmark.report.data.runs import Run, Study, guarded
from benchmark.report.data.scores import training
from benchmark.run_folder.folder import STATES, RunFolder, run_folders
from datasets.vocabulary import profile_label

NAMED = 3
"""How many run folders an error names of each kind."""


Point = tuple[str, str]
"""A run of a grid: the names of its run folder and of its test."""
Wanted = Mapping[str, Collection[Point]]

SPLITS: dict[str, tuple[str, Callable[[Run], str]]] = {
    "policy": ("metric policy", lambda run: run.metric_policy),
    "data": ("data hash", lambda run: str(run.content["data"]["hash"])),
    "availability": ("availability table", lambda run: str(run.content["data"]["availability"]["hash"])),
}
"""What runs in one table may not differ in, unless they are split by it: name -> title, value of a run."""
SAME: dict[str, tuple[str, Callable[[Run], str]]] = {
    **SPLITS,
    "split": ("split", lambda run: str(run.content.get("identity", {}).get("split", ""))),
    "description": ("description of the study", lambda run: str(run.config.get("description", ""))),
    "backbone": ("source of the backbone", lambda run: _source(run, "backbone")),
    "objective": ("source of the objective", lambda run: _source(run, "objective")),
    "pretraining": ("source of the pretraining", lambda run: _source(run, "pretraining")),
    "trained": ("training data", lambda run: str(_evaluated(run).get("trained", {}).get("data", ""))),
    "tested": ("availability table of the test", lambda run: str(_evaluated(run).get("availability", ""))),
    "training": ("hash of the training", lambda run: _training_hash(run)),
}
"""The same, and what they may not differ in at all; runs that do not say differ from none."""


@dataclass(frozen=True)
class Collected:
    """All that is on disk of one or several grids.

    Attributes:
        grids: their names.
        runs: in the order of the grids and of their folders' names.
        repeated: runs left out because a training counts once: a grid before has the same run, another test
            has all of its metrics, or the run of before edition 2 was done again.
        others: runs left out because their grid does not have them any more.
        cases: of the finished runs, as `case_frame` returns them.
    """

    grids: tuple[str, ...]
    runs: tuple[Run, ...]
    repeated: tuple[Run, ...]
    others: tuple[Run, ...]
    cases: pd.DataFrame

    def studies(self) -> list[Study]:
        """The finished runs, one group per dataset and profile (and variant, where split)."""
        return _studies(joined([run for run in self.runs if run.state == "done"]))


def collect(
    grid_folders: Sequence[Path],
    split_by: Sequence[str] = (),
    wanted: Wanted | None = None,
) -> Collected:
    """Read every run folder of the grids.

    Args:
        grid_folders: one folder per grid.
        split_by: names out of `SPLITS`: runs that differ in it are told apart instead of refused.
        wanted: the runs of some grids, by the name of their folder; the others of such a grid are left out
            and named. Tests of other data belong to their training; folders of before edition 2 and
            imported weights are taken.

    Raises `InputError` for an unknown name in `split_by`, a folder without runs, if no run is finished, if
    one is damaged or lacks rows, and if runs that would stand in one table differ in metric policy, data or
    availability table.
    """
    for name in split_by:
        if name not in SPLITS:
            raise InputError(f"--split-by: {unknown('condition', name, list(SPLITS))}")
    every = [run for folder in grid_folders for run in _read_grid(folder)]
    ours = [run for run in every if _is_wanted(run, (wanted or {}).get(run.grid))]
    runs, repeated = _without_repeats(ours)

    done = [run for run in runs if run.state == "done"]
    if not done:
        states = [run.state for run in runs]
        counts = ", ".join(f"{states.count(s)} {s}" for s in STATES if s in states)
        others = f", {len(every) - len(ours)} that the grid does not have" if len(every) > len(ours) else ""
        advice = "; the --set of 'bench run', or --all, takes those that the grid does not have"
        raise InputError(
            f"no finished run at {', '.join(map(str, grid_folders))} ({counts or 'none'}{others}): "
            "go on with 'bench run', given the grid's name or file; 'bench status' says why"
            + advice
            * bool(others)
        )
    titled = _titled(_split(done, split_by))
    for study in _studies(titled):
        check_comparable(study)
    done, again = once(titled)
    known = {run.folder: run for run in done}
    left_out = {run.folder for run in again}
    return Collected(
        tuple(folder.name for folder in grid_folders),
        tuple(known.get(run.folder, run) for run in runs if run.folder not in left_out),
        (*repeated, *again),
        tuple(run for run in every if not _is_wanted(run, (wanted or {}).get(run.grid))),
        case_frame(joined(done)),
    )


def _read_grid(folder: Path) -> list[Run]:
    runs = [run for path in run_folders(folder) for run in read_runs(path)]
    runs = [run for run in runs if run.test or run.state != "done"]  # of a pre-training nothing is tested
    if not runs:
        raise InputError(
            f"no runs at {folder}: start them with 'bench run', given the grid's name or file, or say with "
            "--runs where they are"
        )
    return runs


def _without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Tell the runs that an earlier grid has too from the others; a finished one goes before the rest."""
    kept: dict[tuple[Point, str], Run] = {}
    for run in sorted(runs, key=lambda run: run.state != "done"):
        kept.setdefault((_point(run), _training_hash(run)), run)
    first = [run for run in runs if kept[_point(run), _training_hash(run)] is run]
    called, points = Counter(run.folder for run in first), Counter(map(_point, first))

    def name(run: Run) -> str:
        """Two grids may have other tests of a run, one each, or another training by that name."""
        grid = (run.grid,) if points[_point(run)] > 1 else ()
        return "/".join((*grid, *_point(run))) if called[run.folder] > 1 else run.folder

    named = [replace(run, folder=name(run)) for run in first]
    return named, [run for run in runs if kept[_point(run), _training_hash(run)] is not run]


def _point(run: Run) -> Point:
    """What a run is called whatever tests its folder has; `Run.folder` names the test only among several."""
    return run.path.name, run.test.name if run.test else ""


def _split(done: Sequence[Run], split_by: Sequence[str]) -> list[Run]:
    """Name each run's variant: its value of whatever it is split by, where runs differ in that."""
    variants: dict[str, list[str]] = {run.folder: [] for run in done}
    for name in split_by:
        value = SPLITS[name][1]
        keys = ("dataset", "profile") if name == "availability" else ("dataset",)
        groups = {run.folder: tuple(run.config[key] for key in keys) for run in done}
        found: dict[tuple[str, ...], set[str]] = {}
        for run in done:
            found.setdefault(groups[run.folder], set()).add(value(run))
        for run in done:
            if len(found[groups[run.folder]]) > 1:
                variants[run.folder].append(f"{name} {value(run)}")
    return [replace(run, variant=", ".join(variants[run.folder])) for run in done]


def _titled(done: Sequence[Run]) -> list[Run]:
    """Give each run its method's title, the same in all tables of a dataset."""
    titled = []
    for dataset in dict.fromkeys(run.config["dataset"] for run in done):
        runs = [run for run in done if run.config["dataset"] == dataset]
        titles = method_titles([run.method_config for run in runs])
        titled += [replace(run, method=title) for run, title in zip(runs, titles, strict=True)]
    return titled


def once(done: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Keep one test of each training of a method, and return the others too: each would count as a training.

    The test of most metrics is kept, and of a run done again since edition 2 the new one; `check_comparable`
    has seen that others are the same training, tested on the same. Raises `InputError` where another test has
    a metric that it lacks.
    """
    kept: dict[object, Run] = {}
    for run in sorted(done, key=lambda run: (run.is_old, -len(_metrics(run)))):
        about = (run.config["dataset"], run.config["profile"], run.variant, run.method)
        best = kept.setdefault((*about, run.config["train"].get("subset"), training(run)), run)
        if not run.is_old and (lacking := _metrics(run) - _metrics(best)):
            raise InputError(
                f"{best.folder} and {run.folder} are tests of one training, and the second alone has "
                f"{', '.join(sorted(lacking))}: give one test all metrics, or move one of the two elsewhere"
            )
    names = {run.folder for run in kept.values()}
    return [run for run in done if run.folder in names], [run for run in done if run.folder not in names]


def _metrics(run: Run) -> set[str]:
    return set(run.config["test"].get("metrics", ()))


def joined(done: Sequence[Run]) -> list[Run]:
    """Make one row of the networks that are dedicated to the subsets and alike in all else.

    Each has one test, as `once` keeps them; its name need not be that of the others.
    """
    rows: dict[tuple[str, ...], list[Run]] = {}
    for run in done:
        alike = [str(run.config.get(key)) for key in ("dataset", "profile", "seed", "table_seed", "split")]
        key = (*alike, run.variant, run.method) if is_dedicated(run.config) else (run.folder,)
        rows.setdefault(key, []).append(run)
    return [replace(runs[0], parts=tuple(runs)) if len(key) > 1 else runs[0] for key, runs in rows.items()]


def _studies(done: Sequence[Run]) -> list[Study]:
    grouped: dict[tuple[str, str, str], list[Run]] = {}
    for run in done:
        key = (run.config["dataset"], run.config["profile"], run.variant)
        grouped.setdefault(key, []).append(run)
    datasets = list(dict.fromkeys(dataset for dataset, *_ in grouped))
    profiles = {(dataset, profile) for dataset, profile, _ in grouped}
    called = Counter((dataset, profile_label(profile)) for dataset, profile in profiles)
    studies = []
    for key, runs in sorted(grouped.items(), key=lambda item: (datasets.index(item[0][0]), item[0])):
        dataset, profile, _ = key
        label = profile_label(profile)
        if called[dataset, label] > 1:
            label = profile
        ordered = sorted(
            runs, key=lambda r: (method_order(r.config), r.config["seed"], r.config["table_seed"])
        )
        studies.append(Study(*key, label, tuple(ordered)))
    return studies


def _is_wanted(run: Run, points: Collection[Point] | None) -> bool:
    if points is None or run.is_old or "imported" in run.content:
        return True
    if run.test is None or "evaluated" in run.content:
        return any(run.path.name == folder for folder, _ in points)
    return (run.path.name, run.test.name) in points


def read_runs(folder: RunFolder) -> list[Run]:
    """Read what a run folder says of itself and of each of its tests, without the scores.

    Raises `InputError` where it is damaged.
    """

    def read() -> list[Run]:
        content, environments = folder.config(), tuple(folder.environments())
        content["config"] = current_layout(content["config"])
        model = _json(folder.path / "model.json")
        tests: dict[Path | None, dict[str, Any]] = {
            test.path: _of_test(content, test.settings()) for test in folder.tests()
        }
        if (folder.path / "cases.csv").exists() or not tests:
            old = folder.path if "identity" not in content else None
            tests = {old: content, **tests}
        return [
            _run(folder, test, len(tests) > 1, merged, environments, model) for test, merged in tests.items()
        ]

    return guarded(folder.path, read)


def _run(
    folder: RunFolder,
    test: Path | None,
    several: bool,
    content: dict[str, Any],
    environments: tuple[dict[str, Any], ...],
    model: dict[str, Any],
) -> Run:
    is_new = test is not None and test != folder.path
    state = folder.state(test.name if test and is_new else None)
    reason = folder.reason()
    if state == "partial":
        reason = _stopped(folder, content) if environments else "not begun"
    name = f"{folder.path.name}/{test.name}" if test and is_new and several else folder.path.name
    return Run(folder.path, test, name, state, reason, content, environments, model)


def _of_test(content: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The content of `config.yaml` with what a test's settings say of the test, such as its own data."""
    config = {**settings.get("config", {}), **content["config"], "test": settings["test"]}
    if "dataset" in settings:
        config["dataset"] = settings["dataset"]["name"]
    about: dict[str, Any] = {
        key: settings[key] for key in ("metrics", "dataset", "data", "evaluated") if key in settings
    }
    return {**content, "config": config, **about}


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _stopped(folder: RunFolder, content: dict[str, Any]) -> str:
    trained, epochs = len(folder.log()), content["config"]["train"].get("epochs", 0)  # of weights of others
    return f"stopped after {trained} of {epochs} epochs" if trained < epochs else "stopped in testing"


def check_comparable(study: Study) -> None:
    """Raise `InputError` where runs of one table differ in what they may not.

    Some of it may differ between folds, table seeds, plugins, tests of other data, or trainings.
    """
    within: dict[str, Callable[[Run], Any]] = {
        "availability": lambda run: (run.fold, run.config["table_seed"]),
        "split": lambda run: run.fold,
        "backbone": lambda run: run.config["backbone"]["name"],
        "objective": lambda run: run.config["objective"]["name"],
        "pretraining": lambda run: (run.config.get("pretrain") or {}).get("objective", {}).get("name"),
        "trained": lambda run: run.config["test"].get("evaluated"),
        "tested": lambda run: (run.config["test"].get("evaluated"), run.fold),
        "training": lambda run: (run.method, run.config["train"].get("subset"), training(run)),
    }
    for name, (what, value) in SAME.items():
        groups: dict[Any, dict[str, list[str]]] = {}
        for run in study.runs:
            if said := value(run):
                group = groups.setdefault(within[name](run) if name in within else None, {})
                group.setdefault(said, []).append(run.folder)
        for values in groups.values():
            if len(values) > 1:
                parts = "; ".join(f"{said} in {_named(folders)}" for said, folders in values.items())
                advice = "report one kind alone"
                if name in SPLITS:
                    advice = f"let bench report tell them apart with --split-by {name}"
                raise InputError(
                    f"runs on {study.dataset} under {study.profile} differ in their {what} ({parts}): they "
                    f"cannot be averaged, {advice} or move one kind elsewhere"
                )


def _source(run: Run, kind: str) -> str:
    """The hash of the file that a plugin's class stands in; empty for what is ours."""
    return str(run.content.get("plugins", {}).get(kind, {}).get("sha256", ""))


def _training_hash(run: Run) -> str:
    """The hash of its training, or of weights that were imported; empty where it is of before edition 2."""
    imported = run.content.get("imported", {}).get("sha256", "")
    return str(run.content.get("identity", {}).get("training", imported))


def _evaluated(run: Run) -> dict[str, Any]:
    """What the test says of its own data, if it is one of `bench evaluate`."""
    return dict(run.content.get("evaluated", {}))


def _named(folders: Sequence[str]) -> str:
    more = f" and {len(folders) - NAMED} more" if len(folders) > NAMED else ""
    return ", ".join(folders[:NAMED]) + more
