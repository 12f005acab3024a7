"""Test a finished run again: on other data, or on cases that lack modalities or have them in poor quality.

    bench evaluate RUN --dataset data/brats2021
    bench evaluate RUN --dataset data/brats2020 --profile mr8852 --outside noise-2

The result is a run folder of its own in the grid `<grid>-evaluated`, with `cases.csv`, `examples.npz` and the
conditions of both training and test, so that reports read it like any run and say what it is. The run itself
is only read. Called again, it does what is missing.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from bench_errors import InputError
from benchmark.evaluation.metrics import POLICIES
from benchmark.evaluation.sliding_window import segment_case
from benchmark.evaluation.test_cases import Maps, score_cases
from benchmark.models.as_trained import TurnedStore, warn_of_unlike
from benchmark.models.trained_model import Trained, load_trained
from benchmark.models.unseen_cases import unseen_cases
from benchmark.run_folder.folder import RunFolder, write_atomically
from benchmark.training.device import chosen_device
from benchmark.training.precision import autocast
from benchmark.training.provenance import environment
from datasets.missingness.availability import Availability, store_availability
from datasets.missingness.degrade import Degradation, DegradedStore
from datasets.store.store import Store

KEPT = ("log.jsonl", "model.json")
"""What the result takes over from the run, if there: its curves and its size."""


def evaluate_run(
    run: str, dataset: Path, runs: Path, profile: str | None, outside: str | None, device: str
) -> RunFolder:
    """Test a run on the cases of a store that it has not learnt from, and return the folder of the result.

    Args:
        run: path or name of a run folder, or path of a model folder.
        dataset: folder of a store, of any study with the run's modalities and classes. Of the data that the
            run was trained on, its test cases are taken; of others, all cases of patients it has not seen.
        runs: where runs are, and the result will be.
        profile: which modalities a test case has, drawn as for training; None: all that are there.
        outside: the quality in which modalities outside a subset are shown, such as ``noise-2``; None: as in
            the run, where they are absent by default.
        device: auto, cpu or cuda.

    Raises `InputError` for data that do not fit the run, or of which it knows every patient.
    """
    place = torch.device(chosen_device(device))
    torch.set_flush_denormal(True)  # as training and its test do
    model = load_trained(run, runs, place)
    store = Store.open(dataset)
    _check_fits(model, store)
    cases, left_out = unseen_cases(model, store)
    warn_of_unlike(model, store, cases)
    table = store_availability(profile, store, cases) if profile else None
    content = _content(model, store, cases, left_out, table, outside)
    folder = RunFolder(runs / content["grid"] / f"{content['name']}-{content['hash']}")
    if folder.state() == "done":
        return folder
    folder.write_config(content)
    with folder.lease() as mine:
        if not mine:
            raise InputError(f"{folder.path} is being evaluated by another process: wait for it")
        _test(model, store, cases, table, folder, place)
    return folder


def _test(
    model: Trained,
    store: Store,
    cases: Sequence[str],
    table: Availability | None,
    folder: RunFolder,
    device: torch.device,
) -> None:
    precision = model.precision(device)
    where = environment(
        torch.cuda.get_device_name() if device.type == "cuda" else "cpu", torch.get_num_threads(), precision
    )
    write_atomically(folder.path / "environment.json", json.dumps(where, indent=1).encode())
    for name in KEPT:
        if (model.path / name).exists():
            shutil.copyfile(model.path / name, folder.path / name)
    test = folder.config()["config"]["test"]
    outside = Degradation.parse(test["outside"]) if test.get("outside") else None
    degraded = folder.path / "degraded"
    seen = _seen_as(store, table, degraded) if table else store
    shown = TurnedStore.of(seen, model)

    def segment(case: str) -> Maps:
        print(f"segmenting {case}", file=sys.stderr, flush=True)
        with autocast(precision, device):
            maps = segment_case(
                model.backbone, shown, case, window=model.config.window, device=device, outside=outside
            )
        return shown.turned_back(case, maps)

    score_cases(folder, seen, cases, segment, POLICIES[model.config.test.metrics], device=device)
    shutil.rmtree(degraded, ignore_errors=True)
    folder.mark_done()


def _seen_as(store: Store, table: Availability, cache: Path) -> Store:
    """The store with what the table leaves to each case, in the quality it says."""
    records = {
        case: replace(store.records[case], available=tuple(map(bool, row)))
        for case, row in zip(table.cases, table.table, strict=True)
    }
    limited = Store(**{**{f.name: getattr(store, f.name) for f in fields(Store)}, "records": records})
    return DegradedStore.of(limited, table.degraded, cache) if table.degraded else limited


def _check_fits(model: Trained, store: Store) -> None:
    for what in ("modalities", "classes", "spatial_dims"):
        found, expected = (getattr(d, what) for d in (store.description, model.description))
        if found != expected:
            raise InputError(
                f"{store.path} has the {what} {found}, {model.name} was trained with {expected}: prepare the "
                f"study with a description that has these (bench data prepare STUDY --dataset FILE.yaml)"
            )
    if (box := store.preparation["box"]) != model.box:
        raise InputError(
            f"{store.path} was prepared with --box {box}, the data of {model.name} with {model.box}: prepare "
            f"the study with --box {model.box}"
        )


def _content(
    model: Trained,
    store: Store,
    cases: Sequence[str],
    left_out: Sequence[str],
    table: Availability | None,
    outside: str | None,
) -> dict[str, Any]:
    """The result's `config.yaml`: the run's, with what was done otherwise in this test."""
    origin = model.content
    quality = str(Degradation.parse(outside)) if outside else model.config.test.outside
    about = store.description.name + (f" under {table.profile}" if table else "")
    identity = [origin["hash"], _weights_hash(model), store.hash, list(cases), table and table.hash, quality]
    test = {**origin["config"]["test"], "evaluated": about, **({"outside": quality} if quality else {})}
    data = origin.get("data") or {
        "split": "unknown",
        "cases": {"train": 0, "val": 0},
        "availability": {"profile": "unknown", "hash": "unknown", "nominal": None, "realised": {}},
    }
    unknown = {"profile": "unknown", "objective": {"name": "published weights"}, "seed": 0}
    return {
        **origin,
        "hash": sha256(json.dumps(identity).encode()).hexdigest()[:10],
        "name": "-".join(
            [origin["name"], "on", store.description.name, *([quality] if outside and quality else [])]
        ),
        "grid": f"{origin['grid']}-evaluated",
        "config": {
            **(unknown if "imported" in origin else {}),
            **origin["config"],
            "dataset": store.description.name,
            "test": test,
        },
        "dataset": store.description.to_dict(),
        "data": {**data, "hash": store.hash, "cases": {**data["cases"], "test": len(cases)}},
        "evaluated": {
            "run": model.name,
            "trained": {
                "dataset": model.description.name,
                "data": origin.get("data", {}).get("hash", "unknown"),
            },
            "left_out": len(left_out),
            **(
                {
                    "profile": table.profile,
                    "availability": table.hash,
                    "realised": {k: round(float(v), 4) for k, v in table.realised.items()},
                }
                if table
                else {}
            ),
        },
    }


def _weights_hash(model: Trained) -> str:
    digest = sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
