"""The conditions a number was obtained under, as written into a run's folder.

`run_conditions` (config.yaml: what decides the numbers) and `environment` (environment.json: where it ran).
"""

import inspect
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
from benchmark.config.run_config import RunConfig
from benchmark.evaluation.metrics import POLICIES
from benchmark.training.inputs import Inputs
from datasets.missingness.availability import Availability
from datasets.preparation.likeness import Likeness
from passion import OBJECTIVES


def run_conditions(inputs: Inputs, grid: str) -> dict[str, Any]:
    """Return the content of `config.yaml`: the configuration and all the report needs to know."""
    config, store, parts, table = inputs.config, inputs.store, inputs.split, inputs.table
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
    root = Path(__file__).parents[2]
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
