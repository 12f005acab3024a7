"""`bench report`, `bench compare` and `bench show`: what came out."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import GridsOption, OutOption, RunsOption, SetOption
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
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Turn the run folders of one or several grids into the tables and figures of a paper."""
    from benchmark.report.write import write_report

    only = None
    if settings:
        from benchmark.config.grid import load_grid

        only = {config.folder for name in grid for config in load_grid(name, settings).configs}
    folders = [runs / Path(name).stem for name in grid]
    kinds = formats.split(",") if formats is not None else None
    with output_folder("report", out, overwrite):
        written = write_report(folders, out, split_by or [], published, kinds, only)
    typer.echo(f"wrote {len(written)} files, begin with {out / 'report.html'} or {out / 'report.md'}")


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
