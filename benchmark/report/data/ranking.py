"""Methods put in order: by mean ranks over blocks, and as the BraTS challenge does, case by case.

    mean_ranks(values)                  # [blocks, methods], larger is better -> ranks, critical difference, p
    brats_ranks(values)                 # [methods, patients, items], larger is better -> ranks, p to the next

The ranks over blocks are J. Demsar's (JMLR 7, 2006): Friedman's test, then Nemenyi's critical difference. The
ranking of the challenge is over the patients of these trained networks: it says nothing of other trainings.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from benchmark.report.data.effects import DIGITS, LEVEL, Array
from datasets.randomness import generator

PERMUTATIONS = 10_000


@dataclass(frozen=True)
class MeanRanks:
    """Ranks of methods over blocks; 1 is best.

    Attributes:
        ranks: [methods].
        critical: mean ranks that differ by less are not told apart.
        p: of Friedman's test that all methods are alike.
    """

    ranks: Array
    critical: float
    p: float


def mean_ranks(values: Array) -> MeanRanks:
    """Rank three methods or more within each of two blocks or more; larger is better.

    Args:
        values: [blocks, methods], each a mean over trainings, so that blocks are what is drawn.
    """
    blocks, methods = values.shape
    ranks = rankdata(-values.round(DIGITS), axis=1).mean(axis=0)
    step = float(studentized_range.ppf(1 - LEVEL, methods, np.inf)) / np.sqrt(2)
    critical = step * np.sqrt(methods * (methods + 1) / (6 * blocks))
    alike = bool((values == values[:, :1]).all())
    p = 1.0 if alike else float(friedmanchisquare(*values.T.round(DIGITS)).pvalue)
    return MeanRanks(ranks, float(critical), p)


def brats_ranks(values: Array) -> tuple[Array, Array]:
    """Rank as the BraTS challenge does: within each patient and item, then the mean over items and patients.

    Args:
        values: [methods, patients, items]: an item is a region in a metric, larger is better; nan is last.

    Returns the final ranks [methods], 1 is best, and for each method the p of a permutation test against the
    one that follows it in order: the patients' ranks of both are swapped at random; nan for the last.
    """
    filled = np.where(np.isnan(values), -np.inf, values.round(DIGITS))
    by_patient = rankdata(-filled, axis=0).mean(axis=2)
    final = by_patient.mean(axis=1)
    order = np.argsort(final, kind="stable")
    signs = generator(0, "permutations").choice([-1.0, 1.0], (PERMUTATIONS, values.shape[1]))
    p = np.full(len(final), np.nan)
    for first, second in pairwise(order):
        gaps = by_patient[second] - by_patient[first]
        as_far = np.abs(signs @ gaps) >= abs(gaps.sum()) - 10**-DIGITS
        p[first] = (as_far.sum() + 1) / (PERMUTATIONS + 1)
    return final, p
