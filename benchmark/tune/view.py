"""The trials of a study in the terminal: ``with TrialView(study, ...) as view: view.refresh()``.

On a terminal a table that is redrawn in place, elsewhere a line for each trial that ends.
"""

import time
from collections.abc import Sequence
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmark.tune.search import counted, ended, queued_again
from benchmark.tune.study_file import Search

LOST = "its worker was killed or stopped"
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def trial_table(search: Search, trials: Sequence[FrozenTrial]) -> Table:
    """Return a table of trials: number, state, parameters, values, when it was pruned, time, remark."""
    keys = list(search.space)
    heads = ["trial", "state", *(key.rpartition(".")[2] for key in keys), *search.goals]
    table = Table(*heads, "pruned at", "time", "")
    again = queued_again(list(trials))
    for trial in trials:
        values = trial.values if trial.state == TrialState.COMPLETE else None
        table.add_row(
            str(trial.number),
            STATES[trial.state],
            *(shown(trial.params.get(key)) for key in keys),
            *(shown(value) for value in values or [None] * len(search.goals)),
            pruned_at(trial),
            clock(seconds(trial)) if trial.datetime_start else "",
            remark(trial, again),
        )
    return table


def pruned_at(trial: FrozenTrial) -> str:
    """``epoch 2: 0.1234``: after how many epochs a trial was given up, and its value then."""
    if trial.state != TrialState.PRUNED or trial.last_step is None:
        return ""
    return f"epoch {trial.last_step}: {trial.intermediate_values[trial.last_step]:.4f}"


def remark(trial: FrozenTrial, again: set[int]) -> str:
    """Why a trial failed, or which one it is in the place of."""
    if trial.state == TrialState.FAIL:
        reason = str(trial.user_attrs.get("reason", LOST))
        return reason + (", queued again" if trial.number in again else "")
    return f"again, for {trial.user_attrs['retry_of']}" if "retry_of" in trial.user_attrs else ""


def summary(study: optuna.Study, trials: Sequence[FrozenTrial]) -> str:
    """``24 trials: 12 complete, 11 pruned, 1 failed; best so far: trial 7, 0.1234``."""
    states = [trial.state for trial in trials]
    counts = ", ".join(f"{states.count(s)} {name}" for s, name in STATES.items() if s in states)
    text = f"{len(trials)} trial{'s' * (len(trials) != 1)}: {counts or 'none'}"
    if not any(state == TrialState.COMPLETE for state in states):
        return text
    best = study.best_trials
    if len(study.directions) == 1:
        return f"{text}; best so far: trial {best[0].number}, {best[0].value:.4f}"
    return f"{text}; not beaten in both: {', '.join(f'trial {trial.number}' for trial in best)}"


def time_left(trials: list[FrozenTrial], total: int, workers: int, until: float | None) -> float | None:
    """Seconds that the rest of `total` trials will take `workers`, by the mean of those that are over.

    None before the first is over; never more than there is `until` (of `time.time`) the last may begin.
    """
    over = [seconds(t) for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    running = [seconds(t) for t in trials if t.state == TrialState.RUNNING]
    if not over:
        return None
    mean = sum(over) / len(over)
    to_begin = max(0, total - counted(trials)) * mean
    if until is not None:
        to_begin = min(to_begin, max(0.0, until - time.time()) * workers)
    return (to_begin + sum(max(0.0, mean - spent) for spent in running)) / workers


def seconds(trial: FrozenTrial) -> float:
    """How long a trial has taken so far."""
    begun = trial.datetime_start or datetime.now()
    return ((trial.datetime_complete or datetime.now()) - begun).total_seconds()


def clock(duration: float) -> str:
    """``1:02:03``."""
    whole = round(duration)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def shown(value: object) -> str:
    """A number in four digits, other things as they are; nothing for None."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class TrialView:
    """Shows a study while its workers run.

    Args:
        study: read anew at each `refresh`.
        search: its file.
        console: where to show it.
        total: how many trials it will have.
        workers: how many work on it here.
        until: of `time.time`, when the last trial may begin.
    """

    def __init__(
        self,
        study: optuna.Study,
        search: Search,
        console: Console,
        total: int,
        workers: int,
        until: float | None,
    ):
        self._study, self._search, self._console = study, search, console
        self._total, self._workers, self._until = total, workers, until
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._told = {t.number for t in study.get_trials(deepcopy=False) if t.state.is_finished()}

    def __enter__(self) -> "TrialView":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.refresh()
        if self._live:
            self._live.stop()

    def refresh(self) -> None:
        """Show what has changed."""
        trials = self._study.get_trials(deepcopy=False)
        left = time_left(trials, self._total, self._workers, self._until)
        end = f"; {clock(left)} left" if left else ""
        if self._live:
            last = trials[-max(3, self._console.height - 6) :]
            line = Text(f"{summary(self._study, trials)}; {ended(trials)} of {self._total}{end}")
            self._live.update(Group(trial_table(self._search, last), line), refresh=True)
            return
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._told:
                self._told.add(trial.number)
                self._console.print(
                    f"{self._line(trial, queued_again(trials))}; {ended(trials)} of {self._total}{end}",
                    soft_wrap=True,
                )

    def _line(self, trial: FrozenTrial, again: set[int]) -> str:
        params = ", ".join(f"{key.rpartition('.')[2]}={shown(v)}" for key, v in trial.params.items())
        values = ", ".join(shown(v) for v in trial.values or [])
        what = {
            TrialState.COMPLETE: values,
            TrialState.PRUNED: f"at {pruned_at(trial)}",
            TrialState.FAIL: remark(trial, again),
        }[trial.state]
        return f"trial {trial.number} {STATES[trial.state]} ({params}): {what}"
