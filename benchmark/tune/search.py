"""The Optuna study behind `bench tune`: where it is kept, what comes next, and whose trials are lost.

    place = Place("tune-smoke", Path("runs"), storage=None)
    study = begin(search, place, data_hash)           # in the parent, which creates it
    study = resume(search, place)                     # in a worker
    trial = next_trial(study, search, place, total=24)

It is a journal file in the folder of its runs, or a database. Several machines may work on one study if they
share that folder: what has to happen one after the other goes by a lock in it.
"""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from bench_errors import InputError
from bench_lease import hold_in_turn
from benchmark.run_folder.files import drop_cut_line, ends_whole
from benchmark.run_folder.folder import STUDY, RunFolder
from benchmark.tune.study_file import HalvingPruning, MedianPruning, Range, Search
from datasets.randomness import generator

optuna.logging.set_verbosity(optuna.logging.WARNING)

RETRIES = 2
"""How often a trial whose worker was killed is queued again: it may be what kills its workers."""
RETRY_OF = "retry_of"
"""The attribute of a trial that stands in the place of a lost one: the number of that."""
UNCLAIMED_SECONDS = 60.0
"""After this time a running trial that no worker has put its name to is nobody's."""


@dataclass(frozen=True)
class Place:
    """Where a study is: its name, the folder of all runs, and the URL of a database if it is in one."""

    name: str
    runs: Path
    storage: str | None = None

    @property
    def folder(self) -> Path:
        """The folder of its trials' run folders."""
        return self.runs / self.name

    @property
    def own(self) -> Path:
        """The folder of what is the study's own: journal, locks and workers."""
        return self.folder / STUDY

    def open_storage(self) -> BaseStorage:
        """Return the storage; raise `InputError` where it cannot be opened."""
        if self.storage is None:
            return self._open_journal()
        try:
            # SQLAlchemy would look for psycopg2, which is no more developed.
            return RDBStorage(re.sub("^postgresql://", "postgresql+psycopg://", self.storage))
        except Exception as error:  # whatever the driver of a database raises
            raise InputError(
                f"--storage {self.storage} cannot be opened ({type(error).__name__}: {first_line(error)}): "
                "expected a URL such as sqlite:///study.db or postgresql://user@host/name, and its driver "
                "(pip install 'passion-bench[tune]')"
            ) from None

    def _open_journal(self) -> JournalStorage:
        path = self.own / "journal.log"
        try:
            return JournalStorage(_Journal(path))
        except (ValueError, LookupError, AssertionError) as error:  # what Optuna meets where it replays
            raise InputError(
                f"{path} is damaged, or of a newer Optuna ({type(error).__name__}: {first_line(error)}): "
                f"restore it, or remove {self.own} to begin the study again"
            ) from None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study's lease, once those who have it have let it go or died."""
        with hold_in_turn(self.own / "lease"):
            yield

    def worker(self, name: str) -> RunFolder:
        """The folder whose lease a worker holds while it lives."""
        return RunFolder(self.own / "workers" / name)


class _Journal(JournalFileBackend):
    """Optuna's journal file, of which a kill or a full disk may have cut off the last line."""

    def __init__(self, path: Path):
        # Optuna's lock is a link to the file: only by its whole path can it be seen to be held by nobody.
        self._path = path.resolve()
        self._link = JournalFileSymlinkLock(str(self._path))
        super().__init__(str(self._path), self._link)
        self._drop_cut_line()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add records, after whole ones."""
        self._drop_cut_line()
        super().append_logs(logs)

    def _drop_cut_line(self) -> None:
        if ends_whole(self._path):
            return
        self._link.acquire()  # nobody is appending
        try:
            if drop_cut_line(self._path):
                print(f"{self._path}: dropped a last line that was cut off", file=sys.stderr, flush=True)
        finally:
            self._link.release()


def begin(search: Search, place: Place, data: str) -> optuna.Study:
    """Create the study with its first trial waiting, or open it.

    Args:
        search: its file.
        place: where it is or will be.
        data: hash of the store that its trials use.

    Raises `InputError` where it was begun with another search or other data.
    """
    try:
        (place.own / "workers").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{place.own} cannot be written ({error.strerror}): choose another place with --runs"
        ) from None
    with place.lock():
        study = optuna.create_study(
            study_name=place.name,
            storage=place.open_storage(),
            directions=["maximize"] * len(search.goals),
            load_if_exists=True,
        )
        begun = study.user_attrs
        if "plan" not in begun:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(list(search.goals))
            study.set_user_attr("plan", search.facts())
            study.set_user_attr("data", data)
            study.enqueue_trial(search.first(place.name))
            return study
    for key, value in json.loads(json.dumps(search.facts())).items():
        if begun["plan"][key] != value:
            raise InputError(
                f"study {place.name} was begun with another {key} ({json.dumps(begun['plan'][key])}, now "
                f"{json.dumps(value)}): restore it, or give the study file another name to begin a new study"
            )
    if begun["data"] != data:
        raise InputError(
            f"study {place.name} was begun with data {begun['data']}, the store now holds {data}: restore "
            "the data, or give the study file another name to begin a new study"
        )
    return study


def resume(search: Search, place: Place) -> optuna.Study:
    """Open a study that is there, with the search's pruner; raise `InputError` where there is none."""
    missing = InputError(
        f"no study {place.name} at {place.storage or place.own}: begin it with 'bench tune --study', or say "
        "with --runs and --storage where it is"
    )
    if place.storage is None and not (place.own / "journal.log").exists():
        raise missing
    try:
        return optuna.load_study(
            study_name=place.name, storage=place.open_storage(), pruner=_pruner(search, place)
        )
    except KeyError:
        raise missing from None


def next_trial(
    study: optuna.Study, search: Search, place: Place, total: int, worker: str
) -> optuna.Trial | None:
    """Return the next trial of a study, claimed for `worker`; None once it has `total` of them.

    What the sampler draws is a function of the search's seed, the trial's number and the trials before it.
    """
    with place.lock():
        trials = study.get_trials(deepcopy=False)
        if counted(trials) >= total:
            return None
        study.sampler = _sampler(search, len(trials))
        trial = study.ask(distributions(search))
        trial.set_user_attr("worker", worker)
        return trial


def counted(trials: list[FrozenTrial]) -> int:
    """How many trials have been begun; one that was queued again counts once."""
    return sum(t.state != TrialState.WAITING for t in trials) - len(queued_again(trials))


def ended(trials: list[FrozenTrial]) -> int:
    """How many trials have ended; one that was queued again has not."""
    return sum(t.state.is_finished() for t in trials) - len(queued_again(trials))


def queued_again(trials: list[FrozenTrial]) -> set[int]:
    """Numbers of the trials that were lost and have another in their place."""
    return {t.user_attrs[RETRY_OF] for t in trials if RETRY_OF in t.user_attrs}


def give_up_lost(study: optuna.Study, place: Place) -> list[int]:
    """Mark the running trials whose workers are gone as failed, queue them again, and return their numbers.

    A trial that has lost `RETRIES` + 1 workers is not queued again.
    """
    lost = []
    with place.lock():
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if _is_alive(trial, place):
                continue
            retry = trial.user_attrs.get("retry", 0) + 1
            if retry <= RETRIES:
                study.enqueue_trial(trial.params, user_attrs={"retry": retry, RETRY_OF: trial.number})
            study.tell(trial.number, state=TrialState.FAIL)
            lost.append(trial.number)
    return lost


def _is_alive(trial: FrozenTrial, place: Place) -> bool:
    name = trial.user_attrs.get("worker")
    if name is None:
        begun = trial.datetime_start or datetime.now()
        return (datetime.now() - begun).total_seconds() < UNCLAIMED_SECONDS
    worker = place.worker(name)
    # Where machines share the database and not the folder, nothing is known of the others' workers.
    return not worker.path.exists() or worker.state() == "running"


def distributions(search: Search) -> dict[str, BaseDistribution]:
    """The space as Optuna knows it."""
    return {key: _distribution(known) for key, known in search.space.items()}


def _distribution(known: Range | list[Any]) -> BaseDistribution:
    if isinstance(known, list):
        return CategoricalDistribution(known)
    if known.whole:
        return IntDistribution(int(known.low), int(known.high), log=known.log, step=int(known.step or 1))
    return FloatDistribution(known.low, known.high, log=known.log, step=known.step)


def _sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    seed = int(generator(search.seed, "sampler", number).integers(2**32))
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _pruner(search: Search, place: Place) -> optuna.pruners.BasePruner:
    pruner, train = search.pruner, search.config(place.name).train
    if isinstance(pruner, MedianPruning):
        return optuna.pruners.MedianPruner(n_startup_trials=pruner.startup, n_warmup_steps=pruner.first)
    if isinstance(pruner, HalvingPruning):
        looks_at = train.looks_every or search.validation.every
        first = max(pruner.first or looks_at, looks_at)
        if pruner.name == "asha":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=pruner.factor)
        return optuna.pruners.HyperbandPruner(first, train.epochs, pruner.factor)
    return optuna.pruners.NopPruner()


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return str(error).strip().partition("\n")[0]
