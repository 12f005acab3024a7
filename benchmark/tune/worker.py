"""A worker of a study: ``python -m benchmark.tune.worker STUDY.yaml --runs runs --store DIR --trials 24``.

It takes one trial after the other, trains and validates it in its run folder, and ends when the study has as
many as it was asked for. Any number of workers, on any number of machines, may work on one study. A study
that is not there yet is begun by `bench tune`.
"""

import argparse
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import NoReturn

import optuna
from optuna.trial import TrialState

from bench_errors import InputError
from benchmark.launch.execute_grid import begin_run
from benchmark.run_folder.case_rows import read_rows
from benchmark.run_folder.folder import VALIDATED, RunFolder
from benchmark.run_folder.reasons import Pruned, error_reason
from benchmark.training.exit_codes import DISK_FULL, STOPPED, WRONG_INPUT, is_disk_full, stop_signals
from benchmark.training.inputs import Inputs
from benchmark.training.run import Execution, execute
from benchmark.training.trial import Trial
from benchmark.tune.scores import values_of
from benchmark.tune.search import Place, next_trial, resume
from benchmark.tune.study_file import Search, load_search
from datasets.store.store import Store

POLL_SECONDS = 1.0


Objective = Callable[[optuna.Trial], Sequence[float]]


def work(
    study: optuna.Study, search: Search, place: Place, objective: Objective, total: int, until: float | None
) -> None:
    """Take trials of the study until it has `total`, or the time `until` (of `time.time`) has come.

    What `objective` returns is a trial's value; a trial whose objective raises `Pruned` is pruned, with any
    other error failed, and then its attribute `reason` says why.
    """
    own = place.worker(f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}")
    own.path.mkdir(parents=True)
    with own.lease():
        while until is None or time.time() < until:
            trial = next_trial(study, search, place, total, own.path.name)
            if trial is None:
                return
            try:
                values = objective(trial)
                if not all(map(isfinite, values)):
                    raise ValueError(f"its value is {', '.join(map(str, values))}")
                study.tell(trial, values)
            except Pruned:
                study.tell(trial, state=TrialState.PRUNED)
            except Exception as error:
                if is_disk_full(error):  # which is no fault of the trial: another worker goes on with it
                    raise
                trial.set_user_attr("reason", error_reason(error))
                study.tell(trial, state=TrialState.FAIL)
                traceback.print_exc()


def run_objective(search: Search, place: Place, execution: Execution) -> Objective:
    """Return what makes a run of a trial, in its run folder, and gives its values."""

    def objective(trial: optuna.Trial) -> Sequence[float]:
        grid = search.grid(place.name, trial.params)
        *teachers, config = grid.configs
        trial.set_user_attr("run", config.folder)
        store = Store.open(execution.store)
        for teacher in teachers:
            _execute(begin_run(grid.name, Inputs.of(teacher, store), (), place.runs), execution)
        inputs = Inputs.of(config, store)
        folder = begin_run(grid.name, inputs, (), place.runs)
        folder.note_trial(number=trial.number, params=trial.params)
        looked_at = search.looked_at(inputs.split)
        rating = Trial(
            search.validation.every,
            looked_at,
            lambda rows: values_of(search, rows)[0],
            _pruning(trial, folder),
            lambda rows: folder.note_trial(
                goals=dict(zip(search.goals, values_of(search, rows), strict=True))
            ),
        )
        _execute(folder, execution, rating)
        return values_of(search, read_rows(folder.path / VALIDATED))

    return objective


def _pruning(trial: optuna.Trial, folder: RunFolder) -> Callable[[int, float], bool]:
    """Report each look at the validation cases, those before a worker was killed too; ask the pruner."""
    reported: set[int] = set()

    def hopeless(epochs: int, score: float) -> bool:
        if len(trial.study.directions) > 1:
            return False
        earlier = {line["epoch"] + 1: line["validation"] for line in folder.log() if "validation" in line}
        answer = False
        for step, value in {**earlier, epochs: score}.items():
            if step not in reported:
                trial.report(value, step)
                reported.add(step)
                # Asked after each: a rung of ASHA that is passed unasked is given the last value instead.
                answer = trial.should_prune() or answer
        return answer

    return hopeless


def _execute(folder: RunFolder, execution: Execution, trial: Trial | None = None) -> None:
    """Execute a run until it is whole; where another process has it, wait for that."""
    while not execute(folder, execution, trial):
        if execution.stop():
            raise KeyboardInterrupt
        time.sleep(POLL_SECONDS)


def main() -> NoReturn:
    """Work on a study; exit code 0: it has its trials, 1: an error, 2: wrong input, 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.tune.worker", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--storage")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--until", type=float)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-track", action="store_true")
    options = parser.parse_args()
    asked = stop_signals()
    try:
        name, search = load_search(options.study)
        place = Place(name, options.runs, options.storage)
        execution = Execution(
            options.store, options.device, options.threads, track=not options.no_track, stop=asked.is_set
        )
        study = resume(search, place)
        work(study, search, place, run_objective(search, place, execution), options.trials, options.until)
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except Exception as error:
        traceback.print_exc()
        full = is_disk_full(error)
        sys.exit(WRONG_INPUT if isinstance(error, InputError) else DISK_FULL if full else 1)
    sys.exit(0)


if __name__ == "__main__":
    main()
