"""The conditions that a number was obtained under, as a run folder records them.

`training_conditions` is the content of `config.yaml`, `test_conditions` that of a test's `test.yaml`, and
`environment` says in `sessions.jsonl` where a session computes and with which code.
"""

import inspect
import os
import platform
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from backbones import BACKBONES, kernels
from bench_errors import InputError
from benchmark.config.run_config import RunConfig, digest
from benchmark.evaluation.metrics import Scoring
from benchmark.training.inputs import Inputs
from datasets.missingness.availability import Availability
from datasets.preparation.likeness import Likeness
from datasets.store.store import Store
from passion import OBJECTIVES

COMMIT = "commit.txt"
"""What a wheel and an sdist say it in, as setup.py wrote it."""


def identity(inputs: Inputs) -> dict[str, str]:
    """Return the hashes of all that can change the weights; `training` is that of all of them together.

    `options`: the configuration with the study's description and the teacher's options. `data`: what the
    store holds. `split`: who trains, validates and tests. `table`: who lacks what in training. `plugins`: the
    source of code of other packages; that of a pre-training is part of the identity of that run.
    """
    parts, own = inputs.split, inputs.config.model_copy(update={"pretrain": None})
    hashes = {
        "options": inputs.config.hash,
        "data": inputs.store.hash,
        "split": digest([parts.train, parts.val, parts.test]),
        "table": inputs.table.hash,
        "plugins": digest(plugins(own)),
    }
    return {"training": digest(hashes), **hashes}


def check_identity(recorded: dict[str, Any], inputs: Inputs, folder: Path) -> None:
    """Raise `InputError` where a run was begun with other inputs than it has now, naming what differs."""
    if "identity" not in recorded:
        raise InputError(
            f"{folder} was begun by an earlier edition, which did not record all that decides its numbers: "
            "run its grid again, which begins a new folder"
        )
    if recorded["hash"] != inputs.config.hash:
        raise InputError(
            f"{folder}/config.yaml is not the configuration of its hash {recorded['hash']}: it was edited; "
            "restore it, or remove the run folder to start afresh"
        )
    begun = {**recorded["identity"], **_pretraining(recorded)}
    for name, now in {**identity(inputs), **_pretraining(plugins(inputs.config))}.items():
        if name != "training" and begun.get(name, now) != now:
            sources = {"data": f"the store {inputs.store.path}", "table": f"profile {inputs.config.profile}"}
            raise InputError(
                f"{folder} was begun with {name} {begun[name]}, now "
                f"{sources.get(name, 'it')} has {now}: restore what it was, or remove the run folder to "
                "start afresh"
            )


def training_conditions(inputs: Inputs, grid: str) -> dict[str, Any]:
    """Return the content of `config.yaml`: the configuration and all that the report needs to know."""
    config, store, parts, table = inputs.config, inputs.store, inputs.split, inputs.table
    return {
        "hash": config.hash,
        "name": config.name,
        "grid": grid,
        "identity": identity(inputs),
        "config": config.model_dump(exclude={"test"}),
        "dataset": store.description.to_dict(),
        **plugins(config),
        "preparation": store.preparation,
        "images": Likeness.of(store, parts.train).to_dict(),
        "data": {
            "hash": store.hash,
            "split": config.split,
            "cases": {"train": len(table.cases), "val": len(parts.val), "test": len(inputs.tested)},
            "availability": {
                "profile": table.profile,
                "hash": table.hash,
                "nominal": table.nominal,
                "realised": realised(table),
                **_of_file(table),
            },
        },
    }


def test_conditions(config: RunConfig, training: str, store: Store, cases: tuple[str, ...]) -> dict[str, Any]:
    """Return the content of a test's `test.yaml`.

    Args:
        config: the run, with the settings of the test.
        training: hash of the training that is tested.
        store: what the test's cases are of.
        cases: their names.
    """
    settings = {**config.test.model_dump(), "window": config.window}
    dims = store.description.spatial_dims
    return {
        "hash": digest([training, settings, store.hash, cases]),
        "training": training,
        "test": settings,
        "metrics": Scoring.of(settings).conditions(dims),
    }


def realised(table: Availability) -> dict[str, float]:
    """Return the share of the cases that lack each modality, rounded as it is shown."""
    return {modality: round(float(rate), 4) for modality, rate in table.realised.items()}


def _of_file(table: Availability) -> dict[str, Any]:
    """Say what a profile's file adds to the conditions; other profiles add nothing."""
    quality = {
        modality: {name: round(share, 4) for name, share in shares.items()}
        for modality, shares in table.quality.items()
    }
    facts = {"definition": table.definition, "notes": list(table.notes), "degraded": quality}
    return {key: value for key, value in facts.items() if value}


def plugins(config: RunConfig) -> dict[str, Any]:
    """Say where the run's code of other packages comes from; nothing for runs without."""
    named = {"backbone": (BACKBONES, config.backbone), "objective": (OBJECTIVES, config.objective)}
    if config.pretrain:
        named["pretraining"] = OBJECTIVES, config.pretrain.objective
    sources = {}
    for kind, (registry, section) in named.items():
        if registry.kind_of(section.name) == "plugin":
            file = inspect.getsourcefile(registry.get(section.name))
            source = sha256(Path(file).read_bytes()).hexdigest() if file else ""
            sources[kind] = {"origin": registry.origin(section.name), "sha256": source}
    return {"plugins": sources} if sources else {}


def _pretraining(conditions: dict[str, Any]) -> dict[str, str]:
    """The source of a pre-training's code by itself; nothing where the conditions do not say it."""
    said = conditions.get("plugins", {}).get("pretraining")
    return {"source of the pretraining": said["sha256"]} if said else {}


def environment(device: str, threads: int, precision: str, devices: int = 1) -> dict[str, Any]:
    """Say where this process computes: code, versions, hardware, and the precision as it is computed."""
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "version": version("passion-bench"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "monai", "numpy", "scipy")},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "device": device,
        "devices": devices,
        "threads": threads,
        "precision": precision,
        "kernels": device != "cpu" and kernels.on(),
        "tf32": device != "cpu" and torch.backends.cudnn.allow_tf32,
    }


def _commit() -> tuple[str, bool]:
    """The commit of the code that runs, and whether it was changed since; empty where nothing says it."""
    root = Path(__file__).parents[2]
    if (root / ".git").exists():  # not of a wheel that lies within a checkout of something else
        describe = ["describe", "--always", "--exclude=*", "--abbrev=10", "--dirty= modified"]
        command = ["git", "-C", str(root), *describe]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return "", False
    else:
        said = (root / COMMIT).read_text(encoding="utf-8") if (root / COMMIT).exists() else ""
    head, *modified = said.split() or [""]
    return head, bool(modified)


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
