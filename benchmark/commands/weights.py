"""`bench weights`: published weights, and your own to publish."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    OutOption,
    PluginOption,
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
    run: Annotated[str, typer.Argument(help="Path or name of a run folder.")],
    out: OutOption,
    license_: Annotated[
        str, typer.Option("--license", help="Of the weights, as hubs call it: cc-by-4.0, other.")
    ] = "unknown",
    store_as: Annotated[
        str,
        typer.Option("--store-as", help="fp32, or in half the bytes bf16 or int16."),
    ] = "fp32",
    runs: RunsOption = Path("runs"),
    plugin: PluginOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a model folder to publish: safetensors, configuration and model card; checked by using it."""
    from benchmark.models.export import export_model

    register(plugin)
    with output_folder("weights export", out, overwrite):
        change = export_model(run, out, runs, license_, store_as)
    if change:
        typer.echo(f"stored as {store_as}: {change}")
    typer.echo(f"exported {run} to {out}; a new process predicts the same with it. Read {out / 'README.md'}")


@weights.command()
def push(
    model: Annotated[Path, typer.Argument(help="Model folder, of bench weights export.")],
    target: Annotated[str, typer.Argument(help="hf:OWNER/NAME of the Hugging Face hub, or a folder.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository for yourself alone.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Publish a model folder: on the Hugging Face hub, or in a folder."""
    from benchmark.models.share import HUB, push

    if target.startswith(HUB):
        address = push(model, target, private)
    else:
        with output_folder("weights push", Path(target), overwrite, reading=model):
            address = push(model, target)
    typer.echo(f"pushed {model} to {address}")


@weights.command()
def pull(
    source: Annotated[str, typer.Argument(help="hf:OWNER/NAME of the Hugging Face hub, or a folder.")],
    out: OutOption,
    revision: Annotated[
        str | None,
        typer.Option("--revision", help="Branch, tag or commit of the repository."),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Take a published model folder and check that it is whole; predict with it like with a run."""
    from benchmark.models.share import HUB, pull

    reading = None if source.startswith(HUB) else Path(source)
    with output_folder("weights pull", out, overwrite, reading):
        pull(source, out, revision)
    typer.echo(f"pulled {source} to {out}. Read {out / 'README.md'}")
