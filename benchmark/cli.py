"""The `bench` program: each command parses its arguments and calls one function.

Heavy libraries are imported by the functions that need them, so that `bench --help` answers at once.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from bench_errors import InputError
from benchmark.commands.data import data
from benchmark.commands.options import (
    ArgumentOption,
    DatasetOption,
    DeviceOption,
    GridOption,
    GridsOption,
    LauncherOption,
    LogWeightsOption,
    OutOption,
    ParallelOption,
    PluginOption,
    RunArgument,
    RunsOption,
    SetOption,
    SlurmOption,
    StoreOption,
    ask_for_weights,
    pairs,
    register,
    slurm_options,
)
from benchmark.commands.tune import tune
from benchmark.commands.weights import weights

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark suite for incomplete multi-modal medical image segmentation.",
)
app.add_typer(data, name="data")
app.add_typer(weights, name="weights")
app.add_typer(tune, name="tune")


@app.command()
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
        int | None, typer.Option("--runs-per-gpu", min=1, help="Runs at a time on each GPU (default: 1).")
    ] = None,
    devices: Annotated[
        int,
        typer.Option("--devices", min=1, help="GPUs, or processes on a CPU, that share each run's batches."),
    ] = 1,
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
        bool, typer.Option("--dry-run", help="Say what would be run and how much disk it takes; run nothing.")
    ] = False,
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
    from benchmark.cadence import Cadence
    from benchmark.execute import execute_grid
    from benchmark.grid import load_grid
    from benchmark.launch.cluster import chosen_cluster

    register(plugin)
    cadence = Cadence(checkpoint_seconds, checkpoint_epochs)
    stores = pairs("--store", store or [], "NAME=DIR, such as brats2020=/data/brats2020")
    if params:
        from benchmark.tune.plan import load_parameters
    elif grid is None:
        raise InputError("expected --grid GRID, or --params FILE with the parameters that a study found")
    if params and grid:
        raise InputError(f"--grid {grid} and --params {params}: give one of them, the file says it all")
    wanted = load_parameters(params, settings or []) if params else load_grid(str(grid), settings or [])
    if dry_run and launcher != "local":
        raise InputError(
            "--dry-run has no effect with --launcher slurm: it times this machine, leave that out"
        )
    if dry_run:
        from benchmark.estimate import STEPS
        from benchmark.execute import available_slots
        from benchmark.plan import print_plan

        slots = available_slots(device, len(wanted.configs), workers, gpus, runs_per_gpu, devices)
        # Runs that share a GPU are not faster together than one after the other.
        places = len(slots) // (runs_per_gpu or 1)
        print_plan(wanted, runs, stores, slots, [places], STEPS)
        return
    if log_weights:
        ask_for_weights()
    local = {"--workers": workers, "--gpus": gpus, "--runs-per-gpu": runs_per_gpu}
    cluster = chosen_cluster(launcher, slurm_options(slurm), parallel, no_wait, local)
    failed = execute_grid(
        wanted,
        runs,
        stores,
        device,
        workers,
        not no_track,
        gpus,
        runs_per_gpu,
        retries,
        cluster,
        cadence,
        devices,
    )
    raise typer.Exit(1 if failed else 0)


@app.command()
def sync(
    grid: Annotated[str, typer.Option("--grid", help="Name or file of a grid, or of a study.")],
    runs: RunsOption = Path("runs"),
    log_weights: LogWeightsOption = False,
) -> None:
    """Upload to Weights & Biases what it lacks of a grid's runs. Exit code 1: not all went well."""
    from benchmark.tracking.sync import sync_grid

    if log_weights:
        ask_for_weights()
    raise typer.Exit(1 if sync_grid(runs / Path(grid).stem) else 0)


@app.command()
def plan(
    grid: GridOption,
    runs: RunsOption = Path("runs"),
    store: StoreOption = None,
    device: DeviceOption = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Runs at a time on a CPU, as in bench run.")
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option("--gpus", help="How many GPUs (on a CPU: workers) to compare, such as 1,8,64."),
    ] = None,
    probe_steps: Annotated[
        int | None,
        typer.Option(
            "--probe-steps",
            min=1,
            help="Training steps to time of each setting (default: 20; with fewer, a part of the test case).",
        ),
    ] = None,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Time nothing: use what was timed here before.")
    ] = False,
    settings: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Show what is missing of a grid, how long it takes and its disk, from a few timed steps; run nothing."""
    from benchmark.grid import load_grid
    from benchmark.plan import parse_numbers, print_plan

    register(plugin)
    stores = pairs("--store", store or [], "NAME=DIR, such as brats2020=/data/brats2020")
    if no_probe and probe_steps:
        raise InputError(f"--probe-steps {probe_steps} has no effect with --no-probe: leave out one of them")
    numbers = parse_numbers(gpus) if gpus is not None else None
    wanted = load_grid(grid, settings or [])
    from benchmark.estimate import STEPS
    from benchmark.execute import available_slots

    slots = available_slots(device, len(wanted.configs), workers, None, None)
    steps = None if no_probe else probe_steps or STEPS
    print_plan(wanted, runs, stores, slots, numbers or [len(slots)], steps)


@app.command()
def status(
    grid: GridOption,
    runs: RunsOption = Path("runs"),
    settings: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Show where each run of a grid stands."""
    from benchmark.execute import print_status
    from benchmark.grid import load_grid

    register(plugin)
    print_status(load_grid(grid, settings or []), runs)


@app.command()
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
    from benchmark.clean import clean
    from benchmark.grid import load_grid

    register(plugin)
    clean(load_grid(grid, settings or []) if grid else None, runs, remove or [])


@app.command("export")
def export_run(
    run: Annotated[str, typer.Argument(help="Path or name of a run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, .tar.gz (default: named as the run, here).")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also of a run that is not done: what there is.")
    ] = False,
    runs: RunsOption = Path("runs"),
) -> None:
    """Pack a run into one archive to share: configuration, environment, scores by case, log, weights."""
    from benchmark.archive import export_run

    written = export_run(run, runs, out, unfinished)
    typer.echo(f"wrote {written}; unpack it where runs are, with: tar xzf {written.name} -C runs")


@app.command()
def report(
    grid: GridsOption,
    out: OutOption,
    runs: RunsOption = Path("runs"),
    split_by: Annotated[
        list[str] | None,
        typer.Option("--split-by", help="policy, data or availability: tell runs apart that differ in it."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Add rows that others reported under ours, set apart.")
    ] = False,
    formats: Annotated[
        str | None,
        typer.Option(
            "--formats",
            help="Formats of the figures; by default png,svg,pdf, and png alone where studies are many.",
            show_default=False,
        ),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Turn the run folders of one or several grids into the tables and figures of a paper."""
    from benchmark.report.write import write_report

    only = None
    if settings:
        from benchmark.grid import load_grid

        only = {config.folder for name in grid for config in load_grid(name, settings).configs}
    folders = [runs / Path(name).stem for name in grid]
    kinds = formats.split(",") if formats is not None else None
    written = write_report(folders, out, split_by or [], published, kinds, only)
    typer.echo(f"wrote {len(written)} files, begin with {out / 'report.html'} or {out / 'report.md'}")


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help="Path or name of a run folder, or of a grid.")],
    run_b: Annotated[str, typer.Argument(help="What it is compared with: a run, or a grid.")],
    runs: RunsOption = Path("runs"),
    csv: Annotated[Path | None, typer.Option("--csv", help="Write all rows side by side here.")] = None,
) -> None:
    """Compare two runs, or the like runs of two grids, case by case."""
    from benchmark.report.compare import print_comparison

    print_comparison(run_a, run_b, runs, csv)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Path or name of a run folder.")],
    runs: RunsOption = Path("runs"),
) -> None:
    """Show a run: what it is, where it stands, its conditions, curves and scores."""
    from benchmark.report.show import show_run

    show_run(run, runs)


@app.command()
def predict(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="File to write (.nii.gz), or folder with --study.")],
    image: Annotated[
        list[str] | None, typer.Option("--image", help="MODALITY=FILE, such as flair=a.nii.gz; repeatable.")
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
    from benchmark.predict import predict_images, predict_study

    options = (ensemble or [], device, resample, probabilities)
    if study:
        raise typer.Exit(1 if predict_study(run, study, out, runs, *options, dataset) else 0)
    if dataset:
        raise InputError("--dataset says how the files of --study lie: leave it out with --image")
    predict_images(
        run, pairs("--image", image or [], "MODALITY=FILE, such as flair=a.nii.gz"), out, runs, *options
    )


@app.command()
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
    from benchmark.retest import evaluate_run

    register(plugin)
    folder = evaluate_run(run, dataset, runs, profile, outside, device)
    typer.echo(f"evaluated {run} to {folder.path}; see: bench report --grid {folder.path.parent.name}")


@app.command()
def speed(
    backbone: Annotated[
        list[str] | None, typer.Option("--backbone", help="Give it once for each; default: all.")
    ] = None,
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="On a CPU; default: all.")] = None,
    precision: Annotated[Literal["fp32", "bf16", "fp16"], typer.Option("--precision")] = "fp32",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Counted repeats of each.")] = 3,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Steps with train.recompute: slower, less memory.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Save the figures as JSON.")] = None,
    against: Annotated[Path | None, typer.Option("--against", help="Compare with a saved file.")] = None,
) -> None:
    """Measure what a step, a test and a wait for data cost here, and how far from the limit that is."""
    from benchmark.speed.bench import run_speed

    run_speed(backbone, device, threads, precision, repeats, recompute, out, against)


@app.command("list")
def list_names(plugin: PluginOption = None) -> None:
    """List backbones, objectives, datasets, profiles and grids with what they are, one a line."""
    from benchmark.plugins import print_list

    register(plugin)
    print_list()


@app.command("check-backbone")
def check_backbone(
    name: Annotated[str, typer.Argument(help="Name (see bench list), monai:NAME or module:Class.")],
    crop: Annotated[int, typer.Option("--crop", min=1, help="Edge of the test volumes in voxels.")] = 32,
    modalities: Annotated[int, typer.Option("--modalities", min=1)] = 3,
    argument: ArgumentOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check a backbone against the contract on random volumes; stop at what it does not keep."""
    from benchmark.plugins import print_backbone_check

    register(plugin)
    print_backbone_check(name, crop, modalities, argument or [])


@app.command("check-objective")
def check_objective(
    name: Annotated[str, typer.Argument(help="Name (see bench list) or module:Class.")],
    argument: ArgumentOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check a training objective on random batches; stop at what goes wrong."""
    from benchmark.plugins import print_objective_check

    register(plugin)
    print_objective_check(name, argument or [])


@app.command()
def profile(
    name: Annotated[str, typer.Argument(help="Profile: mr2468, extreme95, sites.yaml, complete.")] = "",
    cases: Annotated[
        Path | None, typer.Option("--cases", help="File with one case name a line, or a store.")
    ] = None,
    from_csv: Annotated[
        Path | None, typer.Option("--from-csv", help="Show this table instead: ours, or one as released.")
    ] = None,
    dataset: DatasetOption = "brats2020",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Runs use the default.")] = 1037,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the table into this png file.")
    ] = None,
) -> None:
    """Print who lacks what as csv on standard output; rates, hash and counts go to standard error."""
    from benchmark.profile import print_profile

    print_profile(name, cases, from_csv, dataset, seed, picture)


def _check_our_datasets() -> None:
    """Our folder `datasets` shares its name with a well-known package."""
    spec = find_spec("datasets")
    if spec is None or not spec.origin or not (Path(spec.origin).parent / "vocabulary.py").exists():
        raise InputError(
            f"the package 'datasets' found at {spec.origin if spec else 'nowhere'} is not passion-bench's: "
            "install passion-bench into an environment of its own, or run from its checkout"
        )


def main() -> NoReturn:
    """Run `bench`; wrong input is one line on standard error and exit code 2."""
    try:
        _check_our_datasets()
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
