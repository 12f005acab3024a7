"""One run, idempotent: train, test, record. ``python -m benchmark.training.run FOLDER --store DIR``.

Started by a launcher once per run folder. What is already there is not done again: a finished run returns at
once, a killed one goes on from its checkpoint, a finished training does the tests that it lacks, each from
the first case that is not yet in its `cases.csv`.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from backbones.contract import Backbone
from bench_errors import InputError
from bench_lease import LeaseLost
from benchmark import tracking
from benchmark.config.run_config import RunConfig, digest, read_config
from benchmark.evaluation.metrics import Scoring
from benchmark.evaluation.score_maps import mean_dice, score_maps
from benchmark.evaluation.segment_case import Segmentation, segment_case
from benchmark.evaluation.tested_cases import score_cases, segment_options
from benchmark.run_folder.case_rows import CaseRow, write_rows
from benchmark.run_folder.checkpoint import load_weights, save_weights
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.folder import VALIDATED, RunFolder
from benchmark.run_folder.reasons import Pruned, error_reason
from benchmark.run_folder.tests import TestFolder
from benchmark.training.build import build_backbone, build_objective, initial_backbone
from benchmark.training.data_parallel import check_team, follow, lead
from benchmark.training.device import device_text, prepare_device
from benchmark.training.exit_codes import HELD, SIGNALS, STOPPED, WRONG_INPUT, stop_signals
from benchmark.training.inputs import Inputs
from benchmark.training.memory import room
from benchmark.training.network_size import model_size
from benchmark.training.precision import autocast, check_precision, use_precision
from benchmark.training.provenance import check_identity, environment, plugins
from benchmark.training.seen_cases import write_learnt_from
from benchmark.training.train import Training, Validation, train, why_not_captured
from benchmark.training.trial import VALIDATION, Trial
from datasets.batches.loader import Loader
from datasets.missingness.degrade import DegradedStore
from datasets.randomness import torch_seed
from datasets.store.store import Store
from passion import OBJECTIVES


@dataclass(frozen=True)
class Execution:
    """How a run is executed; nothing of it decides the numbers.

    Attributes:
        store: folder of the prepared study.
        device, threads: where to compute: `cpu` or `cuda`, and with how many threads of the CPU.
        devices: how many processes share each batch.
        track: whether to log to Weights & Biases.
        cadence: how often to write a checkpoint.
        resident: above 0, what is computed with stays on the GPU: the study in this share of its memory,
            where crops are then cut; steps are recorded and replayed, cases scored where their maps are made.
            The numbers are the same; nobody has measured yet whether it is faster.
        stop: asked after each step and each tested case; at a yes, what is done is saved and
            KeyboardInterrupt raised.
    """

    store: Path
    device: str = "cpu"
    threads: int = 1
    devices: int = 1
    track: bool = True
    cadence: Cadence = AUTOMATIC
    resident: float = 0.0
    stop: Callable[[], bool] = lambda: False


def execute(folder: RunFolder, execution: Execution, trial: Trial | None = None) -> bool:
    """Train and test the run that `folder` describes; False: another process has it, or has taken it over.

    A `trial` is trained and validated instead, and is whole with its `VALIDATED`. Raises whatever goes wrong;
    the reason is then in the folder's `failed`, but a `Pruned` trial has not failed.
    """
    if _is_whole(folder, trial):
        return True
    folder.check_writable()
    with folder.lease(execution.stop) as mine:
        if not mine:
            return False
        if _is_whole(folder, trial):
            return True
        folder.clear_failure()
        try:
            with _session(folder), _unchanged(execution.store, folder):
                _train_and_test(folder, execution, trial)
        except LeaseLost as error:
            print(f"stopping: {error}", flush=True)
            return False
    return True


def _is_whole(folder: RunFolder, trial: Trial | None) -> bool:
    return (folder.path / VALIDATED).exists() if trial else folder.state() == "done"


@contextmanager
def _session(folder: RunFolder) -> Iterator[None]:
    """Record how this process ends with the run, and why it failed if it did."""
    end = "stopped"
    try:
        folder.note_session("begun")
        yield
        end = "done"
    except Pruned:
        end = "pruned"
        raise
    except LeaseLost:
        raise
    except Exception as error:
        end = "failed"
        folder.mark_failed(error_reason(error), traceback.format_exc())
        raise
    finally:
        with suppress(OSError, LeaseLost):
            folder.note_session(end)


def _train_and_test(folder: RunFolder, execution: Execution, trial: Trial | None) -> None:
    inputs = read_inputs(folder, execution.store)
    config = inputs.config
    device = _begin(config, execution)
    goal = config.objective.name
    check_team(execution.devices, config.train.batch_size, goal, OBJECTIVES.get(goal))
    where = environment(device_text(device), execution.threads, config.precision, execution.devices)
    folder.note_session("computing", environment=where)
    with tracking.start(folder.path, folder.config()) if execution.track else tracking.Tracker() as tracker:
        for line in folder.log():
            tracker.log_epoch(line)
        if not folder.trained:
            _train(folder, inputs, execution, device, trial, tracker.log_epoch)
        # A plain network: with `train.compile`, one that this session has trained would round otherwise than
        # that of a session which only tests.
        backbone = build_backbone(config, inputs.store.description).to(device)
        backbone.load_state_dict(load_weights(folder))
        if trial:
            rows = validate(config, inputs.store, backbone, device, inputs.split.val)
            trial.note(rows)
            write_rows(folder.path / VALIDATED, rows)
            return
        for test in folder.own_tests():
            if not test.done:
                _test(test, inputs, backbone, device, execution)


def read_inputs(folder: RunFolder, store: Path) -> Inputs:
    """What the run works with, checked against what it was begun with."""
    recorded = folder.config()
    inputs = Inputs.of(read_config(recorded["config"], str(folder.path)), Store.open(store))
    check_identity(recorded, inputs, folder.path)
    return inputs


def _begin(config: RunConfig, execution: Execution, rank: int = 0) -> torch.device:
    device = prepare_device(execution.device, execution.threads, rank)
    check_precision(config.precision, device)
    use_precision(config.precision)
    return device


def _train(
    folder: RunFolder,
    inputs: Inputs,
    execution: Execution,
    device: torch.device,
    trial: Trial | None,
    on_epoch: Callable[[dict[str, Any]], None],
) -> None:
    """Train the run and record what belongs to the training, last its weights."""
    write_learnt_from(folder.path, inputs.store, inputs.split, inputs.config.train.init)
    write_atomically(folder.path / "availability.csv", inputs.table.to_csv().encode())
    training = set_up(inputs, folder, device, (0, execution.devices), execution.resident)
    backbone = training.backbone
    facts: dict[str, Any] = dict(model_size(backbone, inputs.config.train.crop))
    if left_out := training.objective.left_out(backbone):
        print(f"{inputs.config.objective.name} with {inputs.config.backbone.name}: {left_out}", flush=True)
        facts["left_out"] = left_out
    write_atomically(folder.path / "model.json", json.dumps(facts).encode())
    validation = _validation(inputs, backbone, device, trial)
    with lead(execution.devices, device, partial(_follower, folder, execution)) as team:
        training.team = team
        if execution.resident and (reason := why_not_captured(training)):
            print(f"steps are not recorded: {reason}", flush=True)
        train(training, folder, validation, on_epoch, execution.stop, execution.cadence)
    save_weights(folder, backbone.state_dict())
    folder.mark_trained()
    shutil.rmtree(_degraded(folder), ignore_errors=True)


def set_up(
    inputs: Inputs, folder: RunFolder, device: torch.device, part: tuple[int, int], resident: float = 0.0
) -> Training:
    """Build the network, the objective and the loader of a `part` of each batch: rank and number of parts."""
    config, store, table = inputs.config, inputs.store, inputs.shown
    torch.manual_seed(torch_seed(config.seed, "weights"))
    backbone = initial_backbone(config, store.description).to(device)
    loader = Loader(
        DegradedStore.of(store, table.degraded, _degraded(folder)) if table.degraded else store,
        table.cases,
        table,
        crop=config.train.crop,
        policy=config.objective.policy,
        batch_size=config.train.batch_size,
        seed=config.seed,
        augment=config.train.augment,
        label_share=config.train.label_share,
        part=part,
        steps_per_epoch=config.train.steps_per_epoch,
        device=device,
        room=room(device, resident),
    )
    if config.pretraining:
        backbone.load_state_dict(_weights_of(config.pretraining, folder))
    teacher = None
    if config.teacher:
        teacher = build_backbone(config, store.description).to(device)
        teacher.load_state_dict(_weights_of(config.teacher, folder))
    objective = build_objective(config, store.description, loader, teacher)
    return Training(config, backbone, objective, loader, device, resident=resident > 0)


def _validation(
    inputs: Inputs, backbone: Backbone, device: torch.device, trial: Trial | None
) -> Validation | None:
    """How the training looks at validation cases: as `train` says, as a trial asks, or not at all."""
    config = inputs.config

    def look(cases: Iterable[str]) -> list[CaseRow]:
        return validate(config, inputs.store, backbone, device, cases)

    val = inputs.store.having(inputs.split.val, inputs.subset)
    if every := config.train.looks_every:
        if not val:
            raise InputError(
                "train.select: best and train.validate_every need validation cases and the split has none: "
                "leave them out"
            )
        keep_best = config.train.select == "best"
        validation = Validation(lambda: mean_dice(look(val)), every, keep_best)
    elif trial:
        validation = Validation(lambda: trial.score(look(trial.cases)), trial.every)
    else:
        return None
    return replace(validation, hopeless=trial.hopeless) if trial else validation


def validate(
    config: RunConfig, store: Store, backbone: Backbone, device: torch.device, cases: Iterable[str]
) -> list[CaseRow]:
    """Return the Dice of validation cases, of the regions that are no other one's twin, on training crops."""
    dedicated = config.subset(store.description.modalities)
    segment = partial(segment_case, backbone, store, window=config.train.crop, device=device)
    rows = []
    for case in store.having(cases, dedicated):
        with autocast(config.precision, device):
            segmented = segment(case, dedicated=dedicated)
        rows += score_maps(store, case, segmented, VALIDATION)
    return [row for row in rows if row.region in store.description.plain_regions]


def _test(
    test: TestFolder, inputs: Inputs, backbone: Backbone, device: torch.device, execution: Execution
) -> None:
    """Score the test cases as the test's `test.yaml` says."""
    settings = test.settings()["test"]
    segment = segmenter(inputs, settings, backbone, device, execution.resident > 0)
    score_cases(test, inputs.store, inputs.tested, segment, Scoring.of(settings), execution.stop, device)


def segmenter(
    inputs: Inputs,
    settings: Mapping[str, Any],
    backbone: Backbone,
    device: torch.device,
    resident: bool = False,
) -> Callable[[str], Segmentation]:
    """Return what segments a test case, by its name, as a test's settings say.

    `resident`: see `segment_case`.
    """
    options = {**segment_options(settings), "dedicated": inputs.subset, "resident": resident}

    def segment(case: str) -> Segmentation:
        with autocast(inputs.config.precision, device):
            return segment_case(backbone, inputs.store, case, device=device, **options)

    return segment


def _degraded(folder: RunFolder) -> Path:
    return folder.path / "degraded"


def _follower(folder: RunFolder, execution: Execution, rank: int, port: int) -> list[str]:
    """Return the command of another process of a run on several devices."""
    command = [sys.executable, "-m", "benchmark.training.run", str(folder.path)]
    command += ["--store", str(execution.store), "--device", execution.device]
    command += ["--threads", str(execution.threads), "--devices", str(execution.devices)]
    return [*command, "--follow", str(rank), str(port)]


def _follow(folder: RunFolder, execution: Execution, rank: int, port: int) -> None:
    """Train as one of the other processes of a run, to which the first one says when to stop."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    inputs = read_inputs(folder, execution.store)
    device = _begin(inputs.config, execution, rank)
    team = follow(rank, execution.devices, port, device)
    training = set_up(inputs, folder, device, (rank, execution.devices))
    training.team = team
    with suppress(KeyboardInterrupt):
        train(training, folder)


@contextmanager
def _unchanged(store_path: Path, folder: RunFolder) -> Iterator[None]:
    """Forget what the run has come to, and raise `InputError`, where voxels change while it reads them."""
    store = Store.open(store_path)
    before = store.file_states()
    trained = folder.trained
    try:
        yield
    finally:
        now = store.file_states()
        touched = {case for case in store.cases if now[case] and now[case] != before[case]}
        if changed := [case for case in sorted(touched) if store.damaged(case)]:
            folder.forget_results(tests_alone=trained)
            shutil.rmtree(_degraded(folder), ignore_errors=True)  # of these voxels too
            raise InputError(
                f"the store {store_path} changed while the run read it ({', '.join(changed[:3])}), so what "
                "the run has come to is removed: restore the data (bench data verify) and run the grid again"
            )


def _weights_of(config: RunConfig, folder: RunFolder) -> dict[str, Tensor]:
    """Read the final weights of a run that `folder` needs, which lies beside it."""
    needed = RunFolder(folder.path.with_name(config.folder))
    if not needed.trained:
        raise InputError(f"it needs {needed.path}, which is {needed.state()}, not done: run its grid again")
    found, expected = needed.config()["identity"], folder.config()["identity"]
    expected["plugins"] = digest(plugins(config))  # of the code that is there now
    for name in ("data", "split", "plugins"):
        ours, theirs = expected[name], found[name]
        if ours != theirs:
            raise InputError(
                f"it needs {needed.path}, which has {name} {theirs}, this run {ours}: remove that folder and "
                "run the grid again"
            )
    return load_weights(needed)


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
    parser.add_argument("--resident", type=float, default=0.0)
    parser.add_argument("--follow", type=int, nargs=2, metavar=("RANK", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = RunFolder(options.folder)
    execution = Execution(
        options.store,
        options.device,
        options.threads,
        options.devices,
        track=not options.no_track,
        cadence=Cadence(options.checkpoint_seconds, options.checkpoint_epochs),
        resident=options.resident,
    )
    if options.follow:
        _follow(folder, execution, *options.follow)
        sys.exit(0)
    asked = stop_signals()
    try:
        done = execute(folder, replace(execution, stop=asked.is_set))
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except Exception as error:
        traceback.print_exc()
        sys.exit(WRONG_INPUT if isinstance(error, InputError) else 1)
    sys.exit(0 if done else HELD)


if __name__ == "__main__":
    main()
