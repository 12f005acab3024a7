"""The `bench` program: the Typer application, its commands in order, and how it ends.

Each command parses its arguments and calls one function. Heavy libraries are imported by the functions that
need them, so that `bench --help` answers at once.
"""

import signal
import sys
from collections.abc import Callable
from errno import ENAMETOOLONG
from importlib.metadata import version
from types import FrameType
from typing import Annotated, NoReturn

import typer

from bench_errors import InputError
from benchmark.commands import board, clean, data, lists, plan, predict, profile, report, run, tune, weights
from benchmark.training.exit_codes import STOPPED

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Benchmark suite for incomplete multi-modal medical image segmentation.",
)
for group, name in (
    (data.data, "data"),
    (weights.weights, "weights"),
    (tune.tune, "tune"),
    (board.board, "board"),
):
    app.add_typer(group, name=name)
COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "status": run.status,
    "sync": run.sync,
    "plan": plan.plan,
    "report": report.report,
    "compare": report.compare,
    "show": report.show,
    "predict": predict.predict,
    "evaluate": predict.evaluate,
    "clean": clean.clean,
    "export": clean.export_run,
    "list": lists.list_names,
    "check-backbone": lists.check_backbone,
    "check-objective": lists.check_objective,
    "profile": profile.profile,
    "speed": plan.speed,
}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"passion-bench {version('passion-bench')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


for name, command in COMMANDS.items():
    app.command(name)(command)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Run `bench`; wrong input is one line on standard error and exit code 2.

    Being told to end and a terminal that closes are like Ctrl-C, so that nothing stays behind at work.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
        print(f"error: the name {error.filename} is too long for a file: shorten it", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == STOPPED:  # as Typer ends on KeyboardInterrupt
            print("interrupted: run the same command again to go on", file=sys.stderr)
        raise
    sys.exit(0)
