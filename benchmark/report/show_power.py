"""In the terminal: how many trainings and patients a gain takes: ``print_power(Path("runs/headline"), 2.0)``.

From the variances of a grid's finished runs: of what its methods gain over their baselines in the primary
endpoint, between trainings, between patients, and of the rest; their mean over the methods of a study.
"""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench_console import output
from bench_errors import InputError
from benchmark.report.data.collect import collect
from benchmark.report.data.effects import LEAST, LEVEL, POWER
from benchmark.report.data.power import MOST, Variances, pooled, power, trainings_needed, variances
from benchmark.report.data.scores import Scores, metrics_of, score
from benchmark.report.show import WIDTH
from benchmark.report.tables.captions import counted
from benchmark.report.tables.render import number
from benchmark.report.tables.rows import references
from benchmark.report.tables.words import endpoint

TRAININGS = (LEAST, 10, 20)
"""Trainings a side whose chance is printed."""
PATIENTS = (1, 2, 5, 10)
"""Numbers of test patients to look at, as multiples of those there are."""


def print_power(grid_folder: Path, gain: float) -> None:
    """Print, for each study of a grid, what it takes to show a true gain, in points of its first metric.

    Raises `InputError` for a gain that is not above 0, and where no method was trained twice as its baseline.
    """
    if not gain > 0 or math.isinf(gain):
        raise InputError(f"--power: expected a gain above 0, found {gain:g}")
    collected = collect([grid_folder], ["policy"])
    metric = metrics_of(collected.cases)[0]
    every = [score(collected.cases, study, metric) for study in collected.studies()]
    found = [(scores, spreads) for scores in every if (spreads := _variances(scores))]
    if not found:
        raise InputError(
            f"the runs at {grid_folder} tell no variances: finish two trainings or more of a method and its "
            "baseline, with the same seeds, on one split"
        )
    console = output(WIDTH)
    for scores, spreads in found:
        _print(scores, pooled(spreads), len(spreads), gain, console)
    console.print(
        f"Trainings of each of two methods, with the same seeds, for a chance of {100 * POWER:g} % that "
        f"p < {LEVEL:g}, before any correction for several methods; never fewer than {LEAST}. Those of one "
        "seed under several tables count as one.",
        soft_wrap=True,
    )


def _variances(scores: Scores) -> list[Variances]:
    """Of each method's gain over its baseline, within the trainings that both have."""
    trainings = scores.trainings(scores.endpoint)
    every = (
        variances(trainings[method], trainings[baseline])
        for method, baseline in references(scores.study.runs).items()
    )
    return [spread for spread in every if spread]


def _print(scores: Scores, spread: Variances, methods: int, gain: float, console: Console) -> None:
    console.print(f"\n{endpoint(scores)}", style="bold", soft_wrap=True)
    parts = {"trainings": spread.training, "patients": spread.patient}
    said = ", ".join(f"{math.sqrt(variance):.1f} between {name}" for name, variance in parts.items())
    console.print(
        f"standard deviations of a gain: {said}, {math.sqrt(spread.rest):.1f} beyond both "
        f"(from {counted(methods, 'method')})",
        soft_wrap=True,
    )
    table = Table("test patients", title=f"to show a gain of {gain:g}")
    table.add_column("trainings a side", justify="right")
    for trainings in TRAININGS:
        table.add_column(f"chance with {trainings}", justify="right")
    for patients in (factor * len(scores.patients) for factor in PATIENTS):
        needed = trainings_needed(spread, gain, patients)
        chances = (power(spread, gain, trainings, patients) for trainings in TRAININGS)
        table.add_row(
            str(patients),
            f"more than {MOST}" if needed is None else str(needed),
            *(f"{number(100 * chance, 0)} %" for chance in chances),
        )
    console.print(table)
