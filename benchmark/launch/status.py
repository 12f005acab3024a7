"""Where the runs of a grid stand: ``print_status(load_grid("demo"), Path("runs"))``."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from bench_console import output
from bench_errors import InputError
from bench_lease import SILENT_SECONDS
from benchmark.config.grid import Grid
from benchmark.launch.slurm_queue import job_of, queued
from benchmark.launch.view import duration
from benchmark.run_folder.folder import STATES, RunFolder
from benchmark.tracking.uploaded import waiting_text


def print_status(grid: Grid, runs: Path) -> None:
    """Print a table of the grid's runs and their states on standard output, a row for each test of a run."""
    folders = {config: RunFolder(runs / grid.name / config.folder) for config in grid.configs}
    console = output()
    jobs = _jobs(grid, list(dict.fromkeys(folders.values())))
    several = len(set(folders.values())) < len(folders)
    names = ["run", *(["test"] if several else []), "state", "epochs", *(["job"] if jobs else [])]
    table = Table(*(Column(name, overflow="fold") for name in (*names, "by, or why")))
    states = []
    for config, folder in folders.items():
        state = folder.state(config.test_name)
        states.append(state)
        cells = [folder.path.name, *([config.test_name] if several else []), state]
        cells += [f"{folder.epochs()}/{config.train.epochs}", *([jobs.get(folder, "")] if jobs else [])]
        table.add_row(*cells, note(folder, state))
    console.print(table)
    name_needed(grid, console)
    console.print(count_states(states))
    if waiting := waiting_text(set(folders.values())):
        console.print(waiting, soft_wrap=True)


def count_states(states: list[str]) -> str:
    """Return ``2 done, 1 failed``."""
    return ", ".join(f"{states.count(s)} {s}" for s in STATES if s in states)


def note(folder: RunFolder, state: str) -> str:
    """Say who runs it, or why it has failed."""
    if state != "running":
        return folder.reason() if state != "done" else ""
    holder, silent = str(folder.holder() or ""), folder.silence()
    return f"{holder}, silent for {duration(silent)}" if silent > SILENT_SECONDS else holder


def name_needed(grid: Grid, console: Console) -> None:
    """Say which runs the grid has only because others need them."""
    if grid.needed:
        names = ", ".join(config.folder for config in grid.needed)
        console.print(f"grid {grid.name} trains first what its runs need: {names}", soft_wrap=True)


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
