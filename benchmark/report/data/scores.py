"""The numbers behind a table: one array of scores, and its means per run, per case and per patient.

    scores = score(collected.cases, study, "dice")
    scores.of_runs("RFNet baseline")         # [runs, regions, subsets and their average]
    scores.of_cases("RFNet baseline")        # [cases, regions, subsets and their average]
    scores.trainings(scores.endpoint)["RFNet baseline"]     # what `effects` compares

Metrics without a unit are in percent.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from benchmark.evaluation.metrics import METRICS
from benchmark.report.data.effects import Array, Training, Trainings
from benchmark.report.data.runs import Run, Study
from datasets.vocabulary import patient, subset_name, table_subsets

AVERAGE = "average"


@dataclass(frozen=True)
class Scores:
    """One metric of one study.

    Attributes:
        study: whose.
        metric: its name.
        subsets: names, in the order of the tables.
        regions: names, in the order of the tables.
        names: of the test cases.
        values: [runs, cases, regions, subsets], runs as in the study; nan where there is none.
        dice: the Dice of the same, which says whether a method finds anything: 0 where it is 100, as of a
            case that lacks the region and in which none is found. None where it was not recorded, and for
            metrics of which more is better.
    """

    study: Study
    metric: str
    subsets: tuple[str, ...]
    regions: tuple[str, ...]
    names: tuple[str, ...]
    values: Array
    dice: "Scores | None" = None

    def __post_init__(self) -> None:
        if len(self.values) != len(self.study.runs):
            raise ValueError(f"{len(self.values)} rows of values for {len(self.study.runs)} runs")

    def of_methods(self, methods: Sequence[str]) -> "Scores":
        """Return the scores of these methods' runs alone."""
        kept = [i for i, run in enumerate(self.study.runs) if run.method in methods]
        return replace(
            self,
            study=self.study.of_methods(methods),
            values=self.values[kept],
            dice=self.dice and self.dice.of_methods(methods),
        )

    @property
    def title(self) -> str:
        """``Dice (%)``, ``HD95 (mm)``."""
        return metric_title(self.metric)

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """The regions that a mean is over."""
        return self.study.description.plain_regions

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction."""
        return METRICS[self.metric].higher_is_better

    @cached_property
    def fewest(self) -> int:
        """The smallest number of cases of any subset; 0 where each has all of them."""
        cases = np.isfinite(self.values).any(axis=(0, 2)).sum(axis=0)
        return int(cases.min()) if cases.min() < len(self.names) else 0

    def of_runs(self, method: str) -> Array:
        """The mean over the cases of each of a method's runs, [runs, regions, subsets and their average]."""
        return self._of_runs[self._rows[method]]

    def by_region(self, method: str, regions: Sequence[str]) -> Array:
        """A method's averages over the subsets, [runs, regions and the mean of the plain ones]."""
        averages = self.of_runs(method)[..., -1]
        places = [self.regions.index(region) for region in self.plain]
        mean = averages[:, places].mean(axis=1, keepdims=True)
        return np.hstack([averages[:, [self.regions.index(region) for region in regions]], mean])

    def of_cases(self, method: str) -> Array:
        """The mean over a method's runs of each case, [cases, regions, subsets and their average].

        A case without some modality lacks the subsets with it (nan).
        """
        return _with_average(finite_mean(self.values[self._rows[method]], axis=0))

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Names of the patients, of whom the test cases are scans."""
        described = self.study.description
        return tuple(dict.fromkeys(patient(name, described) for name in self.names))

    @cached_property
    def by_patient(self) -> Array:
        """The values [runs, patients, regions, subsets], scans of one patient averaged."""
        if len(self.patients) == len(self.names):
            return self.values
        described = self.study.description
        of_cases = np.array([patient(name, described) for name in self.names])
        groups = [of_cases == one for one in self.patients]
        return np.stack([finite_mean(self.values[:, group], axis=1) for group in groups], axis=1)

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """The methods that have values: of a metric that is not asked of all runs, some have none."""
        return tuple(m for m in self.study.methods if np.isfinite(self.values[self._rows[m]]).any())

    @property
    def whole(self) -> int:
        """The number of patients who have a value in every region and subset: of whom there are gains."""
        return int(np.isfinite(self.by_patient).all(axis=(2, 3)).any(axis=0).sum())

    def trainings(self, weights: Array) -> dict[str, Trainings]:
        """Return sums of each method's scores by patient, weighted by [columns, regions, subsets].

        A patient without a score of weight has no value in that column.
        """
        there, axes = np.isfinite(self.by_patient), ((2, 3), (1, 2))
        sums = np.tensordot(np.where(there, self.by_patient, 0.0), weights, axes)
        lacking = np.tensordot((~there).astype(float), (weights != 0).astype(float), axes) > 0
        sums[lacking] = np.nan
        keys = [training(run) for run in self.study.runs]
        return {m: Trainings(tuple(keys[i] for i in rows), sums[rows]) for m, rows in self._rows.items()}

    def of_subsets(self, region: str) -> Array:
        """Weights of a column per subset of a region, and of their average."""
        each = np.zeros((len(self.subsets) + 1, len(self.regions), len(self.subsets)))
        index = self.regions.index(region)
        each[:-1, index] = np.eye(len(self.subsets))
        each[-1, index] = 1 / len(self.subsets)
        return each

    def of_regions(self, regions: Sequence[str]) -> Array:
        """Weights of a column per region, its average over the subsets, and of the plain regions' mean."""
        return np.concatenate([*(self.of_subsets(region)[-1:] for region in regions), self.endpoint])

    @property
    def endpoint(self) -> Array:
        """Weights of the primary endpoint: the mean of the plain regions over all subsets."""
        return np.mean([self.of_subsets(region)[-1:] for region in self.plain], axis=0)

    def of_numbers(self, regions: Sequence[str]) -> Array:
        """Weights of a column per number of modalities: the mean of the regions over such subsets."""
        sizes = np.array([name.count("+") for name in self.subsets])
        weights = [(sizes == n) / (sizes == n).sum() for n in np.unique(sizes)]
        of_regions = np.isin(self.regions, regions) / len(regions)
        return np.array([of_regions[:, None] * own for own in weights])

    @cached_property
    def _of_runs(self) -> Array:
        """`of_runs` of all methods."""
        return _with_average(finite_mean(self.values, axis=1))

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        """The places of each method's runs."""
        rows: dict[str, list[int]] = {}
        for i, run in enumerate(self.study.runs):
            rows.setdefault(run.method, []).append(i)
        return rows


def training(run: Run) -> Training:
    """Return what tells a run's training apart from the others of its method."""
    config = run.content["config"]
    table = str(run.content["data"]["availability"]["hash"])
    return Training(config["seed"], config["table_seed"], table, str(config.get("split", "")))


def metric_title(metric: str) -> str:
    """``Dice (%)``, ``HD95 (mm)``: metrics without a unit are given in percent."""
    return f"{METRICS[metric].title} ({METRICS[metric].unit or '%'})"


def metric_scale(metric: str) -> int:
    """What recorded scores are multiplied by: metrics without a unit are given in percent."""
    return 1 if METRICS[metric].unit else 100


def under_several(every: Sequence[Scores]) -> list[str]:
    """Methods that several of the studies have: those whose profiles can be told apart."""
    counts = Counter(method for scores in every for method in scores.study.methods)
    return [method for method, times in counts.items() if times > 1]


def metrics_of(cases: pd.DataFrame) -> list[str]:
    """Names of the recorded metrics, in the order of `METRICS`."""
    recorded = set(cases["metric"].cat.categories)
    return [metric for metric in METRICS if metric in recorded]


def score(cases: pd.DataFrame, study: Study, metric: str) -> Scores:
    """Return one metric of the study's runs; see `scores_of`."""
    return scores_of(cases, study)[metric]


def scores_of(cases: pd.DataFrame, study: Study) -> dict[str, Scores]:
    """Return each recorded metric of the study's runs; `cases` has theirs, see `Collected`."""
    description, metrics = study.description, metrics_of(cases)
    subsets = tuple(subset_name(s, description.modalities) for s in table_subsets(description))
    regions = tuple(region.name for region in description.regions)
    folders = [run.folder for run in study.runs]
    words = {name: cases[name].cat for name in ("metric", "run", "case", "region", "subset")}
    rows = np.flatnonzero(words["run"].categories.isin(folders)[words["run"].codes])
    codes = {name: word.codes.to_numpy()[rows] for name, word in words.items()}
    names = words["case"].categories[np.unique(codes["case"])]
    named: tuple[Any, ...] = (metrics, folders, names, regions, subsets)
    axes = {word: pd.Index(axis) for word, axis in zip(words, named, strict=True)}
    at = (axis.get_indexer_for(words[word].categories)[codes[word]] for word, axis in axes.items())
    values = np.full([len(axis) for axis in axes.values()], np.nan)
    values[tuple(at)] = cases["value"].to_numpy()[rows]
    scores: dict[str, Scores] = {}
    for metric, of_metric in zip(metrics, values, strict=True):
        dice = None if METRICS[metric].higher_is_better else scores.get("dice")
        dice = dice and replace(dice, values=np.where(dice.values >= 100, 0.0, dice.values))
        of_metric *= metric_scale(metric)
        scores[metric] = Scores(study, metric, subsets, regions, tuple(map(str, names)), of_metric, dice)
    return scores


def _with_average(values: Array) -> Array:
    """The values and, as the last of the last axis, their mean along it."""
    return np.concatenate([values, values.mean(axis=-1, keepdims=True)], axis=-1)


def finite_mean(values: Array, axis: int) -> Array:
    """The mean along an axis of the values that are there; nan without one."""
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0.0).sum(axis=axis) / there.sum(axis=axis)
