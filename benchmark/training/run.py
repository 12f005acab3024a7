"""One run, idempotent: train, test, record. ``python -m benchmark.training.run FOLDER --store DIR``.

Started by a launcher once per run folder. What is already there is not done again: a finished run returns
at once, a killed one goes on from its checkpoint and from the first case that is not yet in `cases.csv`.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench_errors import InputError
from benchmark import tracking
from benchmark.config.run_config import RunConfig
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.folder import VALIDATED, RunFolder, write_atomically
from benchmark.run_folder.lease import LeaseLost
from benchmark.run_folder.reasons import Pruned, error_reason
from benchmark.training.build import build_backbone, build_objective
from benchmark.training.device import device_text, prepare_device
from benchmark.training.inputs import Inputs
from benchmark.training.provenance import environment
from benchmark.training.seen_cases import write_learnt_from
from benchmark.training.trial import Trial
from benchmark.training.worker import HELD, SIGNALS, stop_signals
from datasets.missingness.degrade import Degradation, DegradedStore
from datasets.store.store import Store

if TYPE_CHECKING:
    import torch

    from backbones.contract import Backbone
    from benchmark.evaluation.sliding_window import Row
    from datasets.batches.loader import Loader
    from passion.objective import Objective


def execute(
    folder: RunFolder,
    store_path: Path,
    device: str,
    threads: int,
    track: bool,
    stop: Callable[[], bool] = lambda: False,
    trial: Trial | None = None,
    cadence: Cadence = AUTOMATIC,
    devices: int = 1,
) -> bool:
    """Train and test the run that `folder` describes; False: another process has it, or has taken it over.

    What is done already is not done again. A `trial` is trained and validated instead, and is whole with its
    `VALIDATED`. `devices` processes share each batch. `stop` is asked after each step and each tested case;
    at a yes, what is done is saved and KeyboardInterrupt raised. Raises whatever else went wrong; the reason
    is then in the folder's `failed`, but a `Pruned` trial has not failed.
    """
    whole = folder.path / (VALIDATED if trial else "done")
    if whole.exists():
        return True
    folder.check_writable()
    with folder.lease(stop) as mine:
        if not mine:
            return False
        if whole.exists():
            return True
        (folder.path / "failed").unlink(missing_ok=True)
        end = "stopped"
        try:
            folder.note_session("begun")
            with _unchanged(store_path, folder):
                _execute(folder, store_path, device, threads, track, stop, trial, cadence, devices)
            if not trial:
                folder.mark_done()
            end = "done"
        except LeaseLost as error:
            print(f"stopping: {error}", flush=True)
            return False
        except Pruned:
            end = "pruned"
            raise
        except Exception as error:
            end = "failed"
            folder.mark_failed(error_reason(error), traceback.format_exc())
            raise
        finally:
            with suppress(OSError, LeaseLost):
                folder.note_session(end)
    return True


def _execute(
    folder: RunFolder,
    store_path: Path,
    device_name: str,
    threads: int,
    track: bool,
    stop: Callable[[], bool],
    trial: Trial | None,
    cadence: Cadence,
    devices: int,
) -> None:
    from benchmark.evaluation.metrics import POLICIES
    from benchmark.evaluation.sliding_window import mean_dice, score_maps, segment_case
    from benchmark.evaluation.test_cases import score_cases, write_validation
    from benchmark.run_folder.checkpoint import save_weights
    from benchmark.training.data_parallel import check_team, lead
    from benchmark.training.network_size import model_size
    from benchmark.training.precision import autocast
    from benchmark.training.train import Validation, train
    from passion import OBJECTIVES

    device = prepare_device(device_name, threads)
    inputs = _inputs(folder, store_path, device)
    config, store, parts, table = inputs.config, inputs.store, inputs.split, inputs.table
    goal = config.objective.name
    check_team(devices, config.train.batch_size, goal, OBJECTIVES.get(goal))
    where = environment(device_text(device), threads, config.precision)
    if devices > 1:
        where["devices"] = devices
    _write_environment(folder, where)
    write_learnt_from(folder.path, store, parts)
    write_atomically(folder.path / "availability.csv", table.to_csv().encode())
    backbone, loader, objective = _set_up(inputs, folder, device, (0, devices))
    if left_out := objective.left_out(backbone):
        print(f"{config.objective.name} with {config.backbone.name}: {left_out}", flush=True)
        _write_environment(folder, {**where, "left_out": left_out})
    policy = POLICIES[config.test.metrics]
    outside = Degradation.parse(config.test.outside) if config.test.outside else None

    def segment(case: str) -> dict[str, Any]:
        with autocast(config.precision, device):
            return segment_case(backbone, store, case, window=config.window, device=device, outside=outside)

    def validate(cases: Iterable[str]) -> "list[Row]":
        return [row for case in cases for row in score_maps(store, case, segment(case), policy, ("dice",))]

    validation = None
    if config.test.select == "best":
        validation = Validation(
            lambda: mean_dice(validate(parts.val)), config.test.validate_every or 10, keep_best=True
        )
    elif trial:
        validation = Validation(lambda: trial.score(validate(trial.cases)), trial.every)
    if validation and trial:
        validation = replace(validation, hopeless=trial.hopeless)
    if config.test.select == "best" and not parts.val:
        raise InputError("test.select: best needs validation cases and the split has none: use select: last")
    size = model_size(backbone, config.train.crop)
    write_atomically(folder.path / "model.json", json.dumps(size).encode())
    with tracking.start(folder.path, folder.config()) if track else tracking.Tracker() as tracker:
        for line in folder.log():
            tracker.log_epoch(line)
        command = partial(_follower, folder, store_path, device_name, threads, devices)
        with lead(devices, device, command) as team:
            train(
                config,
                backbone,
                objective,
                loader,
                folder,
                device,
                on_epoch=tracker.log_epoch,
                validation=validation,
                stop=stop,
                cadence=cadence,
                team=team,
            )
        save_weights(folder, backbone.state_dict())
        shutil.rmtree(_degraded(folder), ignore_errors=True)
        if trial:
            write_validation(folder, validate(parts.val), policy)
        else:
            score_cases(folder, store, parts.test, segment, policy, stop, device)


def _inputs(folder: RunFolder, store_path: Path, device: "torch.device") -> Inputs:
    """What the run works with, checked against what it was begun with."""
    from benchmark.training.precision import check_precision

    content = folder.config()
    config = RunConfig.model_validate(content["config"])
    check_precision(config.precision, device)
    store = Store.open(store_path)
    if store.hash != content["data"]["hash"]:
        raise InputError(
            f"the store {store_path} has data hash {store.hash}, the run was begun with "
            f"{content['data']['hash']}: restore the data, or remove the run folder to start afresh"
        )
    inputs = Inputs.of(config, store)
    if inputs.table.hash != content["data"]["availability"]["hash"]:
        raise InputError(
            f"the table of profile {config.profile} has hash {inputs.table.hash}, the run was begun with "
            f"{content['data']['availability']['hash']}: restore it, or remove the run folder to start "
            "afresh"
        )
    return inputs


def _set_up(
    inputs: Inputs, folder: RunFolder, device: "torch.device", part: tuple[int, int]
) -> "tuple[Backbone, Loader, Objective]":
    """Build the network, the loader of a `part` of each batch, and the objective."""
    import torch

    from datasets.batches.loader import Loader
    from datasets.randomness import torch_seed

    config, store, table = inputs.config, inputs.store, inputs.table
    torch.manual_seed(torch_seed(config.seed, "weights"))
    backbone = build_backbone(config, store.description).to(device)
    loader = Loader(
        DegradedStore.of(store, table.degraded, _degraded(folder)) if table.degraded else store,
        inputs.split.train,
        table,
        crop=config.train.crop,
        policy=config.objective.policy,
        batch_size=config.train.batch_size,
        seed=config.seed,
        augment=config.train.augment,
        label_share=config.train.label_share,
        part=part,
    )
    teacher = None
    if config.teacher:
        teacher = _teacher(folder, config.teacher, build_backbone(config, store.description).to(device))
    return backbone, loader, build_objective(config, store.description, loader, teacher)


def _degraded(folder: RunFolder) -> Path:
    return folder.path / "degraded"


def _follower(
    folder: RunFolder, store: Path, device: str, threads: int, devices: int, rank: int, port: int
) -> list[str]:
    """Return the command of another process of a run on several devices."""
    command = [sys.executable, "-m", "benchmark.training.run", str(folder.path), "--store", str(store)]
    command += ["--device", device, "--threads", str(threads), "--devices", str(devices)]
    return [*command, "--follow", str(rank), str(port)]


def _follow(
    folder: RunFolder, store: Path, device_name: str, threads: int, devices: int, place: list[int]
) -> None:
    """Train as one of the other processes of a run, to which the first one says when to stop."""
    from benchmark.training.data_parallel import follow
    from benchmark.training.train import train

    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    rank, port = place
    device = prepare_device(device_name, threads, rank)
    team = follow(rank, devices, port, device)
    inputs = _inputs(folder, store, device)
    backbone, loader, objective = _set_up(inputs, folder, device, (rank, devices))
    with suppress(KeyboardInterrupt):
        train(inputs.config, backbone, objective, loader, folder, device, team=team)


@contextmanager
def _unchanged(store_path: Path, folder: RunFolder) -> Iterator[None]:
    """Forget what the run has come to, and raise `InputError`, where voxels change while it reads them."""
    store = Store.open(store_path)
    before = store.file_states()
    try:
        yield
    finally:
        now = store.file_states()
        touched = {case for case in store.cases if now[case] and now[case] != before[case]}
        if changed := [case for case in sorted(touched) if store.damaged(case)]:
            folder.forget_results()
            raise InputError(
                f"the store {store_path} changed while the run read it ({', '.join(changed[:3])}), so what "
                "the run has come to is removed: restore the data (bench data verify) and run the grid again"
            )


def _write_environment(folder: RunFolder, content: dict[str, object]) -> None:
    write_atomically(folder.path / "environment.json", json.dumps(content, indent=1).encode())


def _teacher(folder: RunFolder, config: RunConfig, network: "Backbone") -> "Backbone":
    """Load the tested weights of the run that teaches `folder`, which lies beside it, into `network`."""
    from benchmark.run_folder.checkpoint import load_weights

    teacher = RunFolder(folder.path.with_name(config.folder))
    if (state := teacher.state()) != "done":
        raise InputError(f"its teacher {teacher.path} is {state}, not done: run its grid again")
    ours, theirs = folder.config()["data"]["hash"], teacher.config()["data"]["hash"]
    if ours != theirs:
        raise InputError(
            f"its teacher {teacher.path} has data {theirs}, this run {ours}: remove the teacher's "
            "folder and run the grid again"
        )
    network.load_state_dict(load_weights(teacher))
    return network


def main() -> NoReturn:
    """Execute one run folder; exit code 0 done, 1 failed, 75 held by another process, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.training.run", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-track", action="store_true")
    parser.add_argument("--checkpoint-seconds", type=float)
    parser.add_argument("--checkpoint-epochs", type=int)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--follow", type=int, nargs=2, metavar=("RANK", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        folder = RunFolder(options.folder)
        _follow(folder, options.store, options.device, options.threads, options.devices, options.follow)
        sys.exit(0)
    asked = stop_signals()
    try:
        done = execute(
            RunFolder(options.folder),
            options.store,
            options.device,
            options.threads,
            not options.no_track,
            asked.is_set,
            cadence=Cadence(options.checkpoint_seconds, options.checkpoint_epochs),
            devices=options.devices,
        )
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        traceback.print_exc()
        sys.exit(2 if isinstance(error, InputError) else 1)
    sys.exit(0 if done else HELD)


if __name__ == "__main__":
    main()
