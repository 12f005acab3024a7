"""Paired tests over cases, written out so that every step can be checked by hand.

    result = paired(differences)        # [cases, columns] -> mean difference, interval, effect size, p
    corrected = holm(result.p)

The test is Wilcoxon's signed-rank test, two-sided: cases without a difference are left out, equal ones share
their mean rank (F. Wilcoxon, Biometrics Bulletin 1, 1945). Up to `EXACT` remaining cases p is exact, from all
2^n signs of the very ranks at hand, ties included; beyond, it is the normal approximation with correction for
ties and continuity. A cell's p depends on its own cases alone.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

EXACT = 50
"""Number of differing cases up to which p is exact."""
RESAMPLES = 2000
"""Bootstrap samples of an interval."""
LEVEL = 0.95
"""Coverage of the intervals."""
SEED = 1037
DIGITS = 9
"""Differences that agree to so many decimals are ties."""
CHUNK = 1024
"""Columns that are resampled at a time, for the sake of memory."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """What a paired comparison found, an array of [columns] each.

    Attributes:
        cases: number of pairs.
        difference: the mean difference; nan without a pair.
        low, high: ends of its bootstrap interval; nan with fewer than two pairs.
        effect: matched-pairs rank-biserial correlation, from -1 (all ranks negative) to 1 (D. S. Kerby,
            Comprehensive Psychology 3, 2014); 0 where no case differs.
        p: two-sided; 1 where no case differs, nan without a pair.
    """

    cases: NDArray[np.int64]
    difference: Array
    low: Array
    high: Array
    effect: Array
    p: Array


def paired(differences: Array) -> Paired:
    """Test the paired differences [cases, columns] of each column against 0; nan: the case has no pair."""
    there = np.isfinite(differences)
    cases = there.sum(axis=0)
    filled = np.where(there, differences, 0.0).round(DIGITS)
    unequal = filled != 0
    # Zeros rank below all else: without them every other rank is lower by their number.
    ranks = rankdata(np.abs(filled), axis=0) - (~unequal).sum(axis=0)
    ranks = np.where(unequal, ranks, 0.0)
    total, positive = ranks.sum(axis=0), np.where(filled > 0, ranks, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.where(cases > 0, filled.sum(axis=0) / cases, np.nan)
        effect = np.where(total > 0, (2 * positive - total) / total, 0.0)
    low, high = mean_interval(differences)
    p = np.where(cases > 0, _p_values(ranks, positive, total, unequal.sum(axis=0)), np.nan)
    return Paired(cases, difference, low, high, np.where(cases > 0, effect, np.nan), p)


def holm(p: Array) -> Array:
    """Correct the p-values of one family (S. Holm, Scandinavian Journal of Statistics 6, 1979); nan stays."""
    corrected = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return corrected


def mean_interval(values: Array) -> tuple[Array, Array]:
    """Return the percentile bootstrap interval of the means of [cases, columns], as low and high [columns].

    The same resampled cases serve all columns. Fewer than two values of a column: nan.
    """
    ends = [_interval(values[:, i : i + CHUNK]) for i in range(0, values.shape[1], CHUNK)]
    low, high = np.concatenate(ends, axis=1) if ends else np.empty((2, 0))
    return low, high


def _interval(values: Array) -> Array:
    there = np.isfinite(values)
    interval = np.full((2, values.shape[1]), np.nan)
    enough = there.sum(axis=0) >= 2
    if not enough.any():
        return interval
    values, there = values[:, enough], there[:, enough]
    drawn = _resamples(len(values))
    # A resample without any of a column's cases has no mean; the others decide.
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = len(values) if there.all() else drawn @ there.astype(float)
        draws = (drawn @ np.where(there, values, 0.0)) / sizes
    quantile = np.nanquantile if np.isnan(draws).any() else np.quantile
    tail = (1 - LEVEL) / 2
    # Rounded, as the order of a sum, and so its last digit, depends on the machine.
    interval[:, enough] = quantile(draws, [tail, 1 - tail], axis=0).round(DIGITS)
    return interval


@lru_cache(maxsize=8)
def _resamples(cases: int) -> Array:
    """Return how often each case is drawn, [RESAMPLES, cases]; equal numbers of cases give equal draws."""
    random = np.random.default_rng(SEED)
    return random.multinomial(cases, np.full(cases, 1 / cases), size=RESAMPLES).astype(float)


def _p_values(ranks: Array, positive: Array, total: Array, unequal: NDArray[np.int64]) -> Array:
    smaller = np.minimum(positive, total - positive)
    # Under the null hypothesis the positive ranks' sum has mean total / 2 and variance sum(ranks^2) / 4; mean
    # ranks bring the correction for ties with them.
    deviation = np.sqrt((ranks**2).sum(axis=0)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.minimum(1.0, 2 * norm.sf((total / 2 - smaller - 0.5) / deviation))
    for i in np.flatnonzero(unequal <= EXACT):
        doubled = np.sort(2 * ranks[:, i][ranks[:, i] > 0]).astype(int)
        p[i] = min(1.0, 2 * _at_most(tuple(doubled.tolist()), round(2 * smaller[i])))
    return p


def _at_most(doubled_ranks: tuple[int, ...], doubled_sum: int) -> float:
    """Chance that the positive ranks of fair signs add up to at most this."""
    return float(_cumulative(doubled_ranks)[doubled_sum])


@lru_cache(maxsize=256)
def _cumulative(doubled_ranks: tuple[int, ...]) -> Array:
    """The distribution function of the sum of the positive ranks, built up case by case."""
    chance = np.zeros(sum(doubled_ranks) + 1)
    chance[0] = 1.0
    for rank in doubled_ranks:
        with_it = np.zeros_like(chance)
        with_it[rank:] = chance[:-rank]
        chance = (chance + with_it) / 2
    return chance.cumsum()
