"""`bench predict` and `bench evaluate`: trained networks on new patients and on other data."""

from pathlib import Path
from typing import Annotated

import typer

from bench_errors import InputError
from benchmark.commands.options import DeviceOption, PluginOption, RunArgument, RunsOption, pairs, register


def predict(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="File to write (.nii.gz), or folder with --study.")],
    image: Annotated[
        list[str] | None, typer.Option("--image", help="MODALITY=FILE, such as flair=a.nii.gz, or mask=FILE.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option("--study", help="Segment every case of this folder instead.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="How the files of --study lie (default: as the run's): name or YAML."),
    ] = None,
    ensemble: Annotated[
        list[str] | None, typer.Option("--ensemble", help="Another run to average with; repeatable.")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Bring images on another grid to that of the first.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each class's probability.")
    ] = False,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
    plugin: PluginOption = None,
) -> None:
    """Segment new patients from whatever modalities there are. Exit code 1: some cases could not be."""
    register(plugin)
    if bool(image) == bool(study):
        raise InputError("give either --image MODALITY=FILE, once or more, or --study FOLDER")
    from benchmark.models.predict import predict_images, predict_study

    options = (ensemble or [], device, resample, probabilities)
    if study:
        raise typer.Exit(1 if predict_study(run, study, out, runs, *options, dataset) else 0)
    if dataset:
        raise InputError("--dataset says how the files of --study lie: leave it out with --image")
    predict_images(
        run, pairs("--image", image or [], "MODALITY=FILE, such as flair=a.nii.gz"), out, runs, *options
    )


def evaluate(
    run: RunArgument,
    dataset: Annotated[Path, typer.Option("--dataset", help="Folder of a store (bench data prepare).")],
    profile: Annotated[
        str | None, typer.Option("--profile", help="What test cases lack: mr2468, FILE.yaml, csv:FILE.")
    ] = None,
    outside: Annotated[
        str | None, typer.Option("--outside", help="Show what is outside a subset so: noise-2, slab-3.")
    ] = None,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
    plugin: PluginOption = None,
) -> None:
    """Test a finished run again, on other data or in other quality, into a run folder of its own."""
    from benchmark.models.evaluate_on import evaluate_run

    register(plugin)
    test = evaluate_run(run, dataset, runs, profile, outside, device)
    typer.echo(f"evaluated {run} to {test.path}; see: bench report --grid {test.path.parents[2].name}")
