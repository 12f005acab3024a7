"""What came of a study, as files in its folder `outcome`: ``write_outcome(study, search, place)``.

`best.yaml` is for ``bench run --params``; `trials.csv` has every trial, `importances.csv` how much each
parameter matters; `tables/` and `figures/` are as in a report, and `tuning.html` is all of it as a page that
needs no network. Trials are validated, never tested: nothing here knows the test cases.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from optuna.trial import FrozenTrial, TrialState

from bench_errors import InputError
from benchmark.report.figures.style import save
from benchmark.report.tables.csv_text import csv_text
from benchmark.report.tables.render import html, latex, markdown, wide_csv
from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.folder import RunFolder
from benchmark.tune.plots import draw, with_tooltips
from benchmark.tune.search import Place, queued_again
from benchmark.tune.study_file import Search
from benchmark.tune.tables import read_validated, value_tables
from benchmark.tune.view import STATES, clock, pruned_at, remark, seconds, shown, summary

FOLDER = "outcome"


def write_outcome(study: optuna.Study, search: Search, place: Place) -> list[Path]:
    """Write what has come of a study so far; return the files, the page first.

    Raises `InputError` where the folder cannot be written.
    """
    out = place.folder / FOLDER
    try:
        for folder in (out / "tables", out / "figures"):
            folder.mkdir(parents=True, exist_ok=True)
        return _write(study, search, place, out)
    except OSError as error:
        raise InputError(
            f"{error.filename or out} cannot be written ({error.strerror}): make room, or choose "
            "another place with --runs"
        ) from None


def _write(study: optuna.Study, search: Search, place: Place, out: Path) -> list[Path]:
    trials = study.get_trials(deepcopy=False)
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    validated = read_validated(place, complete)
    importances = {goal: importance(study, search, i) for i, goal in enumerate(search.goals)}
    texts = {"trials.csv": _trials_csv(search, trials, {t.number for t in _best(study)}, validated.regions)}
    texts |= _parameter_files(study, search, place)
    texts["importances.csv"] = csv_text(
        ["goal", "parameter", "importance"],
        [[goal, key, repr(value)] for goal, found in importances.items() for key, value in found.items()],
    )
    tables = value_tables(search, validated, complete) if complete else []
    for table in tables:
        for kind, render in (("md", markdown), ("tex", latex), ("csv", wide_csv), ("html", html)):
            texts[f"tables/{table.name}.{kind}"] = render(table)
    figures = draw(search, trials, importances)
    written = []
    svgs = {}
    for stem, figure in figures.items():
        png, svg = save(figure, out / "figures" / stem, ("png", "svg"))
        svgs[stem] = with_tooltips(svg.read_text(encoding="utf-8"), search, complete)
        svg.unlink()
        written.append(png)
    texts["tuning.html"] = _page(study, search, place, trials, importances, tables, svgs)
    for name, text in texts.items():
        write_atomically(out / name, text.encode())
        written.append(out / name)
    return sorted(written, key=lambda path: (path.name != "tuning.html", path))


def importance(study: optuna.Study, search: Search, goal: int) -> dict[str, float]:
    """Return how much each parameter matters for a goal, in shares, largest first (PED-ANOVA).

    It compares where the better trials lie with where all lie. Empty where there is nothing to compare: fewer
    than four complete trials, or all of one value.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 4 or len({t.values[goal] for t in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
            target=lambda trial: -float(trial.values[goal]),  # the better ones of a target are the lower ones
        )
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _best(study: optuna.Study) -> list[FrozenTrial]:
    """The best trials, that with the highest first value first; none before one is complete."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return sorted(study.best_trials, key=lambda trial: (-trial.values[0], trial.number))


def _parameter_files(study: optuna.Study, search: Search, place: Place) -> dict[str, str]:
    """`best.yaml`, and with two goals `best-<number>.yaml` for the others that are not beaten in both."""
    files = {}
    for i, trial in enumerate(_best(study)):
        values = ", ".join(f"{g} {v:.4f}" for g, v in zip(search.goals, trial.values, strict=True))
        content = {
            "study": place.name,
            "params": dict(trial.params),
            "base": search.base,
            **({"data": search.data} if search.data else {}),
        }
        head = f"# Trial {trial.number} of study {place.name}: {values} on the validation cases.\n"
        head += "# Test it with: bench run --params FILE\n"
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        files["best.yaml" if i == 0 else f"best-{trial.number}.yaml"] = head + text
        if len(search.goals) == 1:
            break
    return files


def _trials_csv(
    search: Search, trials: Sequence[FrozenTrial], best: set[int], regions: dict[int, dict[str, float]]
) -> str:
    """Every trial with its parameters, values, Dice by region, and where it ran."""
    again = queued_again(list(trials))
    names = list(dict.fromkeys(name for means in regions.values() for name in means))
    head = ["trial", "state", *search.space, *search.goals, *(f"Dice {name}" for name in names)]
    rows = []
    for trial in trials:
        values = trial.values if trial.state == TrialState.COMPLETE else [None] * len(search.goals)
        own = regions.get(trial.number, {})
        pruned = trial.state == TrialState.PRUNED
        rows.append(
            [
                trial.number,
                STATES[trial.state],
                *(trial.params.get(key) for key in search.space),
                *values,
                *(own.get(name) for name in names),
                trial.last_step if pruned else None,
                trial.intermediate_values[trial.last_step] if pruned and trial.last_step else None,
                trial.number in best,
                round(seconds(trial), 1) if trial.datetime_start else None,
                trial.user_attrs.get("run"),
                trial.user_attrs.get("worker"),
                remark(trial, again),
            ]
        )
    tail = ["pruned at epoch", "pruned at value", "best", "seconds", "run", "worker", "remark"]
    return csv_text([*head, *tail], rows)


def _page(
    study: optuna.Study,
    search: Search,
    place: Place,
    trials: Sequence[FrozenTrial],
    importances: dict[str, dict[str, float]],
    tables: Sequence[Any],
    svgs: dict[str, str],
) -> str:
    environment = Environment(
        loader=PackageLoader("benchmark.tune"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    again = queued_again(list(trials))
    return environment.get_template("tuning.html.j2").render(
        name=place.name,
        about=search.about,
        summary=summary(study, trials),
        goals=search.goals,
        keys=list(search.space),
        best=[
            {"number": t.number, "values": [shown(v) for v in t.values], "params": _shown_params(search, t)}
            for t in _best(study)
        ],
        importances={goal: {k: f"{v:.3f}" for k, v in found.items()} for goal, found in importances.items()},
        tables=[{"heading": table.heading, "html": html(table)} for table in tables],
        figures=svgs,
        trials=[
            {
                "number": t.number,
                "state": STATES[t.state],
                "params": _shown_params(search, t),
                "values": [shown(v) for v in t.values]
                if t.state == TrialState.COMPLETE
                else [""] * len(search.goals),
                "pruned": pruned_at(t),
                "time": clock(seconds(t)) if t.datetime_start else "",
                "run": _run_folder(place, t),
                "remark": remark(t, again),
            }
            for t in trials
        ],
    )


def _shown_params(search: Search, trial: FrozenTrial) -> list[str]:
    return [shown(trial.params.get(key)) for key in search.space]


def _run_folder(place: Place, trial: FrozenTrial) -> str:
    """The name of a trial's run folder, where that is there."""
    name = str(trial.user_attrs.get("run", ""))
    return name if name and RunFolder(place.folder / name).state() != "absent" else ""
