"""Studies whose trials cost nothing: a known optimum instead of a training; a helper of tests."""

import csv

import yaml
from recorded_runs import record

from benchmark.run_folder.folder import VALIDATED
from benchmark.run_folder.reasons import Pruned
from benchmark.tune.search import Place, begin, resume
from benchmark.tune.study_file import load_plan
from benchmark.tune.worker import work

CONTENT = {
    "space": {
        "objective.lambda1": {"low": 0.05, "high": 5.0, "log": True},
        "objective.lambda2": {"low": 0.01, "high": 1.0, "log": True},
        "objective.tau": {"low": 1, "high": 8},
    },
    "base": {"dataset": "phantom", "train": {"epochs": 4}},
    "validation": {"every": 1},
    "pruner": {"name": "median", "startup": 3},
}


def write_plan(folder, **changes):
    """Write a study file and return its path."""
    path = folder / "stub.yaml"
    content = {**CONTENT, **changes}
    if changes.get("goal") == "both" and "pruner" not in changes:
        del content["pruner"]
    path.write_text(yaml.safe_dump(content))
    return path


def made(folder, **changes):
    """Return the plan and place of a stub study."""
    name, plan = load_plan(str(write_plan(folder, **changes)))
    plan.check(name)
    return plan, Place(name, folder / "runs")


def quality(params):
    """Dice in 0..0.9, the highest at lambda1 = 0.5, lambda2 = 0.1, tau = 6."""
    return 0.9 - 0.05 * abs(params["objective.tau"] - 6) - 0.1 * abs(params["objective.lambda1"] - 0.5)


def stub_objective(plan, place, on_trial=lambda trial: None):
    """Return an objective that reports growing scores, and leaves a run folder with its validation."""

    def objective(trial):
        on_trial(trial)
        value = quality(trial.params)
        if len(plan.goals) == 1:
            for epoch in (1, 2, 3):
                trial.report(value * epoch / 4, epoch)
                if trial.should_prune():
                    raise Pruned
        folder = record(place.folder, "passion", options=dict(trial.params), state="partial")
        trial.set_user_attr("run", folder.path.name)
        with (folder.path / VALIDATED).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "subset", "region", "metric", "policy", "value"])
            for region in ("WT", "TC", "ET", "ETpp"):
                writer.writerow(["case 1", "flair", region, "dice", "passion", value])
        return [value] if len(plan.goals) == 1 else [value, trial.params["objective.lambda1"] / 5]

    return objective


def worked(folder, trials, on_trial=lambda trial: None, **changes):
    """Run a stub study in this process; return it with its plan and place."""
    plan, place = made(folder, **changes)
    begin(plan, place, "d474")
    study = resume(plan, place)
    work(study, plan, place, stub_objective(plan, place, on_trial), trials, None)
    return study, plan, place
