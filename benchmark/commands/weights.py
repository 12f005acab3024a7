"""`bench weights`: published weights, and your own to publish."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    OutOption,
    PluginOption,
    RunArgument,
    RunsOption,
    register,
)
from benchmark.commands.outputs import OverwriteOption, output_folder

weights = typer.Typer(no_args_is_help=True, help="Use published weights, and publish your own.")


@weights.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Checkpoint as released: .pth, .pt or .safetensors.")],
    backbone: Annotated[
        str, typer.Option("--backbone", help="Which network it belongs to (see bench list).")
    ],
    out: OutOption,
) -> None:
    """Turn published weights into a run folder; reads the file as data, never as code."""
    from benchmark.models.import_released import import_weights

    folder = import_weights(file, backbone, out)
    typer.echo(f"imported {file} to {folder.path}")


@weights.command()
def export(
    run: RunArgument,
    out: OutOption,
    license_: Annotated[
        str, typer.Option("--license", help="Of the weights, as hubs call it: cc-by-4.0, other.")
    ] = "unknown",
    runs: RunsOption = Path("runs"),
    plugin: PluginOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a model folder to publish: safetensors, configuration and model card; checked by using it."""
    from benchmark.models.export import export_model

    register(plugin)
    with output_folder("weights export", out, overwrite):
        export_model(run, out, runs, license_)
    typer.echo(f"exported {run} to {out}; a new process predicts the same with it. Read {out / 'README.md'}")
