"""The test of a network: every case once, its rows into `cases.csv`, slices of some into `examples.npz`.

    score_cases(test, store, cases, segment, policy)

What is in `cases.csv` is not done again. `training.run` tests what it has trained, `models.evaluate_on` a
finished run on other data.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.evaluation import example_slices
from benchmark.evaluation.metrics import MetricPolicy
from benchmark.evaluation.sliding_window import CPU, score_maps
from benchmark.run_folder.case_rows import read_rows, write_rows
from benchmark.run_folder.tests import TestFolder
from datasets.store.store import Store

Maps = dict[str, NDArray[np.uint8]]


def score_cases(
    test: TestFolder,
    store: Store,
    cases: Sequence[str],
    segment: Callable[[str], Maps],
    policy: MetricPolicy,
    stop: Callable[[], bool] = lambda: False,
    device: torch.device = CPU,
) -> None:
    """Test `cases` of `store` and record them in `test`, going on from the first that is not recorded.

    `segment` returns a case's class maps [*space] by name of the subset. `stop` is asked after each case; at
    a yes, KeyboardInterrupt is raised. `device`: where to compare surfaces.
    """
    rows = read_rows(test.cases)
    tested = {row.case for row in rows}
    slices = {}
    for case in cases:
        if case not in tested:
            maps = segment(case)
            rows += score_maps(store, case, maps, policy, device=device)
            write_rows(test.cases, rows)
            slices[case] = _cut(store, case, maps)
            if stop():
                raise KeyboardInterrupt
    example_slices.save(
        test.path / example_slices.FILE,
        [
            replace(slices.get(case) or _cut(store, case, segment(case)), roles=roles)
            for case, roles in example_slices.choose(rows).items()
        ],
    )
    test.mark_done()


def _cut(store: Store, case: str, maps: Maps) -> example_slices.Example:
    volumes, label = np.asarray(store.volumes(case)), np.asarray(store.labels(case))
    return example_slices.cut(case, volumes, label, maps, store.record(case).affine)
