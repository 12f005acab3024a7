"""From a grid to finished run folders: `execute_grid`, and `print_status` of what is there.

failed = execute_grid(load_grid("demo"), Path("runs"), stores={}, device="auto", workers=None, track=True)
"""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench_errors import InputError
from benchmark.config.grid import Grid
from benchmark.config.run_config import RunConfig
from benchmark.launch.cluster import Cluster
from benchmark.launch.devices import available_slots
from benchmark.launch.local import launch
from benchmark.launch.queue import job_of, queued
from benchmark.launch.slurm import submit, wait
from benchmark.launch.stores import find_stores
from benchmark.launch.view import duration
from benchmark.launch.worker import Job
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.folder import STATES, RunFolder
from benchmark.run_folder.lease import SILENT_SECONDS
from benchmark.tracking.uploaded import waiting_text
from benchmark.training.build import check_sizes
from benchmark.training.inputs import Inputs
from benchmark.training.provenance import run_conditions
from datasets.store.store import Store
from datasets.vocabulary import Description


def execute_grid(
    grid: Grid,
    runs: Path,
    stores: dict[str, Path],
    device: str,
    workers: int | None,
    track: bool,
    gpus: str | None = None,
    runs_per_gpu: int | None = None,
    retries: int = 1,
    cluster: Cluster | None = None,
    cadence: Cadence = AUTOMATIC,
    devices: int = 1,
) -> int:
    """Execute what is missing of `grid` under `runs`; return how many of its runs are not done.

    Args:
        grid: what to run.
        runs: where the grid's folder is or will be.
        stores: store folders by dataset name; others are looked for at `data/NAME`.
        device: `auto`, `cpu` or `cuda`.
        workers: runs at a time on a CPU; None: the number of cores.
        track: log to Weights & Biases.
        gpus: which GPUs, such as `0,1`; None: all that are visible.
        runs_per_gpu: runs at a time on each GPU; None: one.
        retries: how often a run that dies is tried again from its checkpoint.
        cluster: where to submit the runs, instead of executing them here; if it is not to be waited for, they
            do not count as not done.
        cadence: how often a run writes a checkpoint.
        devices: GPUs of each run, or processes on a CPU, which share its batches.

    Raises `InputError` before anything starts if a store is missing or has changed, a network cannot be
    built or take its windows, CUDA or a GPU is not there, or an option has no effect on the device.
    """
    console = Console(stderr=True)
    folders = {config: run_folder(grid, config, runs) for config in grid.configs}
    _name_teachers(grid, console)
    missing = {config: folder for config, folder in folders.items() if folder.state() != "done"}
    if missing:
        if cluster:
            slots = [replace(cluster.slot(device), devices=devices)]
        else:
            slots = available_slots(device, len(missing), workers, gpus, runs_per_gpu, devices)
        check_devices(missing, devices)
        located = find_stores(grid, runs, stores, console)
        check_networks(missing, located)
        jobs = [_job(grid, config, runs, located[config.dataset], cadence) for config in missing]
        if cluster:
            submit(jobs, grid.name, cluster, slots[0], track, console, retries)
            if not cluster.wait:
                return 0
            wait(jobs, grid.name, console)
        else:
            launch(jobs, slots, track, console, retries)
    states = [folder.state() for folder in folders.values()]
    console.print(
        ", ".join(f"{states.count(s)} {s}" for s in STATES if s in states) + f" of grid {grid.name}"
    )
    for folder, state in zip(folders.values(), states, strict=True):
        if note := _note(folder, state):
            console.print(f"{state} {folder.path.name}: {note}", soft_wrap=True, markup=False)
    if track and (text := waiting_text(folders.values())):
        console.print(text, soft_wrap=True, markup=False)
    return sum(state != "done" for state in states)


def print_status(grid: Grid, runs: Path) -> None:
    """Print a table of the grid's runs and their states on standard output."""
    folders = [run_folder(grid, config, runs) for config in grid.configs]
    states = [folder.state() for folder in folders]
    console = Console(width=None if Console().is_terminal else 200)
    jobs = _jobs(grid, folders)
    table = Table("run", "state", "epochs", *(["job"] if jobs else []), "by, or why")
    for folder, state, config in zip(folders, states, grid.configs, strict=True):
        job = [jobs.get(folder, "")] if jobs else []
        epochs = f"{folder.epochs()}/{config.train.epochs}"
        table.add_row(folder.path.name, state, epochs, *job, _note(folder, state))
    console.print(table)
    _name_teachers(grid, console)
    console.print(", ".join(f"{states.count(s)} {s}" for s in STATES if s in states))


def _note(folder: RunFolder, state: str) -> str:
    """Who runs it, or why it has failed."""
    if state != "running":
        return folder.reason()
    holder, silent = str(folder.holder() or ""), folder.silence()
    return f"{holder}, silent for {duration(silent)}" if silent > SILENT_SECONDS else holder


def _jobs(grid: Grid, folders: list[RunFolder]) -> dict[RunFolder, str]:
    """Return what has become of the jobs of those runs that were submitted to a cluster and are not done."""
    jobs = {folder: job_of(folder.path) for folder in folders if folder.state() != "done"}
    jobs = {folder: job for folder, job in jobs.items() if job}
    if not jobs:
        return {}
    try:
        there = queued(grid.name)
    except InputError as error:
        print(f"{error}: what stands here is from the run folders alone", file=sys.stderr)
        return jobs
    return {folder: f"{job} {there.get(job, 'over')}" for folder, job in jobs.items()}


def run_folder(grid: Grid, config: RunConfig, runs: Path) -> RunFolder:
    """Return the folder of one run of a grid."""
    return RunFolder(runs / grid.name / config.folder)


def _name_teachers(grid: Grid, console: Console) -> None:
    if grid.teachers:
        names = ", ".join(config.folder for config in grid.teachers)
        console.print(f"grid {grid.name} trains teachers of its own first: {names}", soft_wrap=True)


def begin_run(
    grid: Grid, config: RunConfig, runs: Path, store_path: Path
) -> tuple[RunFolder, dict[str, Any]]:
    """Return a run's folder, with its `config.yaml`, and the content of that.

    Raises `InputError` where the run was begun with other data than the store's, or cannot be written.
    """
    folder = run_folder(grid, config, runs)
    folder.check_writable()
    store = Store.open(store_path)
    conditions = run_conditions(Inputs.of(config, store), grid.name)
    if folder.state() == "absent":
        folder.write_config(conditions)
    elif (begun := folder.config()["data"]["hash"]) != store.hash:
        raise InputError(
            f"{folder.path} was begun with data {begun}, the store {store_path} now holds {store.hash}: "
            "restore the data, or remove the run folder to start afresh"
        )
    return folder, conditions


def _job(grid: Grid, config: RunConfig, runs: Path, store_path: Path, cadence: Cadence) -> Job:
    """Return the job of a run; its work is the voxels that it trains on."""
    folder, conditions = begin_run(grid, config, runs, store_path)
    teacher = run_folder(grid, config.teacher, runs) if config.teacher else None
    cases = conditions["data"]["cases"]
    crop = config.train.crop ** Description.from_dict(conditions["dataset"]).spatial_dims
    voxels = (config.train.epochs - folder.epochs()) * cases["train"] * crop
    return Job(
        folder,
        store_path,
        config.train.epochs,
        cases["test"],
        teacher,
        work=voxels,
        cadence=cadence,
    )


def check_networks(configs: Iterable[RunConfig], stores: dict[str, Path]) -> None:
    """Build each different network once, so that one that cannot be built stops the grid before it starts."""
    different = {(str(c.backbone), c.dataset, c.train.crop, c.window): c for c in configs}
    for config in different.values():
        check_sizes(config, Store.open(stores[config.dataset]).description)


def check_devices(configs: Iterable[RunConfig], devices: int) -> None:
    """Raise `InputError` for a run whose batches so many devices cannot share."""
    if devices > 1:
        from benchmark.training.data_parallel import check_team
        from passion import OBJECTIVES

        for config in configs:
            goal = config.objective.name
            check_team(devices, config.train.batch_size, goal, OBJECTIVES.get(goal))
