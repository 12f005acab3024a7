"""`bench report`, `bench compare` and `bench show`: what came out."""

from pathlib import Path
from typing import Annotated

import typer

from bench_errors import InputError
from benchmark.commands.options import GridsOption, OutOption, PluginOption, RunsOption, SetOption, register
from benchmark.commands.outputs import OverwriteOption, check_file, output_folder


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
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            help="Test whether methods are equivalent within so many points of Dice.",
            show_default=False,
        ),
    ] = None,
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
    track: Annotated[
        bool, typer.Option("--track", help="Log the tables to Weights & Biases, beside the grid's runs.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also runs in the folder that the grid does not have any more.")
    ] = False,
    plugin: PluginOption = None,
) -> None:
    """Turn the run folders of one or several grids into the tables and figures of a paper."""
    from benchmark.report.show import print_answers
    from benchmark.report.write import write_report
    from benchmark.run_folder.folder import grid_folder

    register(plugin)
    folders = [grid_folder(name, runs) for name in grid]
    kinds = formats.split(",") if formats is not None else None
    wanted = None if everything else _wanted(grid, settings or [], runs)
    with output_folder("report", out, overwrite):
        written = write_report(folders, out, split_by or [], published, kinds, wanted, margin)
    print_answers(written.answers)
    typer.echo(f"wrote {len(written.files)} files, begin with {out / 'report.html'} or {out / 'report.md'}")
    if track:
        from benchmark.tracking.report import track_report

        typer.echo(track_report(written, out))


def compare(
    run_a: Annotated[str, typer.Argument(help="Path or name of a run folder, or of a grid.")],
    run_b: Annotated[str, typer.Argument(help="What it is compared with: a run, or a grid.")],
    runs: RunsOption = Path("runs"),
    csv: Annotated[Path | None, typer.Option("--csv", help="Write all rows side by side here.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Compare two runs, or the like runs of two grids, case by case."""
    from benchmark.report.compare import print_comparison

    if csv:
        check_file("--csv", csv, overwrite)
    print_comparison(run_a, run_b, runs, csv)


def show(
    run: Annotated[str, typer.Argument(help="Path or name of a run folder.")],
    runs: RunsOption = Path("runs"),
) -> None:
    """Show a run: what it is, where it stands, its conditions, curves and scores."""
    from benchmark.report.show import show_run

    show_run(run, runs)


def _wanted(grids: list[str], settings: list[str], runs: Path) -> dict[str, set[tuple[str, str]]]:
    """The runs of each grid as its file reads now, also where the name of its folder is given.

    A folder of which no grid file is known, or one that cannot be read, stands for all that is in it.
    """
    from benchmark.config.grid import is_grid, load_grid
    from benchmark.launch.grid_folder import owner_of
    from benchmark.run_folder.folder import grid_folder

    wanted = {}
    for name in grids:
        folder = grid_folder(name, runs)
        owner = None if is_grid(name) else owner_of(folder)
        if not (owner or settings or is_grid(name)):
            continue
        try:
            grid = load_grid(str(owner or name), settings)
        except InputError as error:
            if settings or not owner:
                raise
            typer.echo(f"warning: all runs in {folder} are taken: {error}", err=True)
            continue
        wanted[grid.name] = {(config.folder, config.test_name) for config in grid.configs}
    return wanted
