"""The law of missingness by rates and rules, exactly: what a case can end with, and how probably.

    ends = outcomes((0.2, 0.95, 0.4, 0.6), exists=(True,) * 4, rules=(Rule((1,), (2,), False),))
    table, given = draw_table([ends] * len(cases), cases, seed=1037)

Modalities are indices here. Every subset is weighed by the rates, cut to what exists, and settled by the
rules; ending with nothing is left out and the rest scaled to 1. So no case is drawn twice, however extreme
the rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from datasets.randomness import generator

Row = tuple[bool, ...]
Outcomes = tuple[tuple[Row, float], ...]


@dataclass(frozen=True)
class Rule:
    """`absent` modalities are taken from a case in which all of `when` are present, or all absent."""

    absent: tuple[int, ...]
    when: tuple[int, ...]
    when_present: bool


def settle(row: Row, rules: Sequence[Rule]) -> Row:
    """Apply the rules in their order, again and again until they change nothing."""
    now, before = list(row), None
    while now != before:
        before = list(now)
        for rule in rules:
            if all(now[m] == rule.when_present for m in rule.when):
                for m in rule.absent:
                    now[m] = False
    return tuple(now)


@lru_cache(maxsize=4096)
def outcomes(rates: tuple[float, ...], exists: Row, rules: tuple[Rule, ...]) -> Outcomes:
    """Return the rows that a case can end with and their probabilities; none if it could only have nothing.

    Args:
        rates: missing rate of each modality, in [0, 1), each drawn independently.
        exists: whether the case has it at all.
        rules: applied to what is drawn of what exists.
    """
    weights: dict[Row, float] = {}
    for drawn in product((True, False), repeat=len(rates)):
        weight = prod(1 - rate if has else rate for has, rate in zip(drawn, rates, strict=True))
        row = settle(tuple(d and e for d, e in zip(drawn, exists, strict=True)), rules)
        if weight and any(row):
            weights[row] = weights.get(row, 0.0) + weight
    total = sum(weights.values())
    return tuple((row, weight / total) for row, weight in weights.items())


def draw_table(
    ends: Sequence[Outcomes], cases: Sequence[str], seed: int, quotas: bool = False
) -> tuple[NDArray[np.bool_], list[tuple[int, int]]]:
    """Draw a row for each of N cases, so that each modality is had by one of them at least, where one can.

    With `quotas`, chance decides only who gets which row: of the cases with the same possible rows, each row
    goes to its expected number, rounded by largest remainders.

    Returns bool [N, M] and the (modality, case) pairs for which that had to be arranged: of the cases that
    can have it without taking another modality's only case, the one with the first draw gets its most
    probable row that has it. Raises `ValueError` where there is no such case.
    """
    places = [generator(seed, "missing", 0, case).random() for case in cases]
    if quotas:
        table = _by_quotas(ends, places)
    else:
        table = np.array([_pick(possible, place) for possible, place in zip(ends, places, strict=True)])
    given = []
    for m in range(table.shape[1]):
        if table[:, m].any() or not any(row[m] for possible in ends for row, _ in possible):
            continue
        for i in sorted(range(len(cases)), key=lambda i: generator(seed, "given", m, cases[i]).random()):
            only_here = table[i] & (table.sum(axis=0) == 1)
            having = [(p, row) for row, p in ends[i] if row[m] and np.array(row)[only_here].all()]
            if having:
                table[i] = max(having)[1]
                given.append((m, i))
                break
        else:
            raise ValueError(f"no case can have modality {m} besides what only it has")
    return table, given


def _by_quotas(ends: Sequence[Outcomes], places: Sequence[float]) -> NDArray[np.bool_]:
    """Deal out the rows of each law in their expected numbers, to cases in the order of their draws."""
    table = np.zeros((len(ends), len(ends[0][0][0])), dtype=bool)
    for law in dict.fromkeys(ends):
        cases = sorted((i for i, possible in enumerate(ends) if possible == law), key=places.__getitem__)
        expected = np.array([p * len(cases) for _, p in law])
        counts = np.floor(expected).astype(int)
        remainders = np.argsort(counts - expected, kind="stable")
        counts[remainders[: len(cases) - counts.sum()]] += 1
        table[cases] = np.repeat([row for row, _ in law], counts, axis=0)
    return table


def _pick(possible: Outcomes, place: float) -> Row:
    for row, probability in possible:
        place -= probability
        if place < 0:
            return row
    return possible[-1][0]
