"""`bench board`: a leaderboard of runs that keep its rules."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import OutOption, PluginOption, StoreOption, register, stores_of
from benchmark.commands.outputs import OverwriteOption, output_folder

board = typer.Typer(no_args_is_help=True, help="Keep a leaderboard: check runs and make its pages.")

BoardOption = Annotated[Path, typer.Option("--board", help="Folder of the board.")]


@board.command()
def add(
    archive: Annotated[list[Path], typer.Argument(help="Archives of bench export, of all trainings.")],
    board: BoardOption = Path("board"),
    store: StoreOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check archives against the rules and add them; one that breaks a rule is refused by the rule's name."""
    from benchmark.board.accept import add_archives

    register(plugin)
    for entry in add_archives(archive, board, stores_of(store)):
        count = len(entry.runs)
        typer.echo(f"{entry.title}: {count} trainings, scores of {entry.recomputed} recomputed")


@board.command()
def build(
    out: OutOption,
    board: BoardOption = Path("board"),
    overwrite: OverwriteOption = False,
) -> None:
    """Make the board's pages: tables by study with intervals and places, and a page for each entry."""
    from benchmark.board.build import build_site

    with output_folder("board build", out, overwrite):
        written = build_site(board, out)
    typer.echo(f"wrote {len(written)} files, begin with {out / 'index.html'}")
