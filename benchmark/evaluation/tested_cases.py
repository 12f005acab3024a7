"""The test of a network: every case once, its rows into `cases.csv`, slices of some into `examples.npz`.

    score_cases(test, store, cases, segment, scoring)

What is in `cases.csv` is not done again. `training.run` tests what it has trained, `models.evaluate_on` a
finished run on other data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmark.evaluation import example_slices
from benchmark.evaluation.metrics import Scoring
from benchmark.evaluation.score_maps import CPU, score_maps
from benchmark.evaluation.segment_case import Segmentation
from benchmark.run_folder.case_rows import read_rows, write_rows
from benchmark.run_folder.tests import TestFolder
from datasets.missingness.degrade import Degradation
from datasets.store.store import Store


def segment_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `segment_case` takes of a test's settings."""
    outside = settings.get("outside")
    return {
        "window": settings["window"],
        "flips": settings.get("flips", False),
        "outside": Degradation.parse(outside) if outside else None,
        "probabilities": Scoring.of(settings).of_probabilities,
    }


def score_cases(
    test: TestFolder,
    store: Store,
    cases: Sequence[str],
    segment: Callable[[str], Segmentation],
    scoring: Scoring,
    stop: Callable[[], bool] = lambda: False,
    device: torch.device = CPU,
) -> None:
    """Test `cases` of `store` and record them in `test`, going on from the first that is not recorded.

    `segment` segments a case for all subsets, with probabilities where `scoring` needs them. `stop` is asked
    after each case; at a yes, KeyboardInterrupt is raised. `device`: where to compare surfaces.
    """
    rows = read_rows(test.cases)
    tested = {row.case for row in rows}
    slices = {}
    for case in cases:
        if case not in tested:
            segmented = segment(case)
            rows += score_maps(store, case, segmented, scoring, device)
            write_rows(test.cases, rows)
            slices[case] = _cut(store, case, segmented)
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


def _cut(store: Store, case: str, segmented: Segmentation) -> example_slices.Example:
    volumes, label = np.asarray(store.volumes(case)), np.asarray(store.labels(case))
    return example_slices.cut(case, volumes, label, segmented.maps, store.record(case).affine)
