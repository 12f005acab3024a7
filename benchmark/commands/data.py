"""`bench data`: make, check, prepare and verify studies."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmark.commands.options import (
    DatasetOption,
    OutOption,
    WorkersOption,
)

data = typer.Typer(no_args_is_help=True, help="Make, check, prepare and verify studies.")


@data.command()
def phantom(
    out: OutOption,
    cases: Annotated[int, typer.Option("--cases", min=1, help="Number of cases.")] = 40,
    size: Annotated[str, typer.Option("--size", help="Edge in voxels, or XxYxZ up to 240x240x155.")] = "64",
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Equal seeds give equal files, to the byte.")
    ] = 0,
    layout: Annotated[str, typer.Option("--layout", help="brats or myops.")] = "brats",
) -> None:
    """Make a synthetic study of NIfTI files that looks and behaves like BraTS (or MyoPS)."""
    from benchmark.studies import make_phantom

    make_phantom(out, cases, size, seed, layout)


@data.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")],
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Name, or path of a YAML file (default: recognised by the files)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the problems as JSON.")] = False,
) -> None:
    """Check every file of a study. Exit code 0: sound, 1: warnings, 2: errors."""
    from benchmark.studies import check_folder

    raise typer.Exit(check_folder(folder, dataset, json))


@data.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of the study.")],
    dataset: DatasetOption,
    out: OutOption,
    box: Annotated[
        Literal["full", "released"], typer.Option("--box", help="released loses the last slice of some axes.")
    ] = "full",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out cases with errors instead of stopping.")
    ] = False,
    workers: WorkersOption = None,
) -> None:
    """Crop, normalise and store a study; later calls do what is new, changed or damaged, or was cut off."""
    from benchmark.studies import prepare_folder

    prepare_folder(folder, dataset, out, box, skip_bad, workers)


@data.command()
def verify(
    store: Annotated[Path, typer.Argument(help="Folder of a store.")],
    workers: WorkersOption = None,
) -> None:
    """Test the checksum of every case of a store. Exit code 0: sound, 2: damaged."""
    from benchmark.studies import verify_store

    raise typer.Exit(verify_store(store, workers))
