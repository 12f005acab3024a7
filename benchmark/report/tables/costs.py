"""What training each method costs, as its runs measured it: ``costs_tables(scores)``."""

import math
from statistics import median

from benchmark.report.data.names import without_network
from benchmark.report.data.runs import Run
from benchmark.report.data.scores import Scores
from benchmark.report.tables.captions import caption
from benchmark.report.tables.gains import network_of
from benchmark.report.tables.table import Block, Cell, Column, Row, Table

COLUMNS = (
    Column("parameters", "Parameters (M)"),
    Column("gflops", "GFLOPs", decimals=1),
    Column("step", "Step (s)", higher_is_better=False, decimals=3),
    Column("memory", "Memory (GiB)", higher_is_better=False),
)


def costs_tables(scores: Scores) -> list[Table]:
    """Return the table of a study, one row for each method and what it ran on; none where no run says."""
    study = scores.study
    rows: dict[str, list[Row]] = {}
    for method in study.methods:
        runs = [run for run in study.runs if run.method == method]
        label = without_network(method, runs[0].config["backbone"]["name"])
        for hardware in dict.fromkeys(run.hardware for run in runs):
            there = [run for run in runs if run.hardware == hardware]
            row = Row((label, hardware), tuple(map(Cell, _costs(there))), method, len(there))
            rows.setdefault(network_of(runs[0]), []).append(row)
    if all(math.isnan(cell.value) for own in rows.values() for row in own for cell in row.cells):
        return []
    table = Table(
        name=f"{study.name}-costs",
        kind="costs",
        metric=scores.metric,
        title="Cost of training",
        higher_is_better=False,
        policy=study.runs[0].metric_policy,
        labels=("Network", "Method", "Ran on"),
        columns=COLUMNS,
        blocks=tuple(Block(network, tuple(own)) for network, own in rows.items()),
        caption=caption(
            study,
            ": GFLOPs of one forward pass of a crop; seconds of a step, loading included, the median over "
            "epochs, then runs, beside whatever else the machine did; memory at its peak, on a GPU of the "
            "allocator, on a CPU of the whole process",
        ),
        heading=f"Cost of training, {study.title}",
    )
    return [table]


def _costs(runs: list[Run]) -> tuple[float, ...]:
    """The numbers of `COLUMNS`, nan where no run says."""
    size = runs[0].model
    trained = [run.trained for run in runs if run.trained.epochs]
    return (
        size.get("parameters", math.nan) / 1e6,
        size.get("gflops", math.nan),
        median(run.seconds for run in trained) if trained else math.nan,
        max((run.gib for run in trained), default=math.nan),
    )
