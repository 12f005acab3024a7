"""A run's network as a folder to publish: ``bench weights export RUN --out FOLDER``.

The folder is laid out as model hubs expect: `model.safetensors`, `config.json` (what the network and its
training were), `README.md` (the model card). `learnt_from.json` holds hashes of the volumes that the network
has learnt from, without names of cases, so that `bench evaluate` can leave those patients out. Wherever a
command takes RUN to predict or evaluate with, the folder can stand.

    python -m benchmark.models.export FOLDER FILE.npy     # what the folder's network makes of a test volume
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from bench_edges import space_of
from bench_errors import InputError
from bench_registry import unknown
from benchmark.evaluation.sliding_window import class_sums
from benchmark.models.model_card import model_card
from benchmark.models.trained_model import Trained, load_trained, own_test
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.model_folder import CARD, MODEL, MODEL_CONFIG, MODEL_FILES, PRINTS, checksum
from benchmark.run_folder.stored_weights import FORMS, pack, unpack
from benchmark.training.seen_cases import learnt_from
from datasets.vocabulary import subsets
from passion_bench import path_variables

TOLERANCE = 1e-5
"""Probabilities of the folder's network, in another process, may differ from the run's by this much."""


def export_model(run: str, out: Path, runs: Path, licence: str, stored: str = "fp32") -> str:
    """Write the model folder of a run, and check that another process predicts with it what it should.

    Returns what the way of storing the weights has changed, in words; empty for `fp32`.

    Args:
        run: path or name of a run folder.
        out: the folder to write; a model that is there is replaced.
        runs: folder of the run folders.
        licence: of the weights, an identifier that model hubs know, such as ``cc-by-4.0``.
        stored: as what the weights are stored, one of `stored_weights.FORMS`.

    Raises `InputError` for another form, for a model folder, where the run has no weights,
    `out` cannot be written, or the check
    fails; then nothing has changed.
    """
    if stored not in FORMS:
        raise InputError(f"--store-as: {unknown('form', stored, list(FORMS))}")
    model = load_trained(run, runs)
    if (model.path / MODEL_CONFIG).is_file():
        raise InputError(f"{run} is a model folder already: send it with bench weights push, or give its run")
    change = _round(model, stored)
    beside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        _write(model, beside, licence, stored, change)
        _check(model, beside)
        out.mkdir(parents=True, exist_ok=True)
        for name in MODEL_FILES:
            (out / name).unlink(missing_ok=True)
            if (beside / name).exists():
                (beside / name).rename(out / name)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): choose another --out") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return change


def _round(model: Trained, stored: str) -> str:
    """Give the network the weights that it will have from the folder; say what that has changed."""
    if stored == "fp32":
        return ""
    before, whole = model.backbone.state_dict(), _probabilities(model)
    rounded = unpack(pack(before, stored), stored)
    away = max(float((rounded[name] - before[name]).abs().max()) for name in before if before[name].numel())
    model.backbone.load_state_dict(rounded)
    now = _probabilities(model)
    other = float((now.argmax(axis=1) != whole.argmax(axis=1)).mean())
    return (
        f"weights differ from the tested ones by {away:.2g} at most; in a window of noise probabilities by "
        f"{float(np.abs(now - whole).max()):.2g} at most, and {100 * other:.2g} % of voxels get another class"
    )


def _write(model: Trained, folder: Path, licence: str, stored: str, change: str) -> None:
    packed = pack(model.backbone.state_dict(), stored)
    weights = save({k: v.contiguous().clone() for k, v in packed.items()}, metadata={"format": "pt"})
    (folder / MODEL).write_bytes(weights)
    prints = learnt_from(model.path)[1]
    if prints:
        (folder / PRINTS).write_text(json.dumps(sorted(prints)), encoding="utf-8")
    content = {
        **model.content,
        "weights": {
            "sha256": checksum(folder / MODEL),
            **({"learnt_from_sha256": checksum(folder / PRINTS)} if prints else {}),
            "parameters": sum(p.numel() for p in model.backbone.parameters()),
            **({"stored": stored, "change": change} if change else {}),
        },
        "environments": RunFolder(model.path).environments(),
    }
    (folder / MODEL_CONFIG).write_text(json.dumps(content, indent=1), encoding="utf-8")
    (folder / CARD).write_text(model_card(content, _scores(model.path), licence), encoding="utf-8")


def _scores(run: Path) -> Path:
    """The scores of the run's own test, where it is done; of before edition 2, beside its configuration."""
    test = own_test(RunFolder(run))
    return test.cases if test and test.done else run / "cases.csv"


def _check(model: Trained, folder: Path) -> None:
    with TemporaryDirectory() as place:
        file = Path(place) / "probabilities.npy"
        command = [sys.executable, "-m", "benchmark.models.export", str(folder), str(file)]
        environment = {**os.environ, **path_variables()}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            raise InputError(f"a new process cannot use the model folder ({reason}): report this")
        found, expected = np.load(file), _probabilities(model)
    if np.abs(found - expected).max() > TOLERANCE:
        raise InputError(
            "a new process predicts otherwise with the model folder "
            f"(by {np.abs(found - expected).max():.2g}): report this"
        )


def _probabilities(model: Trained) -> NDArray[np.float32]:
    """The network's probabilities [S, C, *space] for every subset of a random window, in fp32."""
    description = model.description
    edges = space_of(model.config.window, description.spatial_dims)
    volumes = torch.randn(len(description.modalities), *edges, generator=torch.Generator().manual_seed(0))
    every = subsets(description.modalities)
    sums = class_sums(
        model.backbone, volumes, every, description.modalities, model.config.window, torch.device("cpu")
    )
    return np.asarray(sums / sums.sum(dim=1, keepdim=True))


def main() -> None:
    """Save what the network of the model folder in the first argument predicts to the file in the second."""
    folder, file = sys.argv[1:]
    np.save(file, _probabilities(load_trained(folder, Path("runs"))))


if __name__ == "__main__":
    main()
