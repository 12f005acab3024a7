"""The test of a run: every case once, its rows into `cases.csv`, slices of some into `examples.npz`.

    score_cases(folder, store, cases, segment, policy)

What is in `cases.csv` is not done again. `training.run` tests what it has trained, `models.evaluate_on` a
finished run on other data.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.evaluation import example_slices as examples
from benchmark.evaluation.metrics import MetricPolicy
from benchmark.evaluation.sliding_window import CPU, Row, score_maps
from benchmark.run_folder.folder import VALIDATED, RunFolder, write_atomically
from datasets.store.store import Store

HEADER = ["case", "subset", "region", "metric", "policy", "value"]
Maps = dict[str, NDArray[np.uint8]]


def score_cases(
    folder: RunFolder,
    store: Store,
    cases: Sequence[str],
    segment: Callable[[str], Maps],
    policy: MetricPolicy,
    stop: Callable[[], bool] = lambda: False,
    device: torch.device = CPU,
) -> None:
    """Test `cases` of `store` and record them in `folder`, going on from the first that is not recorded.

    `segment` returns a case's class maps [*space] by name of the subset. `stop` is asked after each case; at
    a yes, KeyboardInterrupt is raised. `device`: where to compare surfaces.
    """
    rows = _finished_rows(folder)
    tested = {row[0] for row in rows}
    slices = {}
    for case in cases:
        if case not in tested:
            maps = segment(case)
            rows += _cells(score_maps(store, case, maps, policy, device=device), policy)
            _write_rows(folder.path / "cases.csv", rows)
            slices[case] = _cut(store, case, maps)
            if stop():
                raise KeyboardInterrupt
    examples.save(
        folder.path / examples.FILE,
        [
            replace(slices.get(case) or _cut(store, case, segment(case)), roles=roles)
            for case, roles in examples.choose(rows).items()
        ],
    )


def write_validation(folder: RunFolder, rows: Sequence[Row], policy: MetricPolicy) -> None:
    """Record the rows of a trial's validation cases, as its `cases.csv` would those of the test."""
    _write_rows(folder.path / VALIDATED, _cells(rows, policy))


def _cells(rows: Sequence[Row], policy: MetricPolicy) -> list[list[str]]:
    return [[r.case, r.subset, r.region, r.metric, policy.name, repr(r.value)] for r in rows]


def _cut(store: Store, case: str, maps: Maps) -> examples.Example:
    volumes, label = np.asarray(store.volumes(case)), np.asarray(store.labels(case))
    return examples.cut(case, volumes, label, maps, store.record(case).affine)


def _finished_rows(folder: RunFolder) -> list[list[str]]:
    path = folder.path / "cases.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def _write_rows(path: Path, rows: list[list[str]]) -> None:
    """Replace the file as a whole, so that a case is either in it with all its rows or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
