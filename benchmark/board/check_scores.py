"""The scores of a test, whole and possible, and those of its predictions where these are handed in."""

from collections.abc import Iterator

from benchmark.board.rules import BrokenRule, keeping, require
from benchmark.evaluation.metrics import METRICS, Scoring
from benchmark.evaluation.score_maps import score_maps
from benchmark.evaluation.segment_case import Segmentation
from benchmark.models.predictions import disagreement, of_maps, read_maps
from benchmark.run_folder.case_rows import CaseRow, read_rows
from benchmark.run_folder.tests import PREDICTIONS, TestFolder
from benchmark.training.inputs import Inputs
from datasets.vocabulary import subset_name, table_subsets

Key = tuple[str, str, str, str]
"""Of a score: case, subset, region and metric."""


def checked_rows(test: TestFolder, inputs: Inputs, scoring: Scoring) -> tuple[tuple[CaseRow, ...], bool]:
    """Return a test's scores in the order of the tables, and whether they were computed from predictions.

    With predictions it is their scores that are returned, and the recorded ones have to agree with them.
    Raises `BrokenRule`.
    """
    with keeping("scores"):
        recorded = read_rows(test.cases)
        values = {row[:4]: row for row in recorded}
        require("scores", len(values) == len(recorded), "cases.csv has a score twice")
        wanted = list(_wanted(inputs, scoring))
        odd = sorted(values.keys() ^ set(wanted))
        if odd:
            found = f"cases.csv {'has' if odd[0] in values else 'lacks'} {', '.join(odd[0])!a}"[:200]
            more = f", and {len(odd) - 1} more like it" if odd[1:] else ""
            raise BrokenRule("scores", found + more)
        rows = [values[key] for key in wanted]
        for row in rows:
            _check_possible(row, scoring)
        predictions = test.path / PREDICTIONS
        if not predictions.exists():
            return tuple(rows), False
        scored = [row for case in inputs.tested for row in _scored(test, inputs, scoring, case)]
        why = disagreement(rows, scored)
        require("scores", not why, f"the predictions have other scores than cases.csv: {why}")
        of_predictions = {row[:4]: row for row in scored}
        return tuple(of_predictions.get(row[:4], row) for row in rows), True


def subsets_of(inputs: Inputs, case: str) -> list[str]:
    """Return the names of the subsets that a case is tested on."""
    description, available = inputs.store.description, inputs.store.available(case)
    has = {m for m, there in zip(description.modalities, available, strict=True) if there}
    every = [subset for subset in table_subsets(description) if has.issuperset(subset)]
    return [subset_name(subset, description.modalities) for subset in every]


def _wanted(inputs: Inputs, scoring: Scoring) -> Iterator[Key]:
    regions = [region.name for region in inputs.store.description.regions]
    for case in inputs.tested:
        for subset in subsets_of(inputs, case):
            for region in regions:
                for metric in scoring.metrics:
                    yield case, subset, region, metric


def _check_possible(row: CaseRow, scoring: Scoring) -> None:
    metric, value = METRICS[row.metric], row.value
    may_lack = metric.of_probabilities or scoring.empty_slices == "skip"
    possible = may_lack if value != value else 0 <= value <= (float("inf") if metric.unit else 1.0 + 1e-6)
    require("scores", possible and value != float("inf"), f"{', '.join(row[:4])!a} is {value}")
    same = row.policy == scoring.policy.name
    require("scores", same, f"{', '.join(row[:4])!a} is by {row.policy[:20]!a}, not {scoring.policy.name}")


def _scored(test: TestFolder, inputs: Inputs, scoring: Scoring, case: str) -> list[CaseRow]:
    """The scores of a case's predictions."""
    store = inputs.store
    path = test.path / PREDICTIONS / f"{case}.npz"
    require("scores", path.exists(), f"there are predictions, but none of case {case}")
    maps = read_maps(path, subsets_of(inputs, case), store.record(case).shape)
    classes = len(store.description.classes)
    known = all(int(found.max(initial=0)) < classes for found in maps.values())
    require("scores", known, f"the predictions of case {case} have classes beyond {classes - 1}")
    return score_maps(store, case, Segmentation(dict(maps)), of_maps(scoring))
