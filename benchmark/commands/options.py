"""Options that several commands have, and how their values are read."""

import os
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench_errors import InputError
from bench_registry import PLUGINS, Registry, load

GridOption = Annotated[str, typer.Option("--grid", help="Name of a shipped grid, or path of a grid file.")]
GridsOption = Annotated[
    list[str], typer.Option("--grid", help="Name or path of a grid; several: --grid A --grid B.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of the run folders.")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write.")]
DatasetOption = Annotated[
    str, typer.Option("--dataset", help="Name (see bench list), or path of a YAML file.")
]
StoreOption = Annotated[
    list[str] | None,
    typer.Option("--store", help="NAME=DIR: where a dataset's store is (default data/NAME)."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE for every run of the grid, such as train.epochs=20; repeatable."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Cases at a time (default: one a core).")
]
LauncherOption = Annotated[
    Literal["local", "slurm"], typer.Option("--launcher", help="This machine, or a SLURM cluster.")
]
SlurmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm", help="NAME=VALUE of sbatch: partition, time, gres, cpus-per-task, mem...; repeatable."
    ),
]
ParallelOption = Annotated[
    int | None, typer.Option("--parallel", min=1, help="Jobs of SLURM at a time (default: no limit).")
]
LogWeightsOption = Annotated[
    bool, typer.Option("--log-weights", help="Log the weights to W&B too (as WANDB_LOG_MODEL=end does).")
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="module:Class, a backbone or objective of yours; repeatable."),
]
ProbeSecondsOption = Annotated[
    float | None,
    typer.Option("--probe-seconds", min=0, help="Time steps and tests for so long (default: 60; 0: not)."),
]
PROBE_SECONDS = 60.0
RunArgument = Annotated[str, typer.Argument(help="Path or name of a run folder, or a model folder.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
ArgumentOption = Annotated[
    list[str] | None, typer.Option("--argument", help="NAME=VALUE for its class; repeatable.")
]


def register(plugins: list[str] | None) -> None:
    """Let each ``module:Class`` be imported, here and in the workers, and its class name stand for it here.

    Raises `InputError` for what cannot be imported, or is neither a backbone nor an objective.
    """
    for target in plugins or []:
        if ":" not in target:
            raise InputError(f"--plugin {target}: expected module:Class, such as my_package.my_module:MyNet")
        _registry_of(target).add(target.rpartition(":")[2], target)
        os.environ[PLUGINS] = ",".join(filter(None, (os.environ.get(PLUGINS), target)))


def _registry_of(target: str) -> Registry:
    """The registry of what a plugin's class is: of backbones or of objectives."""
    from backbones import BACKBONES
    from passion import OBJECTIVES

    found = load(target)
    from backbones.contract import Backbone
    from passion.objective import Objective

    for base, registry in ((Backbone, BACKBONES), (Objective, OBJECTIVES)):
        if isinstance(found, type) and issubclass(found, base):
            return registry
    raise InputError(
        f"--plugin {target} is neither a backbone nor an objective: derive it from "
        "backbones.contract.Backbone or passion.objective.Objective"
    )


def probe_end(seconds: float | None) -> float | None:
    """Return when timing has to end that begins now, by `time.monotonic`; None: nothing is to be timed."""
    seconds = PROBE_SECONDS if seconds is None else seconds
    return time.monotonic() + seconds if seconds else None


def ask_for_weights() -> None:
    """Set W&B's own variable, which reaches the workers wherever they run."""
    os.environ["WANDB_LOG_MODEL"] = "end"


def slurm_options(items: list[str] | None) -> dict[str, str]:
    """Read what was given as --slurm."""
    return texts("--slurm", items or [], "NAME=VALUE, such as partition=gpu or gres=gpu:1")


def stores_of(items: list[str] | None) -> dict[str, Path]:
    """Read what was given as --store: folders of stores by the names of their datasets."""
    return pairs("--store", items or [], "NAME=DIR, such as brats2020=/data/brats2020")


def pairs(option: str, items: list[str], expected: str) -> dict[str, Path]:
    """Read what was given to an option as NAME=PATH, each name once."""
    return {name: Path(text) for name, text in texts(option, items, expected).items()}


def texts(option: str, items: list[str], expected: str) -> dict[str, str]:
    """Read what was given to an option as NAME=TEXT, each name once; otherwise it was `expected`."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not (name and equals and text):
            raise InputError(f"{option} {item}: expected {expected}")
        if name in found:
            raise InputError(f"{option} {name} is given twice: name each at most once")
        found[name] = text
    return found
