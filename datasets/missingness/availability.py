"""Who lacks what: from a profile's name and a list of cases to a table of what each case has.

    table = availability("mr2468", cases, BRATS2020)
    table.table, table.realised, table.hash           # bool [N, M], missing rates, identity

A profile's name ends in one digit per modality, its nominal missing rate in tenths, in the description's
`profile_order`; a digit may have a decimal, `9p5` for 0.95. Kinds: `mrABCD` quotas as in PASSION's released
generator (its tables bit for bit), `irABCD` independent draws, `crABCD` those of HGA's generator for slices,
which leaves out a case that has nothing, `complete`, which is what the files are, `csv:FILE` for a table of
one's own or one as released, and `FILE.yaml` for rates, groups, rules and poor quality (`profile_file`);
some files are shipped by name (extreme95).
"""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench_errors import InputError
from bench_registry import unknown
from datasets.missingness.degrade import KINDS, Degradation
from datasets.missingness.profile_file import (
    AS_THE_FILES,
    CASE,
    LABELLED,
    MCAR,
    PATIENT,
    SCAN,
    ProfileFile,
    read_profile,
)
from datasets.missingness.quotas import (
    RELEASED_SEED,
    by_columns,
    independent,
    named_rates,
    quotas,
    released_name,
)
from datasets.store.store import Store, check_name
from datasets.vocabulary import Description, Subset, nfc, patient, presence

SHIPPED = Path(str(files("datasets.missingness") / "profiles"))
PROFILES = (
    "mr2468", "mr1379", "mr2258", "mr2285", "mr5528", "mr5582", "mr8825", "mr8852", "ir2468",
    "mr0050", "mr009p50", "mr009p90", "mr357", "mr375", "mr537", "mr573", "mr735", "mr753", "cr97531",
    "complete",
    *sorted(path.stem for path in SHIPPED.glob("*.yaml")),
)  # fmt: skip
"""The published profiles (BraTS, HGA's, MyoPS), one of each other kind (any digits do), shipped files."""

_RELEASED_HEADER = ["data_name", "mask_id", "mask"]
_RELEASED_COLUMNS = (("flair", "t1ce", "t1", "t2"), ("flair", "t1", "t2", "dp", "gado"))
"""Order of the mask in the tables that are released: of BraTS, and of MSSEG 2016."""


@dataclass(frozen=True, eq=False)
class Availability:
    """Which modalities each case has.

    Attributes:
        profile: the name it was made from.
        modalities: names of the columns, in the order of the tensors' modality axis.
        cases: names of the rows.
        table: bool [N, M], True where the case has the modality; at least one in each row.
        nominal: the missing rates that the profile promises, per modality; None for a csv and for groups.
        degraded: (case, modality) -> in which poor quality the case has it.
        notes: what else is to be known of the table, a line each.
        definition: what the profile's file says; None for other profiles.
    """

    profile: str
    modalities: tuple[str, ...]
    cases: tuple[str, ...]
    table: NDArray[np.bool_]
    nominal: dict[str, float] | None
    degraded: Mapping[tuple[str, str], Degradation] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    definition: dict[str, Any] | None = None

    def showing(self, subset: Subset) -> "Availability":
        """Return the cases that have all modalities of a subset, and nothing else of them."""
        only = np.array(presence(subset, self.modalities))
        kept = np.flatnonzero(self.table[:, only].all(axis=1))
        cases = tuple(self.cases[i] for i in kept)
        left = {at: what for at, what in self.degraded.items() if at[0] in cases and at[1] in subset}
        return replace(self, cases=cases, table=np.tile(only, (len(cases), 1)), degraded=left)

    @property
    def realised(self) -> dict[str, float]:
        """Share of the cases that lack each modality."""
        return dict(zip(self.modalities, (~self.table).mean(axis=0).tolist(), strict=True))

    @property
    def quality(self) -> dict[str, dict[str, float]]:
        """Modality -> degradation -> share of the cases that have the modality; only what there is."""
        found: dict[str, dict[str, float]] = {}
        for m, modality in enumerate(self.modalities):
            counts = Counter(str(d) for (_, degraded), d in self.degraded.items() if degraded == modality)
            if counts:
                has = int(self.table[:, m].sum())
                found[modality] = {name: counts[name] / has for name in sorted(counts)}
        return found

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of the csv with its rows sorted by case name."""
        return sha256(self._csv(sorted(range(len(self.cases)), key=self.cases.__getitem__))).hexdigest()[:12]

    def to_csv(self) -> str:
        """Return ``case,flair,t1ce,t1,t2`` and a line for each case, in the order of `cases`.

        0: lacks it, 1: has it, ``noise-2``: has it in that quality.
        """
        return self._csv(range(len(self.cases))).decode()

    def cell(self, case: int, modality: int) -> str:
        """Return the csv's text for a case and a modality, by their indices."""
        degradation = self.degraded.get((self.cases[case], self.modalities[modality]))
        return str(degradation or int(self.table[case, modality]))

    def _csv(self, rows: Sequence[int]) -> bytes:
        lines = [("case", *self.modalities)]
        lines += [(self.cases[i], *(self.cell(i, m) for m in range(len(self.modalities)))) for i in rows]
        return "".join(",".join(_quoted(field) for field in line) + "\n" for line in lines).encode()


def availability(
    profile: str,
    cases: Sequence[str],
    description: Description,
    seed: int = RELEASED_SEED,
    existing: NDArray[np.bool_] | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> Availability:
    """Make a profile's table.

    Args:
        profile: `mrABCD`, `irABCD`, `complete`, `csv:FILE`, `FILE.yaml` or a shipped file's name; a file's
            path may be followed by its digest (`pinned`).
        cases: N distinct case names; rows come out in their order, which changes nothing else. Those that
            `crABCD` leaves with nothing have no row.
        description: the study; gives the modalities and the order of the digits.
        seed: of the draws.
        existing: bool [N, M], what is there at all. A case whose drawn subset holds nothing that exists keeps
            what exists.
        columns: case -> what else is known of it, such as its grade, for rates that depend on it.

    Raises `InputError` for an unknown profile, a wrong number of digits, and a file that is wrong, lacks a
    case or has changed since it was pinned.
    """
    if len(set(cases)) < len(cases):
        raise ValueError("a case name is given twice")
    if existing is None:
        existing = np.ones((len(cases), len(description.modalities)), dtype=bool)
    elif not existing.any(axis=1).all():
        raise ValueError("a case has no modality at all")
    check_profile(profile, description)
    names, modalities = tuple(cases), description.modalities
    lacking = zip(modalities, (~existing).sum(axis=0).tolist(), strict=True)
    notes = [f"{m} is not there in the files of {n} of {len(cases)} cases" for m, n in lacking if n]
    if profile.startswith("csv:"):
        table, degraded = _from_csv(profile, cases, description)
        table = _within(table, existing)
        has = dict(zip(names, table, strict=True))
        degraded = {(case, m): what for (case, m), what in degraded.items() if has[case][modalities.index(m)]}
        return Availability(profile, modalities, names, table, None, degraded, tuple(notes))
    if path := _yaml_path(profile):
        file = read_profile(path, description)
        made = _from_file(file, profile, cases, description, existing, seed, columns or {})
        return replace(made, notes=(*notes, *made.notes))
    rates = _rates(profile, description)
    nominal = {m: rates[m] for m in modalities}
    drawn = _by_digits(profile, cases, description, seed)
    having = np.flatnonzero(drawn.any(axis=1)).tolist()
    if cases and not having:
        raise InputError(f"profile {profile} leaves none of {len(cases)} cases with anything: give more")
    if left := len(cases) - len(having):
        notes.append(f"{left} of {len(cases)} cases are left with nothing: they do not train")
    table = _within(drawn[having], existing[having])
    names = tuple(names[i] for i in having)
    return Availability(profile, modalities, names, table, nominal, notes=tuple(notes))


def store_availability(
    profile: str, store: Store, cases: Sequence[str], seed: int = RELEASED_SEED
) -> Availability:
    """Make a profile's table of cases of a store, within what they have."""
    existing = np.array([store.available(case) for case in cases])
    records = {case: store.record(case) for case in cases}
    columns = {c: {SCAN: r.slice_of, **r.columns, LABELLED: str(sum(r.labelled))} for c, r in records.items()}
    return availability(profile, cases, store.description, seed, existing, columns)


def mechanism(table: Availability, description: Description) -> str:
    """Return what it depends on who lacks what, in the words of statistics: MCAR, MAR or MNAR."""
    if table.profile.startswith("csv:"):
        return "missing as the table has it, which does not say by what"
    path = _yaml_path(table.profile)
    by_name = AS_THE_FILES if table.profile == "complete" else MCAR
    found = read_profile(path, description).mechanism if path else by_name
    return "nothing is missing" if found == AS_THE_FILES and table.table.all() else found


def unit(table: Availability, description: Description) -> str:
    """Return what it is that lacks a modality, or not: each slice, scan or patient, or what shares a draw."""
    cases, patients = len(table.cases), len({patient(case, description) for case in table.cases})
    kind = "slice" if description.slices else "scan" if patients < cases else "patient"
    path = _yaml_path(table.profile)
    drawn = read_profile(path, description).unit if path else CASE
    shared = "" if drawn in (CASE, kind) else f", whose {kind}s share it"
    if drawn in (CASE, kind) and description.spatial_dims == 2 and not description.slices:
        shared = ", whose slices share it"
    of = f" of {patients} patient{'s' * (patients > 1)}" if kind != "patient" else ""
    return f"for each {kind if drawn == CASE else drawn}{shared}: {cases} {kind}{'s' * (cases > 1)}{of}"


def check_profile(profile: str, description: Description) -> None:
    """Raise `InputError` unless `availability` can make `profile` for this study."""
    pinned(profile, description)


def pinned(profile: str, description: Description) -> str:
    """Check a profile and return its name; that of a file of the user's with a digest of what it holds.

    So two files of different content are two profiles wherever they lie: ``sites.yaml#3f2a9c014b7d``. Raises
    `InputError` for a wrong profile, and where a given digest is not that of the file any more.
    """
    path, digest = _unpinned(profile)
    if profile.startswith("csv:"):
        found = read_csv(Path(path), description).hash
    elif file := _yaml_path(profile):
        found = read_profile(file, description).digest
        if path in PROFILES:
            return path
    else:
        _check_digits(profile, description)
        return profile
    if digest and digest != found:
        raise InputError(
            f"{path} has changed since the run was planned (its digest was {digest}, it is {found}): restore "
            "it, or start the grid again for runs of the new profile"
        )
    return f"{profile.partition(path)[0]}{path}#{found}"


def _unpinned(profile: str) -> tuple[str, str]:
    """Split a profile into its name, or the path of its file, and the digest, empty without one."""
    match = re.fullmatch(r"(?:csv:)?(.*?)(?:#([0-9a-f]{12}))?", profile, re.DOTALL)
    assert match is not None
    return match[1], match[2] or ""


def _yaml_path(profile: str) -> Path | None:
    name, _ = _unpinned(profile)
    if name in PROFILES and (SHIPPED / f"{name}.yaml").is_file():
        return SHIPPED / f"{name}.yaml"
    return Path(name) if name.endswith((".yaml", ".yml")) and not profile.startswith("csv:") else None


def _check_digits(profile: str, description: Description) -> None:
    if profile == "complete":
        return
    rates = named_rates(profile)
    expected = len(description.modalities)
    if rates is None:
        known = [p for p in PROFILES if p.isalpha() or len(named_rates(p) or []) == expected]
        known += [p for p in PROFILES if (SHIPPED / f"{p}.yaml").is_file()]
        raise InputError(f"{unknown('profile', profile, known)}, FILE.yaml, csv:FILE")
    if len(rates) != expected:
        raise InputError(
            f"profile {profile}: found {len(rates)} digits, {description.name} has {expected} "
            f"modalities: give one digit, the missing rate in tenths (9p5 for 0.95), for each of "
            f"{', '.join(description.profile_order)}"
        )


def _within(table: NDArray[np.bool_], existing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    table = table & existing
    return np.where(table.any(axis=1, keepdims=True), table, existing)


def _by_digits(profile: str, cases: Sequence[str], description: Description, seed: int) -> NDArray[np.bool_]:
    rates = _rates(profile, description)
    if profile == "complete":
        return np.ones((len(cases), len(rates)), dtype=bool)
    draw = {"mr": quotas, "ir": independent, "cr": by_columns}[profile[:2]]
    drawn = draw(list(rates.values()), cases, seed)
    return drawn[:, [description.profile_order.index(m) for m in description.modalities]]


def _from_file(
    file: ProfileFile,
    profile: str,
    cases: Sequence[str],
    description: Description,
    existing: NDArray[np.bool_],
    seed: int,
    columns: Mapping[str, Mapping[str, str]],
) -> Availability:
    known = {case: {PATIENT: patient(case, description), **columns.get(case, {})} for case in cases}
    units = file.units_of(cases, known)
    if file.base:
        of_units = availability(file.base, list(dict.fromkeys(units)), description, seed)
        rows = dict(zip(of_units.cases, of_units.table, strict=True))
        table, notes = _within(np.array([rows[unit] for unit in units]), existing), of_units.notes
        nominal = of_units.nominal
    else:
        table, notes = file.draw(cases, units, existing, seed, known)
        nominal = file.nominal
    degraded = file.draw_quality(table, cases, units, seed)
    return Availability(
        profile, description.modalities, tuple(cases), table, nominal, degraded, notes, file.definition
    )


def read_csv(path: Path, description: Description) -> Availability:
    """Read a table: ours (see `Availability.to_csv`), or one as PASSION's code writes (data_name, mask).

    Raises `InputError` naming the line for anything else.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = [
                (number, fields) for number, fields in enumerate(csv.reader(map(nfc, file)), 1) if fields
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as csv ({error}): give a table of what each case has"
        ) from None
    header = lines[0][1] if lines else []
    modalities = description.modalities
    if header[:1] == ["case"] and sorted(header[1:]) == sorted(modalities):
        columns = tuple(header[1:])
        values = [(number, fields[0], fields[1:]) for number, fields in lines[1:]]
    elif header[:3] == _RELEASED_HEADER and (
        released := next((c for c in _RELEASED_COLUMNS if sorted(c) == sorted(modalities)), None)
    ):
        columns = released
        values = [(number, fields[0], _mask(fields[2:3])) for number, fields in lines[1:]]
    else:
        raise InputError(
            f"{path} has the header '{','.join(header)}', expected 'case,{','.join(modalities)}' "
            "(or a table as PASSION's or HGA's code writes it, of BraTS or MSSEG 2016): mend the first line"
        )
    rows: dict[str, list[bool]] = {}
    degraded: dict[tuple[str, str], Degradation] = {}
    for number, case, cells in values:
        try:
            check_name(case)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        if case in rows:
            raise InputError(f"{path}, line {number}: case {case} stands there twice: leave one of them")
        poor = {m: cell for m, cell in zip(columns, cells, strict=False) if cell.partition("-")[0] in KINDS}
        cells = ["1" if cell in poor.values() else cell for cell in cells]
        if len(cells) != len(columns) or not set(cells) <= {"0", "1"} or "1" not in cells:
            raise InputError(
                f"{path}, line {number}: expected a case and 0 or 1 (or noise-2, say, for poor quality), "
                f"not all 0, for each of {', '.join(columns)}"
            )
        rows[case] = [cells[columns.index(m)] == "1" for m in modalities]
        degraded |= {(case, m): Degradation.parse(cell) for m, cell in poor.items()}
    if not rows:
        raise InputError(f"{path} has no cases: give one a line")
    table = np.array(list(rows.values()))
    return Availability(f"csv:{path}", modalities, tuple(rows), table, None, degraded)


def _rates(profile: str, description: Description) -> dict[str, float]:
    order = description.profile_order
    return dict(zip(order, named_rates(profile) or [0.0] * len(order), strict=True))


def _from_csv(
    profile: str, cases: Sequence[str], description: Description
) -> tuple[NDArray[np.bool_], dict[tuple[str, str], Degradation]]:
    path = Path(_unpinned(profile)[0])
    read = read_csv(path, description)
    rows = dict(zip(read.cases, read.table, strict=True))
    names = [nfc(case) if nfc(case) in rows else released_name(case) for case in cases]
    lacking = [case for case, name in zip(cases, names, strict=True) if name not in rows]
    if lacking:
        raise InputError(
            f"{path} says nothing of {len(lacking)} of {len(cases)} cases ({', '.join(lacking[:3])}"
            f"{', ...' if len(lacking) > 3 else ''}): add a line for each"
        )
    degraded = {
        (case, m): read.degraded[name, m]
        for case, name in zip(cases, names, strict=True)
        for m in description.modalities
        if (name, m) in read.degraded
    }
    return np.array([rows[name] for name in names]), degraded


def _mask(fields: list[str]) -> list[str]:
    """Turn ``[True, False, ...]`` into ``["1", "0", ...]``; anything else stays as it is, to be refused."""
    bits = {"True": "1", "False": "0"}
    return [bits.get(part, part) for field in fields for part in re.split(r", *", field.strip("[]"))]


def _quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if set(field) & set(',"\r\n') else field
