"""Studies whose trials cost nothing: a known optimum instead of a training; a helper of tests."""

import csv

import yaml
from recorded_runs import record

from benchmark.run_folder.folder import VALIDATED
from benchmark.run_folder.reasons import Pruned
from benchmark.tune.search import Place, begin, resume
from benchmark.tune.study_file import load_search
from benchmark.tune.worker import work
from datasets.studies.brats import PHANTOM

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
    """Return the search and place of a stub study."""
    name, search = load_search(str(write_plan(folder, **changes)))
    search.check(name)
    return search, Place(name, folder / "runs")


def quality(params):
    """Dice in 0..0.9, the highest at lambda1 = 0.5, lambda2 = 0.1, tau = 6."""
    return 0.9 - 0.05 * abs(params["objective.tau"] - 6) - 0.1 * abs(params["objective.lambda1"] - 0.5)


def stub_objective(search, place, on_trial=lambda trial: None):
    """Return an objective that reports growing scores, and leaves a run folder with its validation."""

    def objective(trial):
        on_trial(trial)
        value = quality(trial.params)
        if len(search.goals) == 1:
            for epoch in (1, 2, 3):
                trial.report(value * epoch / 4, epoch)
                if trial.should_prune():
                    raise Pruned
        folder = record(place.folder, "passion", options=dict(trial.params), state="partial")
        trial.set_user_attr("run", folder.path.name)
        with (folder.path / VALIDATED).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "subset", "region", "metric", "policy", "value"])
            for region in PHANTOM.plain_regions:  # as validation writes them
                writer.writerow(["case 1", "flair", region, "dice", "passion", value])
        return [value] if len(search.goals) == 1 else [value, trial.params["objective.lambda1"] / 5]

    return objective


def worked(folder, trials, on_trial=lambda trial: None, **changes):
    """Run a stub study in this process; return it with its search and place."""
    search, place = made(folder, **changes)
    begin(search, place, "d474")
    study = resume(search, place)
    work(study, search, place, stub_objective(search, place, on_trial), trials, None)
    return study, search, place
