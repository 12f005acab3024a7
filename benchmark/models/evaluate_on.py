"""Test a finished run again: on other data, or on cases that lack modalities or have them in poor quality.

    bench evaluate RUN --dataset data/brats2021
    bench evaluate RUN --dataset data/brats2020 --profile mr8852 --outside noise-2
    bench evaluate FOLD0 --ensemble FOLD1 --ensemble FOLD2 --dataset data/brats2021

The result is one more test in the run's folder, with the conditions of the tested data; reports read it like
any test and say what it is. Nothing is trained. Called again, it does what is missing. The test of a model
folder, which is to be shared, goes into a run folder that is made for it below `evaluated`.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from bench_errors import InputError
from benchmark.config.run_config import digest
from benchmark.evaluation.metrics import Scoring
from benchmark.evaluation.segment_case import Segmentation, segment_case
from benchmark.evaluation.tested_cases import score_cases, segment_options
from benchmark.models.as_trained import TurnedStore, warn_of_unlike
from benchmark.models.trained_model import Trained, check_alike, load_trained
from benchmark.models.unseen_cases import unseen_cases
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.tests import TestFolder
from benchmark.training.device import chosen_device, device_text
from benchmark.training.precision import autocast, use_precision
from benchmark.training.provenance import environment, realised, test_conditions
from datasets.missingness.availability import Availability, store_availability
from datasets.missingness.degrade import Degradation, DegradedStore
from datasets.store.store import Store

EVALUATED = "evaluated"
"""The grid of the run folders that are made for model folders; and the mark of a test on other data."""


def evaluate_run(
    run: str,
    dataset: Path,
    runs: Path,
    profile: str | None,
    outside: str | None,
    device: str,
    ensemble: Sequence[str] = (),
) -> TestFolder:
    """Test a run on the cases of a store that it has not learnt from, and return the folder of the test.

    Args:
        run: path or name of a run folder, or path of a model folder.
        dataset: folder of a store, of any study with the run's modalities and classes. Of the data that the
            run was trained on, its test cases are taken; of others, all cases of patients it has not seen.
        runs: where runs are.
        profile: which modalities a test case has, drawn as for training; None: all that are there.
        outside: the quality in which modalities outside a subset are shown, such as ``noise-2``; None: as in
            the run, where they are absent by default.
        device: auto, cpu or cuda.
        ensemble: more runs, tested alike, whose probabilities are averaged with those of the first; the cases
            are those that none of them has learnt from, and the test is one of the first.

    Raises `InputError` for data that do not fit the run, or of which it knows every patient, and for runs
    that cannot be averaged.
    """
    target = torch.device(chosen_device(device))
    torch.set_flush_denormal(True)  # as training and its test do
    models = [load_trained(name, runs, target) for name in (run, *ensemble)]
    check_alike(models)
    _check_tested_alike(models)
    model = models[0]
    if outside and model.subset:
        raise InputError(
            f"--outside {outside} has no effect: {model.name} is dedicated to {'+'.join(model.subset)} and "
            "sees that alone: leave it out"
        )
    use_precision(model.precision(target))
    store = Store.open(dataset)
    _check_fits(model, store)
    cases, left_out = _unseen_by_all(models, store)
    warn_of_unlike(model, store, cases)
    table = store_availability(profile, store, cases) if profile else None
    cases = list(store.having(cases, model.subset))
    if table:
        having = table.showing(model.subset) if model.subset else table
        cases = [case for case in cases if case in having.cases]
    if not cases:
        raise InputError(f"{dataset}: no case has {'+'.join(model.subset or ())}, which {model.name} is for")
    settings = _settings(models, store, cases, left_out, table, outside)
    folder = _folder(model, runs)
    test = folder.test(f"on-{store.description.name}-{settings['hash']}")
    if test.done:
        return test
    with folder.lease() as mine:
        if not mine:
            raise InputError(f"{folder.path} is being worked on by another process: wait for it")
        test.begin(settings)
        where = environment(device_text(target), torch.get_num_threads(), model.precision(target))
        folder.note_session("computing", environment=where)
        _test(models, store, cases, table, test, target)
        folder.note_session("done")
    return test


def _folder(model: Trained, runs: Path) -> RunFolder:
    """The run's own folder; for a model folder, a run folder with its configuration and without weights."""
    if (model.path / "config.yaml").exists():
        return RunFolder(model.path)
    folder = RunFolder(runs / EVALUATED / f"{model.name}-{_weights_hash(model)[:10]}")
    if folder.state() == "absent":
        folder.write_config({**model.content, "grid": EVALUATED})
        folder.mark_trained()
    return folder


def _check_tested_alike(models: Sequence[Trained]) -> None:
    """Raise `InputError` unless the models are tested in the same way, on what they have not learnt from."""
    first = models[0]
    for model in models[1:]:
        for what in ("window", "precision"):
            if getattr(model.config, what) != getattr(first.config, what):
                raise InputError(
                    f"--ensemble {model.name}: its {what} is {getattr(model.config, what)}, that of "
                    f"{first.name} is {getattr(first.config, what)}: only runs tested alike can be averaged"
                )
        if model.subset != first.subset:
            raise InputError(f"--ensemble {model.name}: it is for another subset than {first.name}")


def _unseen_by_all(models: Sequence[Trained], store: Store) -> tuple[list[str], list[str]]:
    """Return the cases to test on, and those left out because one of the models has learnt from them."""
    found = [unseen_cases(model, store) for model in models]
    cases = [case for case in found[0][0] if all(case in of_model for of_model, _ in found)]
    if not cases:
        raise InputError(
            f"each case of {store.path} has taught one of the {len(models)} runs, as a fold's test cases "
            "teach the others: give data that none of them has seen"
        )
    return cases, sorted({case for _, left_out in found for case in left_out})


def _test(
    models: Sequence[Trained],
    store: Store,
    cases: Sequence[str],
    table: Availability | None,
    test: TestFolder,
    device: torch.device,
) -> None:
    model, *others = models
    settings = test.settings()["test"]
    options = {**segment_options(settings), "dedicated": model.subset}
    options["others"] = [other.backbone for other in others]
    degraded = test.path / "degraded"
    seen = _seen_as(store, table, degraded) if table else store
    shown = TurnedStore.of(seen, model)

    def segment(case: str) -> Segmentation:
        print(f"segmenting {case}", file=sys.stderr, flush=True)
        with autocast(model.precision(device), device):
            segmented = segment_case(model.backbone, shown, case, device=device, **options)
        return shown.turned_back(case, segmented)

    score_cases(test, seen, cases, segment, Scoring.of(settings), device=device)
    shutil.rmtree(degraded, ignore_errors=True)


def _seen_as(store: Store, table: Availability, cache: Path) -> Store:
    """The store with what the table leaves to each case, in the quality it says."""
    records = {
        case: replace(store.records[case], available=tuple(map(bool, row)))
        for case, row in zip(table.cases, table.table, strict=True)
    }
    limited = Store(**{**{f.name: getattr(store, f.name) for f in fields(Store)}, "records": records})
    return DegradedStore.of(limited, table.degraded, cache) if table.degraded else limited


def _check_fits(model: Trained, store: Store) -> None:
    for what in ("modalities", "classes", "spatial_dims", "normalise", "whole"):
        found, expected = (getattr(d, what) for d in (store.description, model.description))
        if found != expected:
            raise InputError(
                f"{store.path} has the {what} {found}, {model.name} was trained with {expected}: prepare the "
                f"study with a description that has these (bench data prepare STUDY --dataset FILE.yaml)"
            )
    if (grid := store.description.grid) != model.description.grid:
        said = [f"on the grid {name}" if name else "as they lay" for name in (grid, model.description.grid)]
        text = f"the images of {store.path} were taken {said[0]}, those of {model.name} {said[1]}"
        print(f"warning: {text}: resampling blurs, scores may differ for that alone", file=sys.stderr)
    if (box := store.preparation["box"]) != model.box:
        raise InputError(
            f"{store.path} was prepared with --box {box}, the data of {model.name} with {model.box}: prepare "
            f"the study with --box {model.box}"
        )


def _settings(
    models: Sequence[Trained],
    store: Store,
    cases: Sequence[str],
    left_out: Sequence[str],
    table: Availability | None,
    outside: str | None,
) -> dict[str, Any]:
    """The test's `test.yaml`: its settings and the data that it is made on."""
    model, *others = models
    config, data = model.config, model.content.get("data", {})
    if outside:
        quality = config.test.model_copy(update={"outside": str(Degradation.parse(outside))})
        config = config.model_copy(update={"test": quality})
    training, *further = (
        each.content.get("identity", {}).get("training") or _weights_hash(each) for each in models
    )
    settings = test_conditions(config, training, store, tuple(cases))
    evaluated: dict[str, Any] = {
        "run": model.name,
        "trained": {"dataset": model.description.name, "data": data.get("hash", "unknown")},
        "left_out": len(left_out),
    }
    if table:
        evaluated |= {"profile": table.profile, "availability": table.hash, "realised": realised(table)}
    about = store.description.name + (f" under {table.profile}" if table else "")
    if others:
        evaluated["ensemble"] = [other.name for other in others]
        about += f", mean of {len(models)} runs {digest(further)[:4]}"
    tested_on: dict[str, Any] = {
        "split": "unknown",
        "availability": {"profile": "unknown", "hash": "unknown", "nominal": None, "realised": {}},
        "cases": {"train": 0, "val": 0},
        **data,
    }
    tested_on |= {"hash": store.hash, "cases": {**tested_on["cases"], "test": len(cases)}}
    unknown_training = {"profile": "unknown", "objective": {"name": "published weights"}, "seed": 0}
    return {
        **settings,
        **({"config": unknown_training} if "imported" in model.content else {}),
        "hash": digest([settings["hash"], table and table.hash, *further]),
        "test": {**settings["test"], EVALUATED: about},
        "dataset": store.description.to_dict(),
        "data": tested_on,
        "evaluated": evaluated,
    }


def _weights_hash(model: Trained) -> str:
    hashed = sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(tensor.cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()
