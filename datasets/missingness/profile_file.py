"""Profiles of missingness as YAML files: who lacks what by rates, groups and rules, and who has it poorly.

    profile = read_profile(Path("sites.yaml"), BRATS2020)

A file has some of these keys, at most one of `base`, `rates` and `groups`; without them nothing is missing:

    about: what it is like
    base: mr2468                                    # a profile by its name
    rates: {t1: 0.2, t1ce: 0.95}                    # missing rates in [0, 1); 0 for what is not named
    groups:                                         # rates that depend on a column of the cases
      column: site
      cases: sites.csv                              # has the columns case and site; lies beside the YAML file
      case: Subject_ID                              # what the column of the cases is called, if not `case`
      rates: {north: {t1ce: 0.1}, south: {t1ce: 0.9, t2: 0.5}}
      limit: 60                                     # of a column of numbers: groups are `below` and `above`
    quotas: true                                    # subsets in their expected numbers: chance only says who
    unit: patient                                   # what shares a draw, if not a case alone; or a column
    rules:                                          # applied in their order until they change nothing
    - {absent: t1ce, when_absent: t1}
    - {absent: [flair, t2], when_present: t1ce}
    degrade:                                        # a share of the cases that have the modality
    - {kind: noise, severity: 2, share: 0.3, modalities: [flair]}

Without `cases`, the column is one that the paths of the study's files tell (`{site}` or `{grade:HGG|LGG}` in
its layout; known of a prepared store), the grade of BraTS2020, which the cases' numbers tell, or `labelled`:
how many voxels of a case of a prepared store have a label, with a `limit` to them. `unit` takes what the
paths tell too, and `scan` where slices are cases.

Statisticians tell apart (D. B. Rubin, Biometrika 1976) whether what is missing depends on nothing (MCAR), on
what is known of the case (MAR), or on what is to be found in it (MNAR); `mechanism` says which it is.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from bench_errors import InputError
from bench_registry import unknown
from bench_schema import Frozen, Location, Problem, refuse
from bench_yaml import Document, read_yaml
from datasets.missingness.degrade import Degradation
from datasets.missingness.quotas import grade, named_rates
from datasets.missingness.rates import Rule, draw_table, outcomes
from datasets.randomness import generator
from datasets.studies.patterns import words
from datasets.vocabulary import Description, nfc

LABELLED = "labelled"
"""The column of how many voxels of a case have a label."""
CASE, PATIENT, SCAN = "case", "patient", "scan"
"""Units: each case by itself, all cases of a patient, all slices of a volume."""
BELOW, ABOVE = "below", "above"
"""The groups of a column of numbers that has a limit; what is equal to it is above."""
MCAR = "missing completely at random (MCAR): by chance alone"
AS_THE_FILES = "missing as the files are, which do not say by what"
EVERYONE = ""
"""The group of all cases where rates do not depend on groups."""


def _study(info: ValidationInfo) -> Description:
    """Return the context of a profile's validation."""
    assert isinstance(info.context, Description)
    return info.context


def _index(name: object, info: ValidationInfo) -> int:
    modalities = list(_study(info).modalities)
    if name not in modalities:
        raise ValueError(unknown("modality", str(name), modalities))
    return modalities.index(str(name))


def _base(name: str, info: ValidationInfo) -> str:
    digits = len(_study(info).modalities)
    if name.startswith("cr") or len(named_rates(name) or []) != digits:
        raise ValueError(f"expected mr or ir and {digits} digits, such as mr2468, found {name!r}")
    return name


Text = Annotated[str, AfterValidator(nfc)]
Index = Annotated[int, BeforeValidator(_index)]
Rates = dict[Index, Annotated[float, Field(ge=0, lt=1)]]
Indices = Annotated[
    tuple[Index, ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else (value,)),
    Field(min_length=1),
]


class RuleEntry(Frozen):
    """Which modalities are absent, and when."""

    absent: Indices
    when_absent: Indices | None = None
    when_present: Indices | None = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if (self.when_absent is None) == (self.when_present is None):
            raise ValueError("expected absent and either when_absent or when_present")
        if both := set(self.rule.absent) & set(self.rule.when):
            raise ValueError(f"{_study(info).modalities[min(both)]} stands on both sides: name it on one")
        return self

    @property
    def rule(self) -> Rule:
        """The same as the law of missingness has it."""
        when = self.when_present or self.when_absent or ()
        return Rule(self.absent, when, self.when_present is not None)


class Poor(Frozen):
    """In a share of the cases that have one of the modalities (by default any), it is degraded."""

    kind: Annotated[str, AfterValidator(lambda kind: Degradation.parse(f"{kind}-1").kind)]
    severity: Literal[1, 2, 3]
    share: float = Field(gt=0, le=1)
    modalities: Indices | None = None

    @property
    def degradation(self) -> Degradation:
        """How it is degraded."""
        return Degradation(self.kind, self.severity)

    def among(self, modalities: Sequence[str]) -> tuple[int, ...]:
        """Return the indices of its modalities."""
        return self.modalities or tuple(range(len(modalities)))


class Groups(Frozen):
    """Rates that depend on a column of the cases."""

    column: Text = Field(min_length=1)
    cases: str | None = None
    case: Text = Field("case", min_length=1)
    limit: float | None = None
    rates: dict[Text, Rates] = Field(min_length=1)


class ProfileContent(Frozen):
    """The keys of a profile's file."""

    about: str = ""
    base: Annotated[str, AfterValidator(_base)] | None = None
    rates: Rates = Field(default_factory=dict)
    groups: Groups | None = None
    quotas: bool = False
    unit: Text = CASE
    rules: list[RuleEntry] = Field(default_factory=list)
    degrade: list[Poor] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        problems: dict[Location, str] = {}
        given = [key for key in ("base", "rates", "groups") if key in self.model_fields_set]
        for key in given[1:]:
            problems[(key,)] = f"stands beside {given[0]}, expected one of base, rates and groups"
        if self.quotas and not {"rates", "groups"} & set(given):
            problems["quotas",] = "go with rates or groups: a base has its own, remove one of them"
        if self.base and self.rules:
            problems["rules",] = "go with rates or groups, a base has its own table: remove one of them"
        units = [CASE, PATIENT, *path_columns(_study(info))]
        if self.unit not in units:
            problems["unit",] = unknown("unit", self.unit, units)
        modalities = _study(info).modalities
        for m, modality in enumerate(modalities):
            total = sum(entry.share for entry in self.degrade if m in entry.among(modalities))
            if total > 1 + 1e-9 and ("degrade",) not in problems:
                problems["degrade",] = f"the shares of {modality} add up to {total:g}, expected at most 1"
        refuse(problems)
        return self


@dataclass(frozen=True)
class ProfileFile:
    """A profile of a file, checked.

    Attributes:
        path: the file.
        modalities: of the study, in the order of the rates and rows.
        base: name of the profile that says who lacks what; None where `rates` do.
        column: what the groups are by; empty without groups.
        limit: of a column of numbers, what its groups are below and above of.
        rates: group -> missing rate per modality.
        groups: case -> group, from the file of cases; empty where names tell it, or without groups.
        quotas: whether subsets come in their expected numbers.
        unit: what shares a draw: `CASE`, or a column of the cases.
        rules: in their order.
        poor: whose quality is poor.
        definition: what the file says, without `about`.
    """

    path: Path
    modalities: tuple[str, ...]
    base: str | None
    column: str
    limit: float | None
    rates: dict[str, tuple[float, ...]]
    groups: dict[str, str]
    quotas: bool
    unit: str
    rules: tuple[Rule, ...]
    poor: tuple[Poor, ...]
    definition: dict[str, Any]

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of all that can change a table, the groups of the cases included."""
        rules = [(rule.absent, rule.when, rule.when_present) for rule in self.rules]
        poor = [(str(p.degradation), p.share, p.among(self.modalities)) for p in self.poor]
        groups: list[Any] = [self.column, sorted(self.rates.items()), sorted(self.groups.items())]
        groups += [self.limit] if self.limit is not None else []
        groups += [self.unit] if self.unit != CASE else []
        groups += [{"quotas": True}] if self.quotas else []
        content = json.dumps([self.modalities, self.base, groups, rules, poor])
        return sha256(content.encode()).hexdigest()[:12]

    @property
    def mechanism(self) -> str:
        """What it depends on who lacks what, in the words of statistics."""
        if self.column == LABELLED:
            return "missing not at random (MNAR): by what is to be found"
        if self.column:
            return f"missing at random (MAR), if the {self.column} is known without the images: by it"
        return MCAR if self.base or any(map(any, self.rates.values())) else AS_THE_FILES

    @property
    def nominal(self) -> dict[str, float] | None:
        """The missing rates that it asks for; None where they depend on the case."""
        return None if self.column else dict(zip(self.modalities, self.rates[EVERYONE], strict=True))

    def units_of(self, cases: Sequence[str], columns: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Return what each case shares its draws with; `InputError` where that is not known of one."""
        if self.unit == CASE:
            return list(cases)
        units = [columns[case].get(self.unit, "") for case in cases]
        if lacking := [case for case, unit in zip(cases, units, strict=True) if not unit]:
            raise InputError(
                f"{self.path}: the {self.unit} of {len(lacking)} of {len(cases)} cases is not known "
                f"({lacking[0]}): give a store, which knows it"
            )
        return units

    def draw(
        self,
        cases: Sequence[str],
        units: Sequence[str],
        existing: NDArray[np.bool_],
        seed: int,
        columns: Mapping[str, Mapping[str, str]],
    ) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
        """Draw what each case has by rates and rules, bool [N, M], and say what should be known of it.

        Each modality is had by one case at least, by arrangement if no draw gives it. Cases of a unit have
        the same, as far as they are in one group and have the same on disk.

        Args:
            cases: N names.
            units: what each shares its draw with.
            existing: bool [N, M], what is on disk.
            seed: of the draws.
            columns: case -> what else is known of it.

        Raises `InputError` where a case has no group, could only have nothing, or where the cases are too few
        to have each modality once.
        """
        groups = self._groups_of(cases, columns)
        lots = [
            (unit, group, tuple(exists.tolist()))
            for unit, group, exists in zip(units, groups, existing, strict=True)
        ]
        ends = {lot: outcomes(self.rates[lot[1]], lot[2], self.rules) for lot in lots}
        for case, lot in zip(cases, lots, strict=True):
            if not ends[lot]:
                has = ", ".join(np.array(self.modalities)[list(lot[2])])
                raise InputError(
                    f"{self.path}: the rules leave nothing to case {case}, which has {has} on disk: "
                    "change the rules, or leave the case out"
                )
        drawn_for = [unit for unit, _, _ in ends]
        try:
            drawn, given = draw_table([*ends.values()], drawn_for, seed, self.quotas)
        except ValueError:
            raise InputError(
                f"{self.path}: {len(cases)} cases are too few for each modality to be had once under these "
                "rules: give more cases, or change the rules"
            ) from None
        notes = [
            f"{self.modalities[m]} was drawn for no case: given to {drawn_for[i]}, so that one has it"
            for m, i in given
        ]
        rows = dict(zip(ends, drawn, strict=True))
        table = np.array([rows[lot] for lot in lots])
        return table, (*notes, *self._by_group(table, groups))

    def draw_quality(
        self, table: NDArray[np.bool_], cases: Sequence[str], units: Sequence[str], seed: int
    ) -> dict[tuple[str, str], Degradation]:
        """Draw which modalities of which cases are degraded, of what `table` says they have."""
        degraded = {}
        for m, modality in enumerate(self.modalities):
            entries = [entry for entry in self.poor if m in entry.among(self.modalities)]
            for i in np.flatnonzero(table[:, m]).tolist() if entries else ():
                place = generator(seed, "quality", m, units[i]).random()
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
        values = [self.groups.get(nfc(case)) or nfc(known[case].get(self.column, "")) for case in cases]
        groups = [self._side(value) for value in values]
        lacking = [case for case, group in zip(cases, groups, strict=True) if group not in self.rates]
        if lacking and self.column == LABELLED:
            raise InputError(f"{self.path}: what is labelled is known of the cases of a store: give that")
        if lacking:
            raise InputError(
                f"{self.path}: the {self.column} of {len(lacking)} of {len(cases)} cases is not known "
                f"({', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''}): add them to groups.cases"
            )
        return groups

    def _side(self, value: str) -> str:
        """Return the group of a value of the column: itself, or the side of the limit that it is on."""
        if self.limit is None:
            return value
        try:
            number = float(value)
        except ValueError:
            return ""
        return "" if math.isnan(number) else BELOW if number < self.limit else ABOVE

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
    found |= {SCAN: []} if description.slices else {}
    for layout in description.layouts:
        for name, values in words(layout.label).items():
            if name != "case":
                listed = values and found.get(name, values)
                found[name] = list(dict.fromkeys((*found.get(name, []), *values))) if listed else []
    return found


def read_profile(path: Path, description: Description) -> ProfileFile:
    """Read and check a profile's file for a study; `InputError` with all that is wrong, in one line."""
    document = read_yaml("profile", path, "give the path of a YAML file")
    content = document.check(ProfileContent, description)
    column, rates, groups = EVERYONE, {EVERYONE: content.rates}, {}
    if content.groups:
        column, rates = content.groups.column, content.groups.rates
        groups = _groups(document, content.groups, description, path.parent)
    profile = ProfileFile(
        path,
        description.modalities,
        content.base,
        column,
        content.groups.limit if content.groups else None,
        {g: tuple(row.get(m, 0.0) for m in range(len(description.modalities))) for g, row in rates.items()},
        groups,
        content.quotas,
        content.unit,
        tuple(entry.rule for entry in content.rules),
        tuple(content.degrade),
        {key: value for key, value in document.content.items() if key != "about"},
    )
    if problems := _useless(profile):
        raise document.errors([(("rules",), text) for text in problems])
    return profile


def _useless(profile: ProfileFile) -> list[str]:
    """Say what the rules leave to nobody."""
    everything = (True,) * len(profile.modalities)
    ends = {group: outcomes(row, everything, profile.rules) for group, row in profile.rates.items()}
    nothing = [f" of {group}" if group else "" for group, possible in ends.items() if not possible]
    rows = [row for possible in ends.values() for row, _ in possible]
    never = [m for i, m in enumerate(profile.modalities) if rows and not any(row[i] for row in rows)]
    problems = [f"leave every case{group} with nothing: change them" for group in nothing]
    return [*problems, f"never leave {', '.join(never)} to any case: change them"] if never else problems


def _groups(document: Document, groups: Groups, description: Description, folder: Path) -> dict[str, str]:
    """Return the group of each case of the file of cases; empty where the study's files tell it.

    Raises `InputError` where the groups are not those of the rates.
    """
    column, told, of_case = groups.column, path_columns(description), {}
    try:
        if groups.cases is not None:
            of_case = _read_column(folder / groups.cases, groups.case, column)
        elif column == LABELLED and groups.limit is None:
            raise InputError(f"{LABELLED} is a number of voxels: give a limit to it, such as limit: 5000")
        elif column not in (*told, LABELLED):
            tell = ", ".join(told) or "no column"
            raise InputError(
                f"expected a csv with the {column} of each case: the files of {description.name} tell {tell}"
            )
    except InputError as error:
        raise document.errors([(("groups", "cases"), str(error))]) from None
    known = sorted(set(of_case.values())) if groups.cases is not None else told.get(column, [])
    if groups.limit is not None:
        known = [BELOW, ABOVE]
    problems: list[Problem] = [
        (("groups", "rates", group), unknown(column, group, known))
        for group in groups.rates
        if known and group not in known
    ]
    if lacking := [group for group in known if group not in groups.rates]:
        problems.append((("groups", "rates"), f"nothing is said of {column} {', '.join(lacking)}: add rates"))
    if problems:
        raise document.errors(problems)
    return of_case


def _read_column(path: Path, cases: str, column: str) -> dict[str, str]:
    """Return the column of each case, which stands in the column `cases` of a csv.

    Raises `InputError` where it does not say one.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(map(nfc, stream), restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as csv ({error})") from None
    header = list(rows[0]) if rows else []
    if lacking := [name for name in (cases, column) if name not in header]:
        columns = ", ".join(map(str, header)) or "no rows"
        raise InputError(f"{path} has no column {lacking[0]}, found {columns}")
    values: dict[str, str] = {}
    for row in rows:
        case, value = row[cases].strip(), row[column].strip()
        if not case or not value:
            raise InputError(f"{path}: a line without {cases} or {column}: fill it in")
        if values.setdefault(case, value) != value:
            raise InputError(f"{path} gives case {case} two values of {column}: leave one")
    return values
