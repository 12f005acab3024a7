"""`bench plan`: what a grid takes before it starts. `bench speed`: what this machine can do."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmark.commands.options import (
    DeviceOption,
    GridOption,
    PluginOption,
    ProbeSecondsOption,
    RunsOption,
    SetOption,
    StoreOption,
    probe_end,
    register,
    stores_of,
)
from benchmark.commands.outputs import OverwriteOption, check_file


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
    probe_seconds: ProbeSecondsOption = None,
    power: Annotated[
        float | None,
        typer.Option(
            "--power",
            help="Instead: the trainings and cases that a gain of so many points takes, by finished runs.",
            show_default=False,
        ),
    ] = None,
    settings: SetOption = None,
    plugin: PluginOption = None,
) -> None:
    """Show what is missing of a grid, its disk, how long it takes and how sure that is; run nothing."""
    if power is not None:
        from benchmark.report.show_power import print_power
        from benchmark.run_folder.folder import grid_folder

        print_power(grid_folder(grid, runs), power)
        return
    end = probe_end(probe_seconds)
    from benchmark.config.grid import load_grid
    from benchmark.planning.show import parse_numbers, print_plan

    register(plugin)
    stores = stores_of(store)
    numbers = parse_numbers(gpus) if gpus is not None else None
    wanted = load_grid(grid, settings or [])
    from benchmark.launch.devices import available_slots

    slots = available_slots(device, len(wanted.configs), workers, None, None)
    print_plan(wanted, runs, stores, slots, numbers or [len(slots)], end)


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
    resident: Annotated[
        bool, typer.Option("--resident", help="With recorded steps, as bench run --resident.")
    ] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Steps with train.compile.")] = False,
    together: Annotated[
        str | None, typer.Option("--together", help="Time so many runs at once besides, such as 1,2,4,8.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Save the figures as JSON.")] = None,
    against: Annotated[Path | None, typer.Option("--against", help="Compare with a saved file.")] = None,
    overwrite: OverwriteOption = False,
    plugin: PluginOption = None,
) -> None:
    """Measure what a step, a test and a wait for data cost here, and how far from the limit that is."""
    register(plugin)
    from benchmark.speed.bench import run_speed

    if out:
        check_file("--out", out, overwrite)
    from benchmark.planning.show import parse_numbers

    counts = parse_numbers(together, "--together") if together is not None else []
    run_speed(
        backbone, device, threads, precision, repeats, recompute, out, against, counts, resident, compiled
    )
