"""The conditions a number was obtained under, as written into a run's folder.

`run_conditions` (config.yaml: what decides the numbers) and `environment` (environment.json: where it ran).
"""

import inspect
import json
import os
import platform
import subprocess
import sys
import time
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backbones import BACKBONES
from benchmark.config import RunConfig
from benchmark.metrics import POLICIES
from benchmark.record import write_atomically
from datasets.likeness import Likeness
from datasets.missing import Availability, store_availability
from datasets.split import Split, split
from datasets.store import CaseRecord, Store
from passion import OBJECTIVES

SPLIT_SEED = 1037
SPLIT = "split.json"
"""In a run folder: which cases it trained, validated and tested on."""
PRINTS = "learnt_from.json"
"""In a model folder: the hashes of the volumes that the model has learnt from, without names."""


def training_availability(config: RunConfig, store: Store, cases: tuple[str, ...]) -> Availability:
    """Who lacks what among the training cases: the run's profile, within what exists on disk."""
    return store_availability(config.profile, store, cases)


def run_split(config: RunConfig, store: Store) -> Split:
    """Training, validation and test cases: equal for all seeds, so that results can be paired by case."""
    return split(store.cases, store.description, config.split, SPLIT_SEED)


def write_learnt_from(folder: Path, store: Store, parts: Split) -> None:
    """Write `split.json`: the cases of each part, and of each the first digits of its volumes' SHA-256.

    With it a run is never tested on a patient that it has learnt from, whatever the data are called then.
    """
    content = {
        part: {case: short_prints(store.records[case]) for case in getattr(parts, part)}
        for part in ("train", "val", "test")
    }
    write_atomically(folder / SPLIT, json.dumps(content).encode())


def learnt_from(folder: Path) -> tuple[set[str], set[str]]:
    """Return names and `short_prints` of the cases that trained and validated a run.

    A model folder has the latter alone; both are empty where a run of an older version does not say.
    """
    if (folder / PRINTS).exists():
        return set(), set(json.loads((folder / PRINTS).read_text(encoding="utf-8")))
    if not (folder / SPLIT).exists():
        return set(), set()
    content = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
    seen = {**content["train"], **content["val"]}
    return set(seen), {digits for digits_of in seen.values() for digits in digits_of}


def short_prints(record: CaseRecord) -> list[str]:
    """Return the first 16 digits of the SHA-256 of each volume of a case."""
    return [digest[:16] for digest in record.prints.values()]


def run_conditions(config: RunConfig, grid: str, store: Store) -> dict[str, Any]:
    """Return the content of `config.yaml`: the configuration and all the report needs to know."""
    parts = run_split(config, store)
    table = training_availability(config, store, parts.train)
    policy = POLICIES[config.test.metrics]
    return {
        "hash": config.hash,
        "name": config.name,
        "grid": grid,
        "config": config.model_dump(),
        "dataset": store.description.to_dict(),
        "metrics": {"policy": policy.name, "text": policy.text},
        **plugins(config),
        "preparation": store.preparation,
        "images": Likeness.of(store, parts.train).to_dict(),
        "data": {
            "hash": store.hash,
            "split": config.split,
            "cases": {"train": len(parts.train), "val": len(parts.val), "test": len(parts.test)},
            "availability": {
                "profile": table.profile,
                "hash": table.hash,
                "nominal": table.nominal,
                "realised": {k: round(float(v), 4) for k, v in table.realised.items()},
                **_of_file(table),
            },
        },
    }


def _of_file(table: Availability) -> dict[str, Any]:
    """Say what a profile's file adds to the conditions; other profiles add nothing."""
    quality = {
        modality: {name: round(share, 4) for name, share in shares.items()}
        for modality, shares in table.quality.items()
    }
    content = {"definition": table.definition, "notes": list(table.notes), "degraded": quality}
    return {key: value for key, value in content.items() if value}


def plugins(config: RunConfig) -> dict[str, Any]:
    """Say where the run's code of other packages comes from; nothing for runs without."""
    found = {}
    for registry, section in ((BACKBONES, config.backbone), (OBJECTIVES, config.objective)):
        if registry.kind_of(section.name) == "plugin":
            file = inspect.getsourcefile(registry.get(section.name))
            digest = sha256(Path(file).read_bytes()).hexdigest() if file else ""
            found[registry.kind] = {"origin": registry.origin(section.name), "sha256": digest}
    return {"plugins": found} if found else {}


def environment(device: str, threads: int, precision: str) -> dict[str, Any]:
    """Return the content of `environment.json`: code, versions and hardware."""
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
        "threads": threads,
        "precision": precision,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _commit() -> tuple[str, bool]:
    """The commit of the code that runs, and whether it was changed since; empty outside a checkout."""
    root = Path(__file__).parent.parent
    try:
        head, status = (
            subprocess.run(["git", "-C", root, *args], capture_output=True, text=True, check=True).stdout
            for args in (
                ["rev-parse", "--short=10", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "", False
    return head.strip(), bool(status.strip())


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
