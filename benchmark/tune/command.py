"""What `bench tune` does: run a study with workers here or on a cluster, show it, serve it to a browser.

complete = tune_study("tune-smoke", Path("runs"), stores={}, slots=make_slots("cpu", cores=2, jobs=24),
                      trials=24, timeout=None, storage=None, track=True)
"""

import time
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.trial import TrialState

from bench_console import messages, output
from bench_errors import InputError
from benchmark.launch.cluster import Cluster
from benchmark.launch.devices import Slot
from benchmark.launch.execute_grid import check_networks
from benchmark.launch.stopping import StopRequests
from benchmark.launch.stores import find_stores
from benchmark.run_folder.folder import run_folders
from benchmark.tracking.uploaded import waiting_text
from benchmark.training.exit_codes import DISK_FULL, STOPPED
from benchmark.training.inputs import run_split
from benchmark.tune.cluster_pool import ClusterPool
from benchmark.tune.outcome import write_outcome
from benchmark.tune.pool import Pool
from benchmark.tune.search import Place, begin, counted, give_up_lost, resume
from benchmark.tune.study_file import Search, check_parts, load_search
from benchmark.tune.view import TrialView, summary, trial_table
from datasets.store.store import Store

POLL_SECONDS = 1.0


def tune_study(
    name_or_path: str,
    runs: Path,
    stores: dict[str, Path],
    slots: Sequence[Slot],
    trials: int,
    timeout: float | None,
    storage: str | None,
    track: bool,
    cluster: Cluster | None = None,
) -> int:
    """Bring a study to `trials` trials, write what came of it, and return how many of them are complete.

    Args:
        name_or_path: of the study file.
        runs: where the study's folder is or will be.
        stores: store folders by dataset name; others are looked for at `data/NAME`.
        slots: where trials may run, one at a time in each.
        trials: how many the study will have; those that it has already count.
        timeout: seconds after which no trial begins.
        storage: URL of a database; None: a journal file in the study's folder.
        track: log the trials to Weights & Biases.
        cluster: where the slots are, if not on this machine.

    Raises `InputError` before anything starts for a study that cannot run, and where workers cannot; and
    KeyboardInterrupt after stopping the workers when the user interrupts.
    """
    console = messages()
    name, search = load_search(name_or_path)
    search.check(name)
    grid = search.grid(name, search.first(name))
    located = find_stores(grid, runs, stores, console)
    check_networks(grid.configs, located)
    config = grid.configs[-1]
    store = Store.open(located[config.dataset])
    check_parts(name, run_split(config, store))
    place = Place(name, runs, storage)
    study = begin(search, place, store.hash)
    until = None if timeout is None else time.time() + timeout
    arguments = [name_or_path, "--runs", str(runs), "--store", str(located[config.dataset])]
    arguments += ["--trials", str(trials)]
    arguments += [] if storage is None else ["--storage", storage]
    arguments += [] if until is None else ["--until", str(until)]
    arguments += [] if track else ["--no-track"]
    pool: Pool | ClusterPool
    if cluster:
        pool = ClusterPool(arguments, place.own, slots, name, cluster)
    else:
        pool = Pool(arguments, place.own, slots)
    with TrialView(study, search, console, trials, len(slots), until) as view:
        _run(study, place, pool, view, trials, until)
    outcome = write_outcome(study, search, place)
    print_study(study, search)
    console.print(f"wrote {len(outcome)} files, begin with {outcome[0]}", soft_wrap=True)
    if track and (text := waiting_text(run_folders(place.folder))):
        console.print(text, soft_wrap=True)
    return sum(t.state == TrialState.COMPLETE for t in study.get_trials(deepcopy=False))


def _run(
    study: optuna.Study,
    place: Place,
    pool: Pool | ClusterPool,
    view: TrialView,
    total: int,
    until: float | None,
) -> None:
    """Keep the slots at work until the study has its trials, and replace workers that are killed."""
    give_up_lost(study, place)
    with StopRequests() as asked:
        try:
            while not asked.count:
                missing = total - counted(study.get_trials(deepcopy=False))
                in_time = until is None or time.time() < until
                pool.fill(len(pool) + (max(0, missing) if in_time else 0))
                if not len(pool) and not give_up_lost(study, place):
                    return
                time.sleep(POLL_SECONDS)
                failed = pool.ended()
                if any(code == DISK_FULL for code, _ in failed):
                    raise InputError(
                        f"the disk of {place.folder} is full: make space, and give the command again"
                    )
                if failed and not give_up_lost(study, place):
                    for code, output in failed:
                        if code != STOPPED:  # a cluster may take back a job that has only just begun
                            raise InputError(
                                f"a worker ended with exit code {code} and had no trial: see {output}"
                            )
                view.refresh()
        finally:
            pool.stop(lambda: asked.count > 1)
    raise KeyboardInterrupt


def open_study(name_or_path: str, runs: Path, storage: str | None) -> tuple[optuna.Study, Search, Place]:
    """Return a study that is there, by the name or path of its file; raise `InputError` where it is not."""
    name, search = load_search(name_or_path)
    place = Place(name, runs, storage)
    return resume(search, place), search, place


def report_study(name_or_path: str, runs: Path, storage: str | None) -> list[Path]:
    """Print a study's trials, write what has come of it so far, and return the files."""
    study, search, place = open_study(name_or_path, runs, storage)
    print_study(study, search)
    return write_outcome(study, search, place)


def print_study(study: optuna.Study, search: Search) -> None:
    """Print a study's trials on standard output."""
    trials = study.get_trials(deepcopy=False)
    console = output()
    console.print(trial_table(search, trials))
    console.print(summary(study, trials))


def serve_dashboard(name_or_path: str, runs: Path, storage: str | None, host: str, port: int) -> None:
    """Serve a study to a browser with optuna-dashboard until it is interrupted."""
    try:
        from optuna_dashboard import run_server
    except ModuleNotFoundError:
        raise InputError(
            "the dashboard needs the package optuna-dashboard: pip install 'passion-bench[tune]'"
        ) from None
    _, _, place = open_study(name_or_path, runs, storage)
    print(f"serving study {place.name} at http://{host}:{port}, end with Ctrl-C", flush=True)
    run_server(place.open_storage(), host, port)
