"""`bench tune`: search for the best options of a run."""

from pathlib import Path
from typing import Annotated

import typer

from bench_errors import InputError
from benchmark.commands.options import (
    LauncherOption,
    ParallelOption,
    PluginOption,
    RunsOption,
    SlurmOption,
    StoreOption,
    register,
    slurm_options,
    stores_of,
)

tune = typer.Typer(help="Search for the best options of a run with Optuna: bench tune --study NAME.")


StudyOption = Annotated[
    str, typer.Option("--study", help="Name of a shipped study (see bench list), or path of a study file.")
]
StorageOption = Annotated[
    str | None,
    typer.Option("--storage", help="URL of a database (default: a journal file in the study's folder)."),
]


@tune.callback(invoke_without_command=True)
def tune_study(
    context: typer.Context,
    study: Annotated[
        str | None, typer.Option("--study", help="Name of a shipped study, or path of a study file.")
    ] = None,
    runs: RunsOption = Path("runs"),
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="How many the study will have, those it has included.")
    ] = 50,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds after which no trial begins.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Trials at a time on a CPU (default: one a core).")
    ] = None,
    gpus: Annotated[
        str | None, typer.Option("--gpus", help="Numbers of the GPUs to use, such as 0,1 (default: all).")
    ] = None,
    runs_per_gpu: Annotated[
        int | None, typer.Option("--runs-per-gpu", min=1, help="Trials at a time on each GPU (default: 1).")
    ] = None,
    storage: StorageOption = None,
    store: StoreOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    no_track: Annotated[bool, typer.Option("--no-track", help="Do not log to Weights & Biases.")] = False,
    launcher: LauncherOption = "local",
    slurm: SlurmOption = None,
    parallel: ParallelOption = None,
    plugin: PluginOption = None,
) -> None:
    """Search for the best options of a run; the same command goes on with a study.

    Exit code 0: done, 1: no trial is complete, 130: interrupted.
    """
    if context.invoked_subcommand:
        return
    if study is None:
        raise InputError("expected --study NAME or --study FILE.yaml: bench list names the shipped ones")
    from benchmark.launch.cluster import chosen_cluster
    from benchmark.launch.devices import available_slots
    from benchmark.tune.command import tune_study

    register(plugin)
    stores = stores_of(store)
    local = {"--workers": workers, "--gpus": gpus, "--runs-per-gpu": runs_per_gpu}
    cluster = chosen_cluster(launcher, slurm_options(slurm), parallel, False, local)
    if cluster:
        slots = [cluster.slot(device)] * (parallel or trials)
    else:
        slots = available_slots(device, trials, workers, gpus, runs_per_gpu)
    complete = tune_study(study, runs, stores, slots, trials, timeout, storage, not no_track, cluster)
    raise typer.Exit(0 if complete else 1)


@tune.command("report")
def tune_report(
    study: StudyOption,
    runs: RunsOption = Path("runs"),
    storage: StorageOption = None,
    plugin: PluginOption = None,
) -> None:
    """Print a study's trials and write what has come of it so far; it may be running meanwhile."""
    register(plugin)
    from benchmark.tune.command import report_study

    written = report_study(study, runs, storage)
    typer.echo(f"wrote {len(written)} files, begin with {written[0]}")


@tune.command()
def dashboard(
    study: StudyOption,
    runs: RunsOption = Path("runs"),
    storage: StorageOption = None,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    plugin: PluginOption = None,
) -> None:
    """Serve a study to a browser with optuna-dashboard."""
    register(plugin)
    from benchmark.tune.command import serve_dashboard

    serve_dashboard(study, runs, storage, host, port)
