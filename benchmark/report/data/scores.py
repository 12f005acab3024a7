"""The numbers behind a table: means per run and per case, before anything is said of them.

    scores = score(collected, study, "dice")
    scores.runs["RFNet baseline"]["WT"]      # a row per run, a column per subset and their average
    scores.cases["RFNet baseline"]["WT"]     # a row per case, seeds averaged

Metrics without a unit are in percent.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.evaluation.metrics import METRICS
from benchmark.report.data.collect import Collected
from benchmark.report.data.runs import Study
from datasets.vocabulary import subset_name, table_subsets

AVERAGE = "average"
Frames = dict[str, dict[str, pd.DataFrame]]
"""By method and region: a row per run or case, columns as `Scores.subsets` and the average."""


@dataclass(frozen=True)
class Scores:
    """One metric of one study.

    Attributes:
        study: whose.
        metric: its name.
        subsets: names, in the order of the tables.
        runs: per method and region, the mean over the cases of each run, by the run's folder name.
        cases: per method and region, the mean over the runs of each case. A case without some modality lacks
            the subsets with it (nan), and so the average.
        fewest: the smallest number of cases of any subset; 0 where each has all of them.
        dice: per method and region, the mean Dice of each run, which says whether it finds anything; empty
            where it was not recorded, and for metrics of which more is better.
    """

    study: Study
    metric: str
    subsets: tuple[str, ...]
    runs: Frames
    cases: Frames
    fewest: int
    dice: Frames

    @property
    def title(self) -> str:
        """``Dice (%)``, ``HD95 (mm)``."""
        return metric_title(self.metric)

    @property
    def higher_is_better(self) -> bool:
        """The metric's direction."""
        return METRICS[self.metric].higher_is_better


def metric_title(metric: str) -> str:
    """``Dice (%)``, ``HD95 (mm)``: metrics without a unit are given in percent."""
    return f"{METRICS[metric].title} ({METRICS[metric].unit or '%'})"


def under_several(every: Sequence[Scores]) -> list[str]:
    """Methods that several of the studies have: those whose profiles can be told apart."""
    counts = Counter(method for scores in every for method in scores.study.methods)
    return [method for method, times in counts.items() if times > 1]


def metrics_of(collected: Collected) -> list[str]:
    """Names of the recorded metrics, in the order of `METRICS`."""
    recorded = set(collected.cases["metric"].cat.categories)
    return [metric for metric in METRICS if metric in recorded]


def score(collected: Collected, study: Study, metric: str) -> Scores:
    """Return the means of one metric over the study's runs."""
    description = study.description
    subsets = tuple(subset_name(s, description.modalities) for s in table_subsets(description))
    rows = collected.cases
    rows = rows[rows["run"].isin([run.folder for run in study.runs])]
    overlaps, rows = rows[rows["metric"] == "dice"], rows[rows["metric"] == metric]
    fewest = int(rows.groupby("subset", observed=True)["case"].nunique().min())
    regions = [region.name for region in description.regions]
    runs, cases = (_means(rows, unit, metric, regions, subsets) for unit in ("run", "case"))
    asked = len(overlaps) and not METRICS[metric].higher_is_better
    dice = _means(overlaps, "run", "dice", regions, subsets) if asked else {}
    return Scores(study, metric, subsets, runs, cases, fewest if fewest < rows["case"].nunique() else 0, dice)


def _means(
    rows: pd.DataFrame, unit: str, metric: str, regions: list[str], subsets: tuple[str, ...]
) -> Frames:
    scale = 1 if METRICS[metric].unit else 100
    keys = ["method", "region", unit, "subset"]
    means = scale * rows.groupby(keys, observed=True)["value"].mean()
    wide = means.unstack("subset")
    wide = pd.DataFrame(wide.to_numpy(), wide.index, list(wide.columns)).reindex(columns=list(subsets))
    wide[AVERAGE] = wide.mean(axis=1, skipna=False)
    frames: Frames = {}
    for method, region in {(str(key[0]), str(key[1])): None for key in wide.index}:
        frames.setdefault(method, {})[region] = pd.DataFrame(wide.xs((method, region)))
    return {method: {r: found[r] for r in regions if r in found} for method, found in frames.items()}
