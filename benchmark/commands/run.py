"""`bench run`, `bench status` and `bench sync`: execute a grid, see where it stands, upload it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench_errors import InputError
from benchmark.commands.options import (
    DeviceOption,
    GridOption,
    LauncherOption,
    LogWeightsOption,
    ParallelOption,
    PluginOption,
    ProbeSecondsOption,
    RunsOption,
    SetOption,
    SlurmOption,
    StoreOption,
    ask_for_weights,
    probe_end,
    register,
    slurm_options,
    stores_of,
)

if TYPE_CHECKING:
    from benchmark.config.grid import Grid

AUTO = "auto"


def run(
    grid: Annotated[
        str | None, typer.Option("--grid", help="Name of a shipped grid, or path of a grid file.")
    ] = None,
    runs: RunsOption = Path("runs"),
    store: StoreOption = None,
    device: DeviceOption = "auto",
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Runs at a time on a CPU (default: one a core)."),
    ] = None,
    gpus: Annotated[
        str | None, typer.Option("--gpus", help="Numbers of the GPUs to use, such as 0,1 (default: all).")
    ] = None,
    runs_per_gpu: Annotated[
        str | None,
        typer.Option("--runs-per-gpu", help="Runs at a time on each GPU (default: 1), or auto: measure it."),
    ] = None,
    devices: Annotated[
        int,
        typer.Option("--devices", min=1, help="GPUs, or processes on a CPU, that share each run's batches."),
    ] = 1,
    resident: Annotated[
        bool,
        typer.Option("--resident", help="Keep study, steps and scoring on the GPU: not measured yet."),
    ] = False,
    retries: Annotated[
        int,
        typer.Option("--retries", min=0, help="Tries after the first for a run that dies, each going on."),
    ] = 1,
    checkpoint_seconds: Annotated[
        float | None,
        typer.Option(
            "--checkpoint-seconds",
            min=0,
            help="Between two checkpoints (default: 60, or as many more as keep them below 2 % of the time).",
        ),
    ] = None,
    checkpoint_epochs: Annotated[
        int | None,
        typer.Option("--checkpoint-epochs", min=1, help="A checkpoint after so many epochs as well."),
    ] = None,
    no_track: Annotated[bool, typer.Option("--no-track", help="Do not log to Weights & Biases.")] = False,
    log_weights: LogWeightsOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, as bench plan does; run nothing.")
    ] = False,
    probe_seconds: ProbeSecondsOption = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
    params: Annotated[
        Path | None, typer.Option("--params", help="In place of --grid: the best.yaml of a study.")
    ] = None,
    launcher: LauncherOption = "local",
    slurm: SlurmOption = None,
    parallel: ParallelOption = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Submit to SLURM and return; see: bench status.")
    ] = False,
) -> None:
    """Execute what is missing of a grid. Exit code 0: all done, 1: some failed, 130: interrupted."""
    end = probe_end(probe_seconds)
    from benchmark.config.grid import load_grid
    from benchmark.launch.cluster import chosen_cluster
    from benchmark.launch.execute_grid import Launch, execute_grid
    from benchmark.launch.grid_folder import check_owner
    from benchmark.run_folder.checkpoint_schedule import Cadence

    register(plugin)
    stores = stores_of(store)
    if params:
        from benchmark.tune.study_file import load_parameters
    elif grid is None:
        raise InputError("expected --grid GRID, or --params FILE with the parameters that a study found")
    if params and grid:
        raise InputError(f"--grid {grid} and --params {params}: give one of them, the file says it all")
    wanted = load_parameters(params, settings or []) if params else load_grid(str(grid), settings or [])
    if dry_run and launcher != "local":
        raise InputError(
            "--dry-run has no effect with --launcher slurm: it times this machine, leave that out"
        )
    if probe_seconds is not None and not dry_run:
        raise InputError("--probe-seconds has no effect without --dry-run: leave it out")
    if dry_run:
        from benchmark.launch.devices import available_slots
        from benchmark.planning.show import print_plan

        check_owner(wanted, runs)
        shared = _runs_per_gpu(runs_per_gpu)
        slots = available_slots(device, len(wanted.configs), workers, gpus, shared, devices)
        # Runs that share a GPU are not faster together than one after the other.
        places = len(slots) // (shared or 1)
        print_plan(wanted, runs, stores, slots, [places], end)
        return
    if log_weights:
        ask_for_weights()
    local = {"--workers": workers, "--gpus": gpus, "--runs-per-gpu": runs_per_gpu}
    cluster = chosen_cluster(launcher, slurm_options(slurm), parallel, no_wait, local)
    cadence = Cadence(checkpoint_seconds, checkpoint_epochs)
    measured = runs_per_gpu == AUTO
    shared = _measured(wanted, runs, stores, device, resident) if measured else _runs_per_gpu(runs_per_gpu)
    launch = Launch(device, workers, gpus, shared, devices, retries, not no_track, cadence, cluster, resident)
    failed = execute_grid(wanted, runs, stores, launch)
    raise typer.Exit(1 if failed else 0)


def _runs_per_gpu(text: str | None) -> int | None:
    """Read a number of runs, which is at least 1; raise `InputError` for anything else."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        wanted = "expected a number of runs, at least 1"
        raise InputError(f"--runs-per-gpu {text}: {wanted}, or {AUTO} (without --dry-run)")
    return int(text)


def _measured(grid: "Grid", runs: Path, stores: dict[str, Path], device: str, resident: bool) -> int | None:
    """Measure how many runs of a grid are worth it on a GPU at a time; None where all is done.

    Raises `InputError` where there is no GPU.
    """
    from bench_console import messages
    from benchmark.launch.execute_grid import missing_points
    from benchmark.launch.stores import find_stores
    from benchmark.speed.sharing import runs_per_gpu
    from benchmark.training.device import available_cores, chosen_device
    from datasets.store.store import Store

    if chosen_device("cuda" if device == "auto" else device) != "cuda":
        raise InputError(f"--runs-per-gpu {AUTO} has no effect on a CPU: use --workers, or --device cuda")
    missing = [points[0] for points in missing_points(grid, runs).values()]
    if not missing:
        return None
    found = find_stores(grid, runs, stores, messages())
    descriptions = {name: Store.open(path).description for name, path in found.items()}
    return runs_per_gpu(missing, descriptions, available_cores(), resident)


def status(
    grid: GridOption,
    runs: RunsOption = Path("runs"),
    settings: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Show where each run of a grid stands."""
    from benchmark.config.grid import load_grid
    from benchmark.launch.status import print_status

    register(plugin)
    print_status(load_grid(grid, settings or []), runs)


def sync(
    grid: Annotated[str, typer.Option("--grid", help="Name or file of a grid, or of a study.")],
    runs: RunsOption = Path("runs"),
    log_weights: LogWeightsOption = False,
    workspace: Annotated[
        bool, typer.Option("--workspace", help="Then save a view of the grid in W&B's interface.")
    ] = False,
) -> None:
    """Upload to Weights & Biases what it lacks of a grid's runs. Exit code 1: not all went well."""
    from benchmark.run_folder.folder import grid_folder
    from benchmark.tracking.sync import sync_grid

    if log_weights:
        ask_for_weights()
    wrong = sync_grid(grid_folder(grid, runs))
    if workspace:
        from benchmark.tracking.workspace import save_workspace

        typer.echo(f"view: {save_workspace(grid_folder(grid, runs))}")
    raise typer.Exit(1 if wrong else 0)
