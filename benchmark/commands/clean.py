"""`bench clean` and `bench export`: what run folders hold that nobody needs, and runs to share."""

from pathlib import Path
from typing import Annotated

import typer

from bench_errors import InputError
from benchmark.commands.options import (
    DeviceOption,
    PluginOption,
    RunsOption,
    SetOption,
    StoreOption,
    register,
    stores_of,
)
from benchmark.commands.outputs import OverwriteOption, check_file


def clean(
    grid: Annotated[
        str | None, typer.Option("--grid", help="Name or path of a grid (default: all that --runs has).")
    ] = None,
    runs: RunsOption = Path("runs"),
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", help="temporary, checkpoints, jobs or orphans: remove these; repeatable."),
    ] = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Show what run folders hold that nobody needs, with its size, and remove what --remove names."""
    from benchmark.config.grid import load_grid
    from benchmark.launch.clean import clean

    register(plugin)
    clean(load_grid(grid, settings or []) if grid else None, runs, remove or [])


def export_run(
    run: Annotated[str, typer.Argument(help="Path or name of a run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, .tar.gz (default: named as the run, here).")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also of a run that is not done: what there is.")
    ] = False,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Also the segmentations behind the scores, made again.")
    ] = False,
    store: StoreOption = None,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
    plugin: PluginOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Pack a run into one archive to share: configuration, environment, scores by case, log, weights."""
    from benchmark.models.archive import archive_path, export_run

    register(plugin)
    out = out or archive_path(run, runs)
    check_file("--out", out, overwrite)
    if predictions:
        from benchmark.models.predictions import find_store, write_predictions
        from benchmark.report.data.find import find_folder

        folder = find_folder(run, runs)
        dataset = folder.config()["config"]["dataset"]
        write_predictions(folder, find_store(dataset, stores_of(store), folder.path.parent), device)
    elif store:
        raise InputError("--store has no effect without --predictions: leave it out")
    written = export_run(run, runs, out, unfinished, predictions)
    typer.echo(f"wrote {written}; unpack it where runs are, with: tar xzf {written.name} -C runs")
