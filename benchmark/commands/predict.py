"""`bench predict` and `bench evaluate`: trained networks on new patients and on other data."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from bench_errors import InputError
from benchmark.commands.options import DeviceOption, PluginOption, RunArgument, RunsOption, pairs, register
from benchmark.commands.outputs import OverwriteOption, check_file, output_folder

EnsembleOption = Annotated[
    list[str] | None, typer.Option("--ensemble", help="Another run to average with; repeatable.")
]


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
    ensemble: EnsembleOption = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Bring images on another grid to that of the first.")
    ] = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each class's probability.")
    ] = False,
    orientation: Annotated[
        str, typer.Option("--orientation", help="Where axes point, if a header does not say it: LPS, RAS.")
    ] = "",
    agreement: Annotated[
        bool,
        typer.Option("--agreement", help="Segment all flips of the images too, and say how far they agree."),
    ] = False,
    picture: Annotated[
        bool, typer.Option("--picture", help="Also draw slices with the outlines of the segmentation (.png).")
    ] = False,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
    plugin: PluginOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Segment new patients from whatever modalities there are. Exit code 1: some cases could not be."""
    register(plugin)
    if bool(image) == bool(study):
        raise InputError("give either --image MODALITY=FILE, once or more, or --study FOLDER")
    check_orientation(orientation)
    from benchmark.models.predict import predict_images, predict_study
    from benchmark.models.segmentation_files import output_files

    options = (ensemble or [], device, resample, probabilities, orientation, agreement, picture)
    if study:
        with output_folder("predict", out, overwrite, reading=study):
            failed = predict_study(run, study, out, runs, *options, dataset)
        raise typer.Exit(1 if failed else 0)
    if dataset:
        raise InputError("--dataset says how the files of --study lie: leave it out with --image")
    images = pairs("--image", image or [], "MODALITY=FILE, such as flair=a.nii.gz")
    for file in output_files(out, probabilities, picture):
        check_file("--out", file, overwrite, reading=images.values())
    predict_images(run, images, out, runs, *options)


def check_orientation(text: str) -> None:
    """Raise `InputError` unless the text is empty or says where three axes point, such as ``LPS``."""
    axes = ["AP", "LR", "SI"]
    if text and sorted(next((axis for axis in axes if end in axis), "") for end in text) != axes:
        raise InputError(
            f"--orientation {text}: expected where the three axes point, one letter of L and R, one of A and "
            "P, one of S and I, such as LPS"
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
    ensemble: EnsembleOption = None,
    device: DeviceOption = "auto",
    runs: RunsOption = Path("runs"),
    plugin: PluginOption = None,
) -> None:
    """Test a finished run again, on other data or in other quality: one more test in its folder."""
    from benchmark.models.evaluate_on import evaluate_run
    from benchmark.run_folder.folder import grid_options

    register(plugin)
    test = evaluate_run(run, dataset, runs, profile, outside, device, ensemble or [])
    folder = test.path.absolute().parents[1]
    out = quote(f"report/{folder.parent.name}")
    typer.echo(f"evaluated {run} to {test.path}; see: bench report {grid_options(folder)} --out {out}")
