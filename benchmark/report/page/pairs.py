"""The mean differences of two methods with their intervals, for the page's script: ``pairs(scores)``."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from benchmark.report.data.effects import Array, difference
from benchmark.report.data.scores import Scores
from benchmark.report.page.packed import hundredths
from benchmark.report.tables.captions import NETWORKS_ONLY
from benchmark.report.tables.rows import references
from benchmark.report.tables.words import trainings_of

MOST = 16
"""Methods of a study up to which every two of them have intervals; of more, each and its baseline."""


def pairs(scores: Sequence[Scores]) -> list[dict[str, Any]]:
    """Return an entry for each pair of methods, the script's names for a study's differences.

    Args:
        scores: of one study, one per metric.

    `methods` are the places of the two in the study, `about` says what the intervals are over. `effects`
    has, of each metric, the mean of first minus second and the ends of its interval in hundredths, each over
    the regions and the mean of the plain ones, of each region over the subsets and their average.
    """
    study = scores[0].study
    against = references(study.runs)
    compared = list(combinations(study.methods, 2)) if len(study.methods) <= MOST else list(against.items())
    trainings = [own.trainings(_columns(own)) for own in scores]
    entries = []
    for first, second in compared:
        effects = [difference(of[first], of[second]) for of in trainings]
        over = NETWORKS_ONLY if effects[0].of_these_networks else "trainings and patients"
        entries.append(
            {
                "methods": [study.methods.index(first), study.methods.index(second)],
                "about": f"{over}, {trainings_of(effects[0])}",
                "effects": [
                    [hundredths(part) for part in (effect.mean, effect.low, effect.high)]
                    for effect in effects
                ],
            }
        )
    return entries


def _columns(scores: Scores) -> Array:
    """Weights of a column per region and, of it, per subset; then those of the plain regions' mean."""
    of_regions = {region: scores.of_subsets(region) for region in scores.regions}
    mean = np.mean([of_regions[region] for region in scores.plain], axis=0)
    return np.concatenate([*of_regions.values(), mean])
