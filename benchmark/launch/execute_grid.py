"""From a grid to finished run folders: what is missing is checked, begun and executed.

not_done = execute_grid(load_grid("demo"), Path("runs"), stores={}, launch=Launch(workers=2))
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from bench_console import messages
from bench_edges import space_of
from bench_errors import InputError
from benchmark.config.grid import Grid
from benchmark.config.run_config import RunConfig
from benchmark.launch.cluster import Cluster
from benchmark.launch.devices import Slot, available_slots
from benchmark.launch.grid_folder import check_owner, record_owner
from benchmark.launch.run_locally import launch_here
from benchmark.launch.slurm import submit, wait
from benchmark.launch.status import count_states, name_needed, note
from benchmark.launch.stores import check_recipes, find_stores
from benchmark.launch.worker_command import Job
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.folder import RunFolder
from benchmark.tracking.uploaded import waiting_text
from benchmark.training.build import check_sizes
from benchmark.training.data_parallel import check_team
from benchmark.training.inputs import Inputs
from benchmark.training.memory import STUDY
from benchmark.training.provenance import check_identity, identity, test_conditions, training_conditions
from datasets.store.store import Store
from passion import OBJECTIVES

Trainings = dict[RunFolder, list[RunConfig]]
"""Run folder -> the points of a grid that are tests of its training."""


@dataclass(frozen=True)
class Launch:
    """How the runs of a grid are executed; nothing of it decides their numbers.

    Attributes:
        device: `auto`, `cpu` or `cuda`.
        workers: runs at a time on a CPU; None: the number of cores.
        gpus: which GPUs, such as `0,1`; None: all that are visible.
        runs_per_gpu: runs at a time on each GPU; None: one.
        devices: GPUs of each run, or processes on a CPU, which share its batches.
        retries: how often a run that dies is tried again from its checkpoint.
        track: log to Weights & Biases.
        cadence: how often a run writes a checkpoint.
        resident: keep on the GPU what runs compute with, which nobody has measured yet; see `Execution`.
        cluster: where to submit the runs, instead of executing them here; if it is not to be waited for, they
            do not count as not done.
    """

    device: str = "auto"
    workers: int | None = None
    gpus: str | None = None
    runs_per_gpu: int | None = None
    devices: int = 1
    retries: int = 1
    track: bool = True
    cadence: Cadence = AUTOMATIC
    cluster: Cluster | None = None
    resident: bool = False

    def slots(self, jobs: int) -> list[Slot]:
        """Return the places where so many runs may go; see `available_slots`."""
        if self.cluster:
            slots = [self.cluster.slot(self.device, self.devices)]
        else:
            asked = self.workers, self.gpus, self.runs_per_gpu, self.devices
            slots = available_slots(self.device, jobs, *asked)
        if self.resident and slots[0].device == "cpu":
            raise InputError("--resident has no effect on a CPU: leave it out, or use --device cuda")
        share = STUDY / (self.runs_per_gpu or 1) if self.resident else 0.0
        return [replace(slot, resident=share) for slot in slots]


def execute_grid(grid: Grid, runs: Path, stores: dict[str, Path], launch: Launch = Launch()) -> int:
    """Execute what is missing of `grid` under `runs`; return how many of its points are not done.

    `stores`: store folders by dataset name; others are looked for at `data/NAME`.

    Raises `InputError` before anything starts if the grid's folder is of another one, a store is missing or
    holds other data than runs of the grid began with, a network cannot be built or take its windows, CUDA or
    a GPU is not there, or an option has no effect on the device.
    """
    console = messages()
    check_owner(grid, runs)
    folders = {config: run_folder(grid, config, runs) for config in grid.configs}
    name_needed(grid, console)
    if missing := missing_points(grid, runs):
        slots = launch.slots(len(missing))
        check_devices([configs[0] for configs in missing.values()], launch.devices)
        located = find_stores(grid, runs, stores, console)
        check_networks([c for configs in missing.values() for c in configs], located)
        record_owner(grid, runs)
        jobs = _begin(grid, missing, runs, located, launch.cadence)
        if launch.cluster and jobs:
            submit(jobs, grid.name, launch.cluster, slots[0], launch.track, console, launch.retries)
            if not launch.cluster.wait:
                return 0
            wait(jobs, grid.name, console)
        elif jobs:
            launch_here(jobs, slots, launch.track, console, launch.retries)
    else:
        check_recipes(grid, runs, stores)
    states = [folder.state(config.test_name) for config, folder in folders.items()]
    console.print(f"{count_states(states)} of grid {grid.name}")
    for folder, state in zip(folders.values(), states, strict=True):
        if said := note(folder, state):
            console.print(f"{state} {folder.path.name}: {said}", soft_wrap=True)
    if launch.track and (text := waiting_text(set(folders.values()))):
        console.print(text, soft_wrap=True)
    return sum(state != "done" for state in states)


def run_folder(grid: Grid, config: RunConfig, runs: Path) -> RunFolder:
    """Return the folder of one run of a grid."""
    return RunFolder(runs / grid.name / config.folder)


def missing_points(grid: Grid, runs: Path) -> Trainings:
    """Return what is not done of a grid, by training."""
    missing: Trainings = {}
    for config in grid.configs:
        folder = run_folder(grid, config, runs)
        if folder.state(config.test_name) != "done":
            missing.setdefault(folder, []).append(config)
    return missing


def begin_run(grid: str, inputs: Inputs, points: Sequence[RunConfig], runs: Path) -> RunFolder:
    """Return a run's folder, with its `config.yaml` and the `test.yaml` of each of its tests.

    Args:
        grid: name of the grid.
        inputs: what the run works with.
        points: the run with each of its test settings; none for a trial, which is not tested, as a run that
            segments nothing is not.
        runs: folder of the grids' folders.

    Raises `InputError` where the run was begun with other inputs, or cannot be written.
    """
    folder = RunFolder(runs / grid / inputs.config.folder)
    folder.check_writable()
    if folder.state() == "absent":
        folder.write_config(training_conditions(inputs, grid))
    recorded = folder.config()
    check_identity(recorded, inputs, folder.path)
    train, init = recorded["config"]["train"], inputs.config.train.init
    if train.get("init") != init and not folder.holder():  # the same weights, which lie elsewhere now
        train["init"] = init
        folder.write_config(recorded)
    training = identity(inputs)["training"]
    for point in points:
        if not point.test_name:
            continue
        test = test_conditions(point, training, inputs.store, inputs.tested)
        folder.test(point.test_name).begin(test)
    return folder


def _begin(
    grid: Grid, missing: Trainings, runs: Path, stores: dict[str, Path], cadence: Cadence
) -> list[Job]:
    """Return the jobs of the trainings; their work is the voxels that they still train on.

    A run whose folder is damaged has failed, with what to do as its reason, and is no job.
    """
    opened = {name: Store.open(path) for name, path in stores.items()}
    jobs = []
    for points in missing.values():
        config, store = points[0], opened[points[0].dataset]
        try:
            run_folder(grid, config, runs).check_whole()
        except InputError as error:
            run_folder(grid, config, runs).mark_failed(str(error))
            continue
        inputs = Inputs.of(config, store)
        folder = begin_run(grid.name, inputs, points, runs)
        epochs, parts = config.train.epochs, inputs.split
        crop = prod(space_of(config.train.crop, store.description.spatial_dims))
        voxels = (epochs - folder.epochs()) * config.train.samples(len(parts.train)) * crop
        jobs.append(
            Job(
                folder,
                stores[config.dataset],
                epochs,
                len(parts.test) * len(folder.own_tests()),
                tuple(run_folder(grid, run, runs) for run in config.needs),
                work=voxels,
                cadence=cadence,
            )
        )
    return jobs


def check_networks(configs: Iterable[RunConfig], stores: dict[str, Path]) -> None:
    """Build each different network once, so that one that cannot be built stops the grid before it starts."""
    different: dict[object, RunConfig] = {}
    for config in configs:
        train = config.train
        built = config.dataset, train.crop, config.window, train.init, train.compile
        different[str(config.backbone), config.objective.segments, str(config.pretrain), *built] = config
    for config in different.values():
        check_sizes(config, Store.open(stores[config.dataset]).description)


def check_devices(configs: Iterable[RunConfig], devices: int) -> None:
    """Raise `InputError` for a run whose batches so many devices cannot share."""
    if devices > 1:
        for config in configs:
            goal = config.objective.name
            check_team(devices, config.train.batch_size, goal, OBJECTIVES.get(goal))
