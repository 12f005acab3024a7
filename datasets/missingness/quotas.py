"""Tables from one missing rate per modality: two released generators, and independent draws.

    rates = named_rates("mr2468")                                 # [0.2, 0.4, 0.6, 0.8]
    table = quotas(rates, cases, seed=1037)                       # bool [N, M]

The released generator depends on the order of the cases as the released lists write them (`released_name`).
"""

import re
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from datasets.randomness import generator

RELEASED_SEED = 1037
"""Seed of the released tables, and of every table that is not asked for with another one."""
_RELEASED_SUBSETS = (
    "tttt", "ttft", "tttf", "ttff", "tftt", "tftf", "tfft", "tfff",
    "fttt", "ftft", "fttf", "ftff", "fftt", "fftf", "ffft",
)  # fmt: skip


def named_rates(profile: str) -> list[float] | None:
    """Return the missing rates that a profile's name says, one for each digit; None where it says none.

    A digit counts tenths, and ``p`` is its decimal point, as in HGA's tables: ``mr009p50`` is 0, 0, 0.95, 0.
    """
    if re.fullmatch(r"[mic]r([0-9](p[0-9])?)+", profile) is None:
        return None
    digits = re.findall(r"([0-9])(?:p([0-9]))?", profile)
    return [int(tenths + (hundredths or "0")) / 100 for tenths, hundredths in digits]


def independent(rates: Sequence[float], cases: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Each modality is missing with its rate; a case left with nothing is drawn again."""
    table = np.zeros((len(cases), len(rates)), dtype=bool)
    for row, case in zip(table, cases, strict=True):
        random = generator(seed, "missing", 0, case)
        while not row.any():
            row[:] = random.random(len(rates)) >= rates
    return table


def by_columns(rates: Sequence[float], cases: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Each modality is missing with its rate, as in HGA's generator for slices of MSSEG 2016 (bit for bit).

    One generator draws a modality after the other for all cases in the order of their names. A case can be
    left with nothing: HGA trains without it.
    """
    random = np.random.RandomState(seed)
    drawn = np.stack([random.rand(len(cases)) > rate for rate in rates], axis=1)
    table = np.empty_like(drawn)
    table[sorted(range(len(cases)), key=cases.__getitem__)] = drawn
    return table


def quotas(rates: Sequence[float], cases: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Each subset gets its expected number of cases, as in PASSION's released generator (bit for bit).

    The number is rounded down, but to no less than one for a subset that can occur. What cannot, for it lacks
    a modality whose rate is 0, gets none: the released code gives it one row too, but the tables that its
    authors made of such rates (HGA) have none. The first draws are never used, but they advance the generator
    as the released ones do.
    """
    count, modalities = len(cases), len(rates)
    random = np.random.RandomState(seed)
    random.rand(modalities * count)
    table = np.zeros((count, modalities), dtype=bool)
    filled = 0
    for subset in _quota_order(modalities):
        quota: float = count
        for present, rate in zip(subset, rates, strict=True):
            quota *= 1 - rate if present else rate
        rows = max(int(quota), 1) if quota else 0
        table[filled : filled + rows] = subset
        filled += rows
    shuffled = np.arange(count)
    random.shuffle(shuffled)
    table = table[shuffled]
    for row in table:
        while not row.any():
            row[:] = [random.rand() > rate for rate in rates]
    by_released_name = sorted(range(count), key=lambda i: released_name(cases[i]))
    ordered = np.empty_like(table)
    ordered[by_released_name] = table
    return ordered


def _quota_order(modalities: int) -> list[tuple[bool, ...]]:
    """Subsets in the order they are filled; the released one for four modalities follows no simple rule."""
    if modalities == 4:
        return [tuple(letter == "t" for letter in subset) for subset in _RELEASED_SUBSETS]
    return list(product((True, False), repeat=modalities))[:-1]


def grade(case: str) -> str | None:
    """Return HGG or LGG for a name of BraTS2020 (its number tells it), also with the released prefix."""
    match = re.fullmatch(r"(?:HG_|LG_)?BraTS20_Training_([0-9]{3})", case)
    return None if match is None else "LGG" if 259 < int(match[1]) < 336 else "HGG"


def released_name(case: str) -> str:
    """Return `case` as the released lists write it: ``HG_BraTS20_Training_001`` (grade by number)."""
    found = grade(case)
    return case if found is None or case.startswith(("HG_", "LG_")) else f"{found[:2]}_{case}"
