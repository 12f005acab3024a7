"""Profiles of missingness as YAML files: who lacks what by rates, groups and rules, and who has it poorly.

    profile = read_profile(Path("sites.yaml"), BRATS2020)

A file has some of these keys, at most one of `base`, `rates` and `groups`; without them nothing is missing:

    about: what it is like
    base: mr2468                                    # a profile by its name
    rates: {t1: 0.2, t1ce: 0.95}                    # missing rates in [0, 1); 0 for what is not named
    groups:                                         # rates that depend on a column of the cases
      column: site
      cases: sites.csv                              # has the columns case and site; lies beside the YAML file
      rates: {north: {t1ce: 0.1}, south: {t1ce: 0.9, t2: 0.5}}
    rules:                                          # applied in their order until they change nothing
    - {absent: t1ce, when_absent: t1}
    - {absent: [flair, t2], when_present: t1ce}
    degrade:                                        # a share of the cases that have the modality
    - {kind: noise, severity: 2, share: 0.3, modalities: [flair]}

Without `cases`, the column is one that the paths of the study's files tell (`{site}` or `{grade:HGG|LGG}` in
its layout; known of a prepared store), or the grade of BraTS2020, which the cases' numbers tell.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bench_errors import InputError
from bench_registry import unknown
from datasets.missingness.degrade import KINDS, SEVERITIES, Degradation
from datasets.missingness.quotas import grade, named_rates
from datasets.missingness.rates import Rule, draw_table, outcomes
from datasets.randomness import generator
from datasets.studies.patterns import words
from datasets.vocabulary import Description, nfc

KEYS = ("about", "base", "rates", "groups", "rules", "degrade")
EVERYONE = ""
"""The group of all cases where rates do not depend on groups."""


@dataclass(frozen=True)
class Poor:
    """In a share of the cases that have one of the modalities (indices), it is degraded."""

    degradation: Degradation
    share: float
    modalities: tuple[int, ...]


@dataclass(frozen=True)
class ProfileFile:
    """A profile of a file, checked.

    Attributes:
        path: the file.
        modalities: of the study, in the order of the rates and rows.
        base: name of the profile that says who lacks what; None where `rates` do.
        column: what the groups are by; empty without groups.
        rates: group -> missing rate per modality.
        groups: case -> group, from the file of cases; empty where names tell it, or without groups.
        rules: in their order.
        poor: whose quality is poor.
        definition: what the file says, without `about`.
    """

    path: Path
    modalities: tuple[str, ...]
    base: str | None
    column: str
    rates: dict[str, tuple[float, ...]]
    groups: dict[str, str]
    rules: tuple[Rule, ...]
    poor: tuple[Poor, ...]
    definition: dict[str, Any]

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of all that can change a table, the groups of the cases included."""
        rules = [(rule.absent, rule.when, rule.when_present) for rule in self.rules]
        poor = [(str(entry.degradation), entry.share, entry.modalities) for entry in self.poor]
        groups = self.column, sorted(self.rates.items()), sorted(self.groups.items())
        content = json.dumps([self.modalities, self.base, groups, rules, poor])
        return sha256(content.encode()).hexdigest()[:12]

    @property
    def nominal(self) -> dict[str, float] | None:
        """The missing rates that it asks for; None where they depend on the case."""
        return None if self.column else dict(zip(self.modalities, self.rates[EVERYONE], strict=True))

    def draw(
        self,
        cases: Sequence[str],
        existing: NDArray[np.bool_],
        seed: int,
        columns: Mapping[str, Mapping[str, str]],
    ) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
        """Draw what each case has by rates and rules, bool [N, M], and say what should be known of it.

        Each modality is had by one case at least, by arrangement if no draw gives it.

        Args:
            cases: N names.
            existing: bool [N, M], what is on disk.
            seed: of the draws.
            columns: case -> what else is known of it.

        Raises `InputError` where a case has no group, could only have nothing, or where the cases are too few
        to have each modality once.
        """
        groups = self._groups_of(cases, columns)
        ends = [
            outcomes(self.rates[group], tuple(exists.tolist()), self.rules)
            for group, exists in zip(groups, existing, strict=True)
        ]
        for case, possible, exists in zip(cases, ends, existing, strict=True):
            if not possible:
                has = ", ".join(np.array(self.modalities)[exists])
                raise InputError(
                    f"{self.path}: the rules leave nothing to case {case}, which has {has} on disk: "
                    "change the rules, or leave the case out"
                )
        try:
            table, given = draw_table(ends, cases, seed)
        except ValueError:
            raise InputError(
                f"{self.path}: {len(cases)} cases are too few for each modality to be had once under these "
                "rules: give more cases, or change the rules"
            ) from None
        notes = [
            f"{self.modalities[m]} was drawn for no case: given to {cases[i]}, so that one has it"
            for m, i in given
        ]
        return table, (*notes, *self._by_group(table, groups))

    def draw_quality(
        self, table: NDArray[np.bool_], cases: Sequence[str], seed: int
    ) -> dict[tuple[str, str], Degradation]:
        """Draw which modalities of which cases are degraded, of what `table` says they have."""
        degraded = {}
        for m, modality in enumerate(self.modalities):
            entries = [entry for entry in self.poor if m in entry.modalities]
            for i in np.flatnonzero(table[:, m]).tolist() if entries else ():
                place = generator(seed, "quality", m, cases[i]).random()
                for entry in entries:
                    if place < entry.share:
                        degraded[cases[i], modality] = entry.degradation
                        break
                    place -= entry.share
        return degraded

    def _groups_of(self, cases: Sequence[str], columns: Mapping[str, Mapping[str, str]]) -> list[str]:
        if not self.column:
            return [EVERYONE] * len(cases)
        known = {case: {"grade": grade(case) or "", **columns.get(case, {})} for case in cases}
        groups = [self.groups.get(nfc(case)) or nfc(known[case].get(self.column, "")) for case in cases]
        lacking = [case for case, group in zip(cases, groups, strict=True) if group not in self.rates]
        if lacking:
            raise InputError(
                f"{self.path}: the {self.column} of {len(lacking)} of {len(cases)} cases is not known "
                f"({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}): add them to groups.cases"
            )
        return groups

    def _by_group(self, table: NDArray[np.bool_], groups: Sequence[str]) -> list[str]:
        """Say of each group how many cases it has and what they lack."""
        lines = []
        for group in self.rates if self.column else ():
            rows = table[[g == group for g in groups]]
            missing = zip(self.modalities, (~rows).mean(axis=0), strict=True) if len(rows) else ()
            rates = ", ".join(f"{m} {rate:.3f}" for m, rate in missing)
            lines.append(
                f"{self.column} {group}: {len(rows)} cases{', missing rates ' if rates else ''}{rates}"
            )
        return lines


def path_columns(description: Description) -> dict[str, list[str]]:
    """Return the columns that the paths of a study's files tell, with their values where they are listed."""
    found: dict[str, list[str]] = {"grade": ["HGG", "LGG"]} if description.name == "brats2020" else {}
    for layout in description.layouts:
        for name, values in words(layout.label).items():
            if name != "case":
                listed = values and found.get(name, values)
                found[name] = list(dict.fromkeys((*found.get(name, []), *values))) if listed else []
    return found


def read_profile(path: Path, description: Description) -> ProfileFile:
    """Read and check a profile's file for a study; `InputError` with all that is wrong, in one line."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"profile {path} is not YAML ({' '.join(str(error).split())}): mend the file"
        ) from None
    except OSError as error:
        raise InputError(
            f"profile {path} cannot be read ({error.strerror}): give the path of a YAML file"
        ) from None
    reader = _Reader(path, description)
    profile = reader.profile(content)
    if reader.problems:
        raise InputError(f"profile {path}: {'; '.join(reader.problems)}")
    return profile


class _Reader:
    """Turns YAML content into a `ProfileFile`, collecting what is wrong in `problems`."""

    def __init__(self, path: Path, description: Description):
        self.problems: list[str] = []
        self._path = path
        self._description = description
        self._modalities = description.modalities

    def profile(self, content: Any) -> ProfileFile:
        values = self._mapping(content, KEYS, "")
        given = [key for key in ("base", "rates", "groups") if key in values]
        if len(given) > 1:
            self._wrong(given[1], f"stands beside {given[0]}, expected one of base, rates and groups")
        if "base" in values and "rules" in values:
            self._wrong("rules", "go with rates or groups, a base has its own table: remove one of them")
        if not isinstance(values.get("about", ""), str):
            self._wrong("about", f"expected text, found {values['about']!r}")
        base = values.get("base")
        digits = len(self._modalities)
        if "base" in values and len(named_rates(str(base)) or []) != digits:
            self._wrong("base", f"expected mr or ir and {digits} digits, such as mr2468, found {base!r}")
        column = EVERYONE
        rates = {EVERYONE: self._rates(values.get("rates", {}), "rates")}
        groups: dict[str, str] = {}
        if "groups" in values:
            column, rates, groups = self._groups(values["groups"])
        rules = tuple(
            rule
            for i, entry in enumerate(self._list(values.get("rules", []), "rules"), 1)
            if (rule := self._rule(entry, f"rules, entry {i}"))
        )
        poor = tuple(
            found
            for i, entry in enumerate(self._list(values.get("degrade", []), "degrade"), 1)
            if (found := self._poor(entry, f"degrade, entry {i}"))
        )
        for m, modality in enumerate(self._modalities):
            if (total := sum(entry.share for entry in poor if m in entry.modalities)) > 1 + 1e-9:
                self._wrong("degrade", f"the shares of {modality} add up to {total:g}, expected at most 1")
        if not self.problems:
            self._check_rules(rates, rules)
        definition = {key: value for key, value in values.items() if key != "about"}
        return ProfileFile(self._path, self._modalities, base, column, rates, groups, rules, poor, definition)

    def _check_rules(self, rates: dict[str, tuple[float, ...]], rules: tuple[Rule, ...]) -> None:
        everything = (True,) * len(self._modalities)
        ends = {group: outcomes(row, everything, rules) for group, row in rates.items()}
        for group, possible in ends.items():
            if not possible:
                self._wrong("rules", f"leave every case{f' of {group}' if group else ''} with nothing")
        rows = [row for possible in ends.values() for row, _ in possible]
        never = [m for i, m in enumerate(self._modalities) if rows and not any(row[i] for row in rows)]
        if never:
            self._wrong("rules", f"never leave {', '.join(never)} to any case: change them")

    def _groups(self, content: Any) -> tuple[str, dict[str, tuple[float, ...]], dict[str, str]]:
        values = self._mapping(content, ("column", "cases", "rates"), "groups")
        column, file = values.get("column"), values.get("cases")
        if not isinstance(column, str) or not column:
            self._wrong("groups.column", f"expected the name of a column, found {column!r}")
            return EVERYONE, {}, {}
        column = nfc(column)
        entries = values.get("rates")
        if not isinstance(entries, dict) or not entries:
            self._wrong("groups.rates", f"expected rates for each {column}, found {entries!r}")
            return column, {}, {}
        rates = {}
        for group, row in entries.items():
            if isinstance(group, bool) or not isinstance(group, str | int | float):
                self._wrong("groups.rates", f"found the group {group!r}, expected text: put it in quotes")
            rates[nfc(str(group))] = self._rates(row, f"groups.rates.{group}")
        if file is None:
            told = path_columns(self._description)
            known, groups = told.get(column, []), {}
            if column not in told:
                self._wrong(
                    "groups.cases",
                    f"expected a csv with the {column} of each case: the files of {self._description.name} "
                    f"tell {', '.join(told) or 'no column'}",
                )
        else:
            groups = self._column(file, column)
            known = sorted(set(groups.values()))
        for group in rates if known else ():
            if group not in known:
                self._wrong("groups.rates", unknown(column, group, known))
        if lacking := [group for group in known if group not in rates]:
            self._wrong("groups.rates", f"nothing is said of {column} {', '.join(lacking)}: add rates")
        return column, rates, groups

    def _column(self, file: Any, column: str) -> dict[str, str]:
        if not isinstance(file, str):
            self._wrong("groups.cases", f"expected the path of a csv, found {file!r}")
            return {}
        path = self._path.parent / file
        try:
            with path.open(newline="", encoding="utf-8-sig") as stream:
                rows = list(csv.DictReader(map(nfc, stream), restval=""))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            self._wrong("groups.cases", f"{path} cannot be read as csv ({error})")
            return {}
        header = list(rows[0]) if rows else []
        for name in ("case", column):
            if name not in header:
                columns = ", ".join(map(str, header)) or "no rows"
                self._wrong("groups.cases", f"{path} has no column {name}, found {columns}")
                return {}
        groups: dict[str, str] = {}
        for row in rows:
            case, group = row["case"].strip(), row[column].strip()
            if not case or not group:
                self._wrong("groups.cases", f"{path}: a line without case or {column}: fill it in")
                break
            if groups.setdefault(case, group) != group:
                self._wrong("groups.cases", f"{path} gives case {case} two values of {column}: leave one")
        return groups

    def _rates(self, content: Any, place: str) -> tuple[float, ...]:
        values = self._mapping(content, self._modalities, place, "modality")
        rates = []
        for modality in self._modalities:
            rate = values.get(modality, 0)
            if not 0 <= _number(rate) < 1:
                self._wrong(f"{place}.{modality}", f"expected a rate from 0 to below 1, found {rate!r}")
            rates.append(_number(rate))
        return tuple(rates)

    def _rule(self, content: Any, place: str) -> Rule | None:
        values = self._mapping(content, ("absent", "when_absent", "when_present"), place)
        whens = [key for key in ("when_absent", "when_present") if key in values]
        if "absent" not in values or len(whens) != 1:
            self._wrong(place, "expected absent and either when_absent or when_present")
            return None
        absent = self._named(values["absent"], f"{place}.absent")
        when = self._named(values[whens[0]], f"{place}.{whens[0]}")
        if both := set(absent) & set(when):
            self._wrong(place, f"{self._modalities[min(both)]} stands on both sides")
        return Rule(absent, when, whens[0] == "when_present")

    def _poor(self, content: Any, place: str) -> Poor | None:
        values = self._mapping(content, ("kind", "severity", "share", "modalities"), place)
        kind, severity, share = values.get("kind"), values.get("severity"), values.get("share")
        before = len(self.problems)
        if kind not in KINDS:
            self._wrong(f"{place}.kind", unknown("degradation", str(kind), list(KINDS)))
        if _number(severity) not in SEVERITIES:
            self._wrong(f"{place}.severity", f"expected 1, 2 or 3, found {severity!r}")
        if not 0 < _number(share) <= 1:
            self._wrong(f"{place}.share", f"expected a share above 0, at most 1, found {share!r}")
        modalities = self._named(values.get("modalities", list(self._modalities)), f"{place}.modalities")
        if len(self.problems) > before:
            return None
        return Poor(Degradation(str(kind), int(_number(severity))), _number(share), modalities)

    def _named(self, content: Any, place: str) -> tuple[int, ...]:
        """Read one modality or a list of them; return their indices."""
        names = [content] if isinstance(content, str) else self._list(content, place)
        if isinstance(content, list) and not names:
            self._wrong(place, "expected at least one modality, found an empty list")
        for name in names:
            if name not in self._modalities:
                self._wrong(place, unknown("modality", str(name), list(self._modalities)))
        return tuple(self._modalities.index(name) for name in names if name in self._modalities)

    def _mapping(self, content: Any, known: Sequence[str], place: str, kind: str = "key") -> dict[str, Any]:
        if not isinstance(content, dict):
            self._wrong(place, f"expected a mapping with {', '.join(known)}, found {content!r}")
            return {}
        for key in content:
            if key not in known:
                self._wrong(place, unknown(kind, str(key), list(known)))
        return {key: value for key, value in content.items() if key in known}

    def _list(self, content: Any, place: str) -> list[Any]:
        if isinstance(content, list):
            return content
        self._wrong(place, f"expected a list, found {content!r}")
        return []

    def _wrong(self, place: str, what: str) -> None:
        self.problems.append(f"{place}: {what}" if place else what)


def _number(value: Any) -> float:
    """Return a number as it is and NaN, which is within no limits, for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
