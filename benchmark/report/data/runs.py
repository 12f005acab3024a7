"""What a report is made of: runs as they lie in their folders, and the studies that they make up."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from bench_errors import InputError
from benchmark.evaluation.example_slices import FILE, Example, load
from benchmark.evaluation.metrics import policy_name
from benchmark.run_folder import sessions
from benchmark.run_folder.folder import RunFolder
from datasets.batches.split import repeats
from datasets.vocabulary import Description, profile_label


class Trained(NamedTuple):
    """The `epochs` of a training and the `minutes` they took, `seconds` of a step (median) and peak `gib`."""

    epochs: int
    minutes: float
    seconds: float
    gib: float


@dataclass(frozen=True)
class Run:
    """One training with one of its tests, as read.

    Attributes:
        path: the run folder.
        test: the folder with the test's scores: `path` itself in folders of before edition 2; None where no
            test has begun.
        folder: name of the run folder, followed by that of the test where the folder has several; it tells
            all collected runs apart.
        state: `done`, `running`, `failed` or `partial`.
        reason: why it is not done; empty for one that is done or running.
        content: of `config.yaml`, with what the test's `test.yaml` says of itself.
        environments: where and with which code its sessions computed, each once; none before it began.
        model: of `model.json`: `parameters` (a number) and `gflops`; empty where the run has not said.
        method: what the tables call it; empty for a run that is not done.
        parts: of a row that stands for the networks dedicated to each subset, their runs; else empty.
        variant: by what it stands apart from runs of the same dataset and profile (`split_by`); else empty.
    """

    path: Path
    test: Path | None
    folder: str
    state: str
    reason: str
    content: dict[str, Any]
    environments: tuple[dict[str, Any], ...]
    model: dict[str, Any]
    method: str = ""
    variant: str = ""
    parts: "tuple[Run, ...]" = ()

    @property
    def is_old(self) -> bool:
        """Whether it is of before edition 2, which did not record all that decides the numbers."""
        return not {"identity", "imported"} & set(self.content)

    @property
    def computed(self) -> str:
        """The file in its folder that says where each session computed."""
        return "environment.json" if self.is_old else "sessions.jsonl"

    @property
    def grid(self) -> str:
        """The grid that it is of: the name of the folder it lies in."""
        return self.path.parent.name

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration."""
        return dict(self.content["config"])

    @property
    def method_config(self) -> dict[str, Any]:
        """Its configuration; that of imported weights says which they are, as their method is not known."""
        imported = self.content.get("imported")
        return {**self.config, "weights": imported["sha256"][:8]} if imported else self.config

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of `log.jsonl`, read anew each time: those of a thousand runs would fill the memory.

        None of a row for several networks.
        """
        return [] if self.parts else guarded(self.path, RunFolder(self.path).log)

    @cached_property
    def trained(self) -> Trained:
        """What its epochs took."""

        def read() -> Trained:
            timings = [line["timing"] for line in self.log]
            return Trained(
                len(timings),
                sum(timing["seconds"] for timing in timings) / 60,
                median(timing["step"] for timing in timings) if timings else math.nan,
                max((timing["peak_gib"] for timing in timings), default=math.nan),
            )

        return guarded(self.path, read)

    @property
    def epochs(self) -> str:
        """``3/12``: epochs trained of those asked for."""
        return f"{self.trained.epochs}/{self.content['config']['train'].get('epochs', '?')}"

    @property
    def minutes(self) -> str:
        """How long its training took, as printed."""
        return f"{self.trained.minutes:.1f}"

    @property
    def examples(self) -> list[Example]:
        """The slices it kept, read anew each time; none in runs of older versions and of several networks."""
        return guarded(self.path, lambda: load(self.test / FILE) if self.test and not self.parts else [])

    @property
    def fold(self) -> str:
        """The fold, `fold0of5`, or published split, `uhved1`, that it was tested on; empty without one."""
        split = str(self.config.get("split", "auto"))
        return split if repeats(split) else ""

    @property
    def metric_policy(self) -> str:
        """The rules of its metrics: ``brats-2022``, ``passion, per volume``."""
        recorded = self.content["metrics"]
        voxels = "distances in voxels" if self._in_voxels else ""
        return ", ".join(filter(None, (policy_name(recorded["policy"]), recorded.get("slices"), voxels)))

    @property
    def metric_text(self) -> str:
        """The same rules in sentences."""
        name, text = (self.content["metrics"][key] for key in ("policy", "text"))
        text = text.replace(f"policy {name} ", f"policy {policy_name(name)} ")
        return f"{text} Distances are in voxels." if self._in_voxels else text

    @property
    def _in_voxels(self) -> bool:
        """Whether its test is of before edition 2, which took every voxel for 1 mm, and that was wrong."""
        edges = [edge for axis in self.content.get("images", {}).get("spacing", []) for edge in axis]
        return self.test == self.path and any(edge != 1 for edge in edges)

    @property
    def commit(self) -> str:
        """The commits it ran at; see `sessions`."""
        return sessions.commits(self.environments)

    @property
    def hardware(self) -> str:
        """What it ran on; see `sessions`."""
        return sessions.hardware(self.environments)

    @property
    def precision(self) -> str:
        """The precision as it was computed."""
        return sessions.precisions(self.environments)


@dataclass(frozen=True)
class Study:
    """The finished runs of one dataset and profile, in the order of the tables' rows.

    Attributes:
        dataset: its name.
        profile: as the runs' `config.yaml` has it: a name, or a file with the hash of its content.
        variant: see `Run`.
        label: what the profile is called where no other of the dataset is: a file's name without its folder.
        runs: its runs.
    """

    dataset: str
    profile: str
    variant: str
    label: str
    runs: tuple[Run, ...]

    @property
    def description(self) -> Description:
        """What the runs' `config.yaml` say of the dataset."""
        return Description.from_dict(self.runs[0].content["dataset"])

    @property
    def every_run(self) -> list[Run]:
        """All its runs, each network of a row by itself."""
        return [part for run in self.runs for part in run.parts or (run,)]

    @property
    def methods(self) -> list[str]:
        """Titles of the methods, each once."""
        return list(dict.fromkeys(run.method for run in self.runs))

    def of_methods(self, methods: Sequence[str]) -> "Study":
        """Return the study with the runs of these methods alone."""
        return replace(self, runs=tuple(run for run in self.runs if run.method in methods))

    def first_run(self, method: str) -> Run:
        """The method's run with the lowest seed: the one whose slices are shown."""
        return next(run for run in self.runs if run.method == method)

    @property
    def title(self) -> str:
        """What a column or a section is called: ``mr2468``, or ``mr2468, data d474`` where split."""
        return f"{self.label}, {self.variant}" if self.variant else self.label

    @property
    def name(self) -> str:
        """A name for files, such as ``phantom-mr2468``."""
        profile = self.profile
        if "#" in profile or profile.startswith("csv:"):
            label = "csv" if profile.startswith("csv:") else profile_label(profile)
            profile = f"{label}-{self.runs[0].content['data']['availability']['hash']}"
        return "-".join([self.dataset, profile, *self.variant.replace(",", "").split()])


def guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Return what `read` finds in a run folder; raise `InputError` where that is damaged."""
    try:
        return read()
    except InputError:  # has said so already
        raise
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path} is damaged ({' '.join(str(error).split())}): remove the folder and run it again"
        ) from None
