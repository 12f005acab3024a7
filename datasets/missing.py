"""Who lacks what: from a profile's name and a list of cases to a table of what each case has.

    table = availability("mr2468", cases, BRATS2020)
    table.table, table.realised, table.hash           # bool [N, M], missing rates, identity

A profile's name ends in one digit per modality, its nominal missing rate in tenths, in the description's
`profile_order`. Kinds: `mrABCD` quotas as in PASSION's released generator (its tables bit for bit), `irABCD`
independent draws, `complete`, and `csv:FILE` for a table of one's own or one as released.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench_errors import InputError
from bench_registry import unknown
from datasets.randomness import generator
from datasets.vocabulary import Description

PROFILES = (
    "mr2468", "mr1379", "mr2258", "mr2285", "mr5528", "mr5582", "mr8825", "mr8852", "ir2468",
    "mr357", "mr375", "mr537", "mr573", "mr735", "mr753", "complete",
)  # fmt: skip
"""The published profiles (BraTS, then MyoPS) and one of each other kind; any digits are valid."""

_RELEASED_SUBSETS = (
    "tttt", "ttft", "tttf", "ttff", "tftt", "tftf", "tfft", "tfff",
    "fttt", "ftft", "fttf", "ftff", "fftt", "fftf", "ffft",
)  # fmt: skip
_RELEASED_HEADER = ["data_name", "mask_id", "mask"]
_RELEASED_COLUMNS = ("flair", "t1ce", "t1", "t2")


@dataclass(frozen=True, eq=False)
class Availability:
    """Which modalities each case has.

    Attributes:
        profile: the name it was made from.
        modalities: names of the columns, in the order of the tensors' modality axis.
        cases: names of the rows.
        table: bool [N, M], True where the case has the modality; at least one in each row.
        nominal: the missing rates that the profile's name promises, per modality; None for a table of a file.
    """

    profile: str
    modalities: tuple[str, ...]
    cases: tuple[str, ...]
    table: NDArray[np.bool_]
    nominal: dict[str, float] | None

    @property
    def realised(self) -> dict[str, float]:
        """Share of the cases that lack each modality."""
        return dict(zip(self.modalities, (~self.table).mean(axis=0).tolist(), strict=True))

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the csv with its rows sorted by case name."""
        return sha256(self._csv(sorted(range(len(self.cases)), key=self.cases.__getitem__))).hexdigest()[:12]

    def to_csv(self) -> str:
        """Return ``case,flair,t1ce,t1,t2`` and a line of 0 and 1 for each case, in the order of `cases`."""
        return self._csv(range(len(self.cases))).decode()

    def _csv(self, rows: Sequence[int]) -> bytes:
        lines = [("case", *self.modalities)]
        lines += [(self.cases[i], *("1" if has else "0" for has in self.table[i])) for i in rows]
        return "".join(",".join(_quoted(field) for field in line) + "\n" for line in lines).encode()


def availability(
    profile: str,
    cases: Sequence[str],
    description: Description,
    seed: int = 1037,
    existing: NDArray[np.bool_] | None = None,
) -> Availability:
    """Make a profile's table.

    Args:
        profile: `mrABCD`, `irABCD`, `complete` or `csv:FILE`.
        cases: N distinct case names; rows come out in their order, which changes nothing else.
        description: the study; gives the modalities and the order of the digits.
        seed: of the draws; the released tables have 1037.
        existing: bool [N, M], what is there at all. A case whose drawn subset holds nothing that exists keeps
            what exists.

    Raises `InputError` for an unknown profile, a wrong number of digits, or a file that lacks a case.
    """
    if len(set(cases)) < len(cases):
        raise ValueError("a case name is given twice")
    check_profile(profile, description)
    nominal = None
    if profile.startswith("csv:"):
        table = _from_file(profile, cases, description)
    else:
        rates = _rates(profile, description)
        nominal = {m: rates[m] for m in description.modalities}
        if profile == "complete":
            table = np.ones((len(cases), len(rates)), dtype=bool)
        else:
            draw = _quotas if profile.startswith("mr") else _independent
            drawn = draw(list(rates.values()), cases, seed)
            table = drawn[:, [description.profile_order.index(m) for m in description.modalities]]
    if existing is not None:
        if not existing.any(axis=1).all():
            raise ValueError("a case has no modality at all")
        table = table & existing
        table = np.where(table.any(axis=1, keepdims=True), table, existing)
    return Availability(profile, description.modalities, tuple(cases), table, nominal)


def check_profile(profile: str, description: Description) -> None:
    """Raise `InputError` unless `availability` can make `profile` for this study."""
    if profile.startswith("csv:"):
        read_csv(Path(profile.removeprefix("csv:")), description)
    elif profile != "complete":
        match = re.fullmatch(r"[mi]r([0-9]+)", profile)
        expected = len(description.modalities)
        if match is None:
            known = [p for p in PROFILES if len(p) in (expected + 2, len("complete"))]
            raise InputError(f"{unknown('profile', profile, known)}, csv:FILE")
        if len(match[1]) != expected:
            raise InputError(
                f"profile {profile}: found {len(match[1])} digits, {description.name} has {expected} "
                f"modalities: give one digit, the missing rate in tenths, for each of "
                f"{', '.join(description.profile_order)}"
            )


def read_csv(path: Path, description: Description) -> Availability:
    """Read a table: ours (``case,flair,...``, 0 and 1), or one as PASSION's code writes (data_name, mask).

    Raises `InputError` naming the line for anything else.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, fields) for number, fields in enumerate(csv.reader(file), 1) if fields]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as csv ({error}): give a table of what each case has"
        ) from None
    header = lines[0][1] if lines else []
    modalities = description.modalities
    if header[:1] == ["case"] and sorted(header[1:]) == sorted(modalities):
        columns = tuple(header[1:])
        values = [(number, fields[0], fields[1:]) for number, fields in lines[1:]]
    elif header[:3] == _RELEASED_HEADER and sorted(modalities) == sorted(_RELEASED_COLUMNS):
        columns = _RELEASED_COLUMNS
        values = [(number, fields[0], _mask(fields[2:3])) for number, fields in lines[1:]]
    else:
        raise InputError(
            f"{path} has the header '{','.join(header)}', expected 'case,{','.join(modalities)}' "
            "(or a table as PASSION's code writes it, for its four modalities): mend the first line"
        )
    rows: dict[str, list[bool]] = {}
    for number, case, cells in values:
        if case in rows:
            raise InputError(f"{path}, line {number}: case {case} stands there twice: leave one of them")
        if len(cells) != len(columns) or not set(cells) <= {"0", "1"} or "1" not in cells:
            raise InputError(
                f"{path}, line {number}: expected a case and 0 or 1, not all 0, "
                f"for each of {', '.join(columns)}"
            )
        rows[case] = [cells[columns.index(m)] == "1" for m in modalities]
    if not rows:
        raise InputError(f"{path} has no cases: give one a line")
    return Availability(f"csv:{path}", modalities, tuple(rows), np.array(list(rows.values())), None)


def released_name(case: str) -> str:
    """Return `case` as the released lists write it: ``HG_BraTS20_Training_001`` (grade by number)."""
    match = re.fullmatch(r"BraTS20_Training_([0-9]{3})", case)
    if match is None:
        return case
    return ("LG_" if 259 < int(match[1]) < 336 else "HG_") + case


def _rates(profile: str, description: Description) -> dict[str, float]:
    order = description.profile_order
    digits = "0" * len(order) if profile == "complete" else profile[2:]
    return {m: int(digit) / 10 for m, digit in zip(order, digits, strict=True)}


def _from_file(profile: str, cases: Sequence[str], description: Description) -> NDArray[np.bool_]:
    path = Path(profile.removeprefix("csv:"))
    read = read_csv(path, description)
    rows = dict(zip(read.cases, read.table, strict=True))
    names = [case if case in rows else released_name(case) for case in cases]
    lacking = [case for case, name in zip(cases, names, strict=True) if name not in rows]
    if lacking:
        raise InputError(
            f"{path} says nothing of {len(lacking)} of {len(cases)} cases ({', '.join(lacking[:3])}"
            f"{', ...' if len(lacking) > 3 else ''}): add a line for each"
        )
    return np.array([rows[name] for name in names])


def _independent(rates: Sequence[float], cases: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Each modality is missing with its rate; a case left with nothing is drawn again."""
    table = np.zeros((len(cases), len(rates)), dtype=bool)
    for row, case in zip(table, cases, strict=True):
        random = generator(seed, "missing", 0, case)
        while not row.any():
            row[:] = random.random(len(rates)) >= rates
    return table


def _quotas(rates: Sequence[float], cases: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Each subset gets its expected number of cases, as in PASSION's released generator (bit for bit).

    The draws of the first line are never used, but they advance the generator as the released ones do.
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
        rows = max(int(quota), 1)
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


def _mask(fields: list[str]) -> list[str]:
    """Turn ``[True, False, ...]`` into ``["1", "0", ...]``; anything else stays as it is, to be refused."""
    bits = {"True": "1", "False": "0"}
    return [bits.get(part, part) for field in fields for part in re.split(r", *", field.strip("[]"))]


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"\r\n') else field
