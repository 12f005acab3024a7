"""What was timed on this machine, kept for the next time: ``Measured(slot).steps(step_setting(...))``.

    measured = Measured(Slot("cuda", 8))
    measured.measure({setting: {4: 5, 1: 5}}, print)        # what is lacking, each in a process of its own
    measured.steps(setting)

Many runs share a `Setting`: what decides how long a step or the test of a case takes. Its times belong to a
machine rather than to a grid or its runs, so they lie in the user's cache folder, one file for each setting,
hardware, versions of libraries and code; a file of another machine or version is never taken.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any, Literal

from benchmark.config.run_config import RunConfig
from benchmark.launch.devices import Slot
from benchmark.launch.worker import malloc_variables
from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.reasons import OUT_OF_MEMORY, error_reason, memory_kills
from benchmark.speed import probe
from benchmark.speed.bench import alone, device_name
from benchmark.training.provenance import environment, plugins
from datasets.vocabulary import Description

ROOMS = ("backbones", "benchmark", "datasets", "passion")
MACHINE = ("platform", "cpu", "cores", "device", "threads", "python", "torch", "monai", "numpy", "scipy")


@dataclass(frozen=True)
class Setting:
    """What decides how long a training step takes (`kind` steps), or the test of a case.

    `facts` say it, and two settings with the same are equal; the rest is an example to measure it with.
    `shape`: of a training or a test case, in voxels.
    """

    kind: Literal["steps", "case"]
    facts: str
    config: RunConfig = field(compare=False)
    description: Description = field(compare=False)
    shape: tuple[int, ...] = field(compare=False)


def step_setting(config: RunConfig, description: Description, shape: tuple[int, ...]) -> Setting:
    """Return the setting of a run's training steps.

    Weights and temperatures of an objective (its real numbers) are no part of it; nor is the profile: times
    are kept by the number of modalities, and weighed with what a profile leaves of them.
    """
    objective = config.objective.model_dump(exclude={"warmup_epochs"})
    facts = {
        "objective": {k: v for k, v in objective.items() if not isinstance(v, float)},
        "batch_size": config.train.batch_size,
        "augment": config.train.augment,
        "recompute": config.train.recompute,
        "centred": config.train.label_share > 0,
    }
    return _setting("steps", config, description, shape, facts)


def case_setting(config: RunConfig, description: Description, shape: tuple[int, ...]) -> Setting:
    """Return the setting of a run's test."""
    facts = {"window": config.window, "policy": config.test.policy, "outside": config.test.outside}
    return _setting("case", config, description, shape, facts)


def _setting(
    kind: Literal["steps", "case"],
    config: RunConfig,
    description: Description,
    shape: tuple[int, ...],
    facts: dict[str, Any],
) -> Setting:
    everything = {
        "dataset": config.dataset,
        "modalities": len(description.modalities),
        "classes": len(description.classes),
        "spatial_dims": description.spatial_dims,
        "shape": shape,
        "backbone": config.backbone.model_dump(),
        "crop": config.train.crop,
        "precision": config.precision,
        **facts,
        **plugins(config),
    }
    return Setting(kind, json.dumps(everything, sort_keys=True), config, description, shape)


@dataclass(frozen=True)
class Steps:
    """Timed training steps.

    Attributes:
        seconds: number of modalities of a sample -> those of each step.
        peak_bytes: most memory of the process, or of its GPU.
        start: seconds from the start of a process to its first step.
    """

    seconds: dict[int, list[float]]
    peak_bytes: int
    start: float


@dataclass(frozen=True)
class Case:
    """The timed test of a case: seconds of the network and of the metrics, its windows and voxels."""

    segment: float
    score: float
    windows: int
    voxels: int
    peak_bytes: int

    def seconds(self, windows: int, voxels: int) -> float:
        """Return how long a test of so many windows and voxels takes."""
        return self.segment * windows / self.windows + self.score * voxels / self.voxels


class Measured:
    """The times that are known of one kind of place for a run, a `Slot`."""

    def __init__(self, slot: Slot):
        self._slot = slot
        self._known: dict[Setting, dict[str, Any]] = {}

    def steps(self, setting: Setting) -> Steps | None:
        """Return what was timed of a setting of steps, if anything."""
        found = self._read(setting)
        if not found:
            return None
        return Steps(**{**found, "seconds": {int(k): v for k, v in found["seconds"].items()}})

    def case(self, setting: Setting) -> Case | None:
        """Return what was timed of a setting of a case, if anything."""
        found = self._read(setting)
        return Case(**found) if found else None

    def time_steps(self, setting: Setting, counts: dict[int, int]) -> str:
        """Time so many steps for each number of modalities; return why that was not possible, if so."""
        task = (setting.config, setting.description, setting.shape, counts, self._slot.device)
        found = self._attempt(probe.time_steps, *task, self._slot.threads, time())
        if isinstance(found, str):
            return found
        known = self.steps(setting)
        if known:
            found["seconds"] = known.seconds | found["seconds"]
            found["peak_bytes"] = max(known.peak_bytes, found["peak_bytes"])
        self._write(setting, found)
        return ""

    def time_case(self, setting: Setting, shape: tuple[int, ...]) -> str:
        """Time the test of a case of that shape, the setting's or less; return why it was not possible."""
        task = (setting.config, setting.description, shape, self._slot.device, self._slot.threads)
        found = self._attempt(probe.time_case, *task)
        if isinstance(found, str):
            return found
        self._write(setting, found)
        return ""

    def _attempt(self, task: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any] | str:
        """Run a task alone, with the variables of a worker in the slot; return the reason where it fails."""
        killed, before = memory_kills(), dict(os.environ)
        os.environ.update(malloc_variables() | self._slot.environment())
        try:
            return dict(alone(task, *arguments))
        except BrokenProcessPool:
            out_of_memory = memory_kills() > killed
            return f"{OUT_OF_MEMORY}: the system killed its process" if out_of_memory else "its process died"
        except Exception as error:  # whatever a network says to a setting that it cannot run
            return error_reason(error)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _read(self, setting: Setting) -> dict[str, Any] | None:
        if setting not in self._known:
            with suppress(OSError, ValueError, KeyError, TypeError):
                self._known[setting] = json.loads(self._path(setting).read_text(encoding="utf-8"))["found"]
        return self._known.get(setting)

    def _write(self, setting: Setting, found: dict[str, Any]) -> None:
        """Keep what was found; where the cache cannot be written, for this process."""
        self._known[setting] = found
        content = {"setting": json.loads(setting.facts), "machine": machine(self._slot), "found": found}
        path = self._path(setting)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(content, indent=1).encode())

    def _path(self, setting: Setting) -> Path:
        text = json.dumps([setting.kind, setting.facts, machine(self._slot)], sort_keys=True)
        return cache_folder() / f"{setting.kind}-{sha256(text.encode()).hexdigest()[:16]}.json"


def cache_folder() -> Path:
    """Where times are kept: `passion-bench/probe` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "passion-bench" / "probe"


@cache
def machine(slot: Slot) -> dict[str, Any]:
    """Return what of this machine and its software changes a time."""
    found = environment(device_name(slot.device), slot.threads, "")
    return {**{name: found[name] for name in MACHINE}, "code": _code()}


def _code() -> str:
    """First digits of the SHA-256 of the suite's code, so that a change of it is timed again."""
    root, digest = Path(__file__).parent.parent.parent, sha256()
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
