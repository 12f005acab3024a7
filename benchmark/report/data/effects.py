"""Means of a method and differences between methods, with intervals over trainings and patients.

    effect = difference(passion, baseline)      # of two `Trainings`: scores [trainings, patients, columns]
    effect.mean, effect.low, effect.high        # an array [columns] each
    effect.p                                    # nan with fewer than `LEAST` trainings a side
    holm(effect.p)

What repeats is a training: a seed and a split. Those of one seed under several tables of who lacks what begin
with the same weights and draws and are no repeats of each other (in results/phantom2, 0.6 of the variance of
gains between trainings is between seeds): they are averaged first, and are one. Its patients are those of
every other training, so the score of training t and patient p is modelled as crossed random effects:

    y[t, p] = mean + training[t] + patient[p] + rest[t, p]

The variance of the mean is estimated by the analysis of variance, its degrees of freedom are F. E.
Satterthwaite's (Biometrics Bulletin 2, 1946), the interval and p are Student's. Where both methods have the
same trainings, differences are formed within each; where they have most in common, within these alone. A two-
level bootstrap is too narrow for few trainings, and swapping the labels within five pairs cannot give p <
0.05; the tests hold this model to its level. It knows no variance between tables: what it says is of those
that were drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

LEVEL = 0.05
"""A corrected p below it is called a difference; the intervals cover the rest."""
LEAST = 5
"""Trainings a side from which on a difference is tested."""
POWER = 0.8
"""Chance with which a detectable difference is detected."""
DIGITS = 9
"""Decimals that are kept, as the last ones depend on the machine."""

Array = NDArray[np.float64]


class Training(NamedTuple):
    """What tells the trainings of a method apart.

    These are its seed, the seed and the hash of its table of who lacks what, and its split.
    """

    seed: int
    table_seed: int
    table: str
    split: str

    @property
    def repeat(self) -> tuple[int, str]:
        """What it shares with no training that repeats it: its seed and split."""
        return self.seed, self.split


@dataclass(frozen=True)
class Trainings:
    """The scores of one method.

    Attributes:
        keys: one per training.
        values: [trainings, patients, columns]; nan where a training was not tested on a patient.
    """

    keys: tuple[Training, ...]
    values: Array

    def __post_init__(self) -> None:
        """Raise `ValueError` for a training that is there twice, as if it were two."""
        if len(set(self.keys)) < len(self.keys):
            raise ValueError("a training is given twice")


@dataclass(frozen=True)
class Effect:
    """A mean, or a difference of two, with what is known of it: arrays of [columns].

    Attributes:
        mean: over the trainings of their mean over the patients; of a difference, first minus second.
        low, high: ends of its interval. It is over trainings and patients; with a single training on a side,
            over the patients of these trained networks.
        error: standard error.
        freedom: its degrees of freedom.
        p: two-sided, against no difference; nan with fewer than `LEAST` trainings on a side.
        patients: number of patients that every training of their split has a value of.
        sides: mean of each seed's training, [trainings, columns]: of the differences where trainings are
            paired, else of each method.
        tables: number of trainings on each side, those of a seed under several tables counted apart.
        unpaired: number of trainings that one of two paired methods has alone, and which are left out.
    """

    mean: Array
    low: Array
    high: Array
    error: Array
    freedom: Array
    p: Array
    patients: NDArray[np.int64]
    sides: tuple[Array, ...]
    tables: tuple[int, ...]
    unpaired: int = 0

    @property
    def trainings(self) -> int:
        """The number of trainings that repeat, the smaller one of two methods that are not paired."""
        return min(map(len, self.sides))

    @property
    def of_these_networks(self) -> bool:
        """Whether the interval says nothing of other trainings."""
        return self.trainings == 1

    @property
    def detectable(self) -> Array:
        """The true difference whose interval leaves out 0 with probability `POWER`; nan for one training."""
        beyond = stdtrit(self.freedom, 1 - LEVEL / 2) + stdtrit(self.freedom, POWER)
        return self.error * (np.nan if self.of_these_networks else beyond)

    @property
    def superiority(self) -> Array:
        """Share of pairs of trainings in which the first method is larger; ties count half."""
        first, *other = self.sides
        pairs = first[:, None] - (other[0][None] if other else 0.0)
        return ((np.sign(pairs.round(DIGITS)) + 1) / 2).mean(axis=(0, 1))

    def equivalence(self, margin: float) -> Array:
        """Return p of two one-sided tests (D. J. Schuirmann, 1987): small where the difference is less.

        `margin` is in the unit of the scores; nan with fewer than `LEAST` trainings on a side.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            above, below = (self.mean + margin) / self.error, (self.mean - margin) / self.error
        p = np.maximum(stdtr(self.freedom, -above), stdtr(self.freedom, below))
        return p if self.trainings >= LEAST else np.full_like(p, np.nan)


def mean(method: Trainings) -> Effect:
    """Return the mean over trainings and patients."""
    return _effect([method])


def difference(method: Trainings, reference: Trainings) -> Effect:
    """Return method minus reference, both with the same patients and columns.

    Paired within the trainings that both have, see `common`; without such, all are taken as independent.
    """
    paired = paired_differences(method, reference)
    if paired is None:
        return _effect([method, replace(reference, values=-reference.values)], (1.0, -1.0))
    alone = len(method.keys) + len(reference.keys) - 2 * len(paired.keys)
    return replace(_effect([paired]), unpaired=alone)


def common(first: Sequence[Training], second: Sequence[Training]) -> tuple[Training, ...]:
    """Return the trainings that both methods have and are paired in; none where these are few.

    They have to be of more than half of the seeds (and splits) of the method with fewer: of two methods with
    five seeds each and one in common, a pair would say less than all ten.
    """
    both = tuple(key for key in first if key in second)
    repeat, *sides = (len({key.repeat for key in keys}) for keys in (both, first, second))
    return both if 2 * repeat > min(sides) else ()


def paired_differences(method: Trainings, reference: Trainings) -> Trainings | None:
    """Return method minus reference within each of their `common` trainings; None where there are none."""
    both = common(method.keys, reference.keys)
    ours, theirs = ([side.keys.index(key) for key in both] for side in (method, reference))
    return Trainings(both, method.values[ours] - reference.values[theirs]) if both else None


def repeats(method: Trainings) -> Trainings:
    """Return the means of the trainings of each seed and split, over their tables."""
    places: dict[tuple[int, str], list[int]] = {}
    for i, key in enumerate(method.keys):
        places.setdefault(key.repeat, []).append(i)
    keys = tuple(method.keys[first] for first, *_ in places.values())
    return Trainings(keys, np.array([method.values[own].mean(axis=0) for own in places.values()]))


def training_means(method: Trainings) -> Array:
    """Return the mean of each training over the patients of whom all of its split have a value."""
    return _part(method, _complete([method])).means


def holm(p: Array) -> Array:
    """Correct the p-values of one family (S. Holm, Scandinavian Journal of Statistics 6, 1979); nan stays."""
    corrected = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return corrected


@dataclass(frozen=True)
class _Part:
    """What one side adds: its training means, each patient's share of the mean, and the rest's variance."""

    means: Array
    shares: Array
    rest: Array
    rest_freedom: Array


def _effect(sides: Sequence[Trainings], signs: Sequence[float] = (1.0,)) -> Effect:
    given = [len(side.keys) for side in sides]
    sides = [repeats(side) for side in sides]
    complete = _complete(sides)
    parts = [_part(side, complete) for side in sides]
    patients = np.any(list(complete.values()), axis=0).sum(axis=0)
    middle = np.sum([part.means.mean(axis=0) for part in parts], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.sum([part.shares for part in parts], axis=0)
        patient = (shares**2).sum(axis=0) * patients / (patients - 1)
        if min(len(part.means) for part in parts) > 1:
            counts = [len(part.means) for part in parts]
            of_sides = [part.means.var(axis=0, ddof=1) / n for part, n in zip(parts, counts, strict=True)]
            training, training_freedom = _sum(of_sides, [np.array(n - 1.0) for n in counts])
            rest, rest_freedom = _sum([p.rest for p in parts], [p.rest_freedom for p in parts])
            # Of what a mean square is expected to hold, the rest is the least.
            terms = np.maximum(training, rest), np.maximum(patient, rest), -rest
            freedoms = training_freedom, patients - 1.0, rest_freedom
            variance, freedom = _sum(terms, freedoms)
            freedom = np.maximum(freedom, np.minimum(training_freedom, patients - 1))
        else:
            variance, freedom = patient, patients - 1.0
        error = np.sqrt(variance).round(DIGITS)
        half = stdtrit(freedom, 1 - LEVEL / 2) * error
        middle = middle.round(DIGITS)
        p = 2 * stdtr(freedom, np.where(middle == 0, 0.0, -np.abs(middle) / error))
    means = tuple(sign * part.means for sign, part in zip(signs, parts, strict=True))
    if min(map(len, means)) < LEAST:
        p = np.full_like(p, np.nan)
    return Effect(middle, middle - half, middle + half, error, freedom, p, patients, means, tuple(given))


def _sum(variances: Sequence[Array], freedoms: Sequence[Array]) -> tuple[Array, Array]:
    """Return a sum of variances and Satterthwaite's degrees of freedom of it; of nothing, the fewest."""
    total = np.sum(variances, axis=0)
    parts = np.sum([v**2 / f for v, f in zip(variances, freedoms, strict=True)], axis=0)
    fewest = np.min(np.broadcast_arrays(*freedoms), axis=0)
    return total, np.where(parts == 0, fewest, total**2 / parts)


def _complete(sides: Sequence[Trainings]) -> dict[str, NDArray[np.bool_]]:
    """Which patients every training of a split has a value of, [patients, columns], by split."""
    complete: dict[str, NDArray[np.bool_]] = {}
    for side in sides:
        for key, values in zip(side.keys, side.values, strict=True):
            complete[key.split] = complete.get(key.split, True) & np.isfinite(values)
    return complete


def _part(side: Trainings, complete: dict[str, NDArray[np.bool_]]) -> _Part:
    """Return what one side adds; sums of squares are formed within each split."""
    count, columns = len(side.keys), side.values.shape[2]
    splits = [
        (valid, np.array([i for i, key in enumerate(side.keys) if key.split == split]))
        for split, valid in complete.items()
        if any(key.split == split for key in side.keys)
    ]
    means = np.empty((count, columns))
    with np.errstate(divide="ignore", invalid="ignore"):
        for valid, rows in splits:
            means[rows] = np.where(valid, side.values[rows], 0.0).sum(axis=1) / valid.sum(axis=0)
        middle = means.mean(axis=0)
        shares = np.zeros(side.values.shape[1:])
        squares, freedom, weight, cells, pairs = np.zeros((5, columns))
        for valid, rows in splits:
            share = 1 / (count * valid.sum(axis=0))
            away = np.where(valid, side.values[rows] - middle, 0.0)
            shares += share * away.sum(axis=0)
            cells += share**2 * (away**2).sum(axis=(0, 1))
            pairs += len(rows) * valid.sum(axis=0)
            of_trainings = (means[rows] - middle)[:, None]
            rest = np.where(valid, away - of_trainings - away.mean(axis=0) + of_trainings.mean(axis=0), 0.0)
            squares += (rest**2).sum(axis=(0, 1))
            freedom += (len(rows) - 1) * np.maximum(valid.sum(axis=0) - 1, 0)
            weight += len(rows) * share**2 * valid.sum(axis=0)
        # Where no split has two trainings, patients cannot be told from the rest.
        single = freedom == 0
        rest = np.where(single, cells * pairs / (pairs - 1), squares / freedom * weight)
    return _Part(means, shares, rest, np.where(single, pairs - 1, freedom))
