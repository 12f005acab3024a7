"""Which cases train, validate and test: ``parts = split(store.cases, store.description, "auto", seed=1037)``.

A published split is a file `splits/<dataset>.json`: `case` is the pattern of a case's name, whose group is
its number; `train`, `val` and `test` are the numbers, `name` makes a name of one, and `shape` is about that
of a prepared case. It holds for the cases that it names, and is never replaced unasked. Without one, patients
are divided at random, and all cases of one are on the same side.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from bench_errors import InputError
from datasets.randomness import generator
from datasets.vocabulary import Description

PUBLISHED_AND_REST = "published+rest"
POLICIES = ("auto", PUBLISHED_AND_REST, "random", "same")
TRAIN_SHARE = 219 / 369
VAL_SHARE = 50 / 369


@dataclass(frozen=True)
class Split:
    """Names of the cases of each part, sorted; no patient is in two parts, except with the policy `same`."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def split(cases: Sequence[str], description: Description, policy: str, seed: int) -> Split:
    """Divide the cases of a study.

    Args:
        cases: their names, in any order.
        description: says which cases are of one patient, and its name which published split applies.
        policy: `auto`: the published split of the dataset, or `random` where none is published.
            `published+rest`: the published split, and cases that it does not name train. `random`: the
            shares of BraTS2020's (219, 50 and 100 of 369). `fold0of5`: fold 0 of 5 equal random ones tests,
            the others train and validate in the same proportion. `same`: every case is in every part, which
            shows whether a network can learn them at all.
        seed: of the random divisions; the folds of one seed belong together.

    Raises `InputError` for an unknown policy, for fewer patients than the policy needs, and where a published
    split does not name a case (but for `published+rest`) or leaves a part empty.
    """
    names = sorted(cases)
    check_policy(policy)
    if policy == "same":
        return Split(tuple(names), tuple(names), tuple(names))
    if policy in ("auto", PUBLISHED_AND_REST) and (published := _published(names, description, policy)):
        return published
    fold, folds = _fold(policy) or (0, 0)
    patients = sorted({patient(name, description) for name in names})
    least = max(folds, 2)
    if len(patients) < least:
        found = "1 patient" if len(patients) == 1 else f"{len(patients)} patients"
        raise InputError(
            f"found {found}, expected at least {least} for split {policy}: "
            "use split: same to train and test on the same cases"
        )
    parts = _folded(patients, fold, folds, seed) if folds else _random(patients, seed)
    return Split(*(tuple(n for n in names if patient(n, description) in part) for part in parts))


def published_cases(dataset: str) -> tuple[list[str], tuple[int, ...]] | None:
    """Return the names of a published split's cases and about the shape [X, Y, Z] of one, if there is one."""
    published = _read(dataset)
    if published is None:
        return None
    numbers = sorted(number for part in ("train", "val", "test") for number in published[part])
    return [published["name"].format(number) for number in numbers], tuple(published["shape"])


def check_policy(policy: str) -> str:
    """Return `policy` if `split` knows it; raise `InputError` if not."""
    if policy not in POLICIES:
        fold, folds = _fold(policy) or (0, 0)
        if folds < 2 or fold >= folds:
            raise InputError(
                f"unknown split '{policy}': choose {', '.join(POLICIES)}, or a fold such as fold0of5 (to "
                "fold4of5)"
            )
    return policy


def patient(case: str, description: Description) -> str:
    """Return the patient that a case is of: by the description's pattern, or the case itself."""
    match = re.fullmatch(description.patient, case)
    return match[1] if match and description.patient else case


def _fold(policy: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"fold(\d+)of(\d+)", policy)
    return (int(match[1]), int(match[2])) if match else None


def _published(names: list[str], description: Description, policy: str) -> Split | None:
    """The published split of `names`; None if none is published for `auto`."""
    published = _read(description.name)
    if published is None:
        if policy == PUBLISHED_AND_REST:
            raise InputError(f"split {policy}: no split of {description.name} is published: use split: auto")
        return None
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    part_of = {number: part for part in parts for number in published[part]}
    rest: list[str] = []
    for name in names:
        match = re.fullmatch(published["case"], name)
        part = part_of.get(int(match[1])) if match else None
        (parts[part] if part else rest).append(name)
    about = f"the published split of {description.name}"
    if rest and policy != PUBLISHED_AND_REST:
        some = f"{', '.join(rest[:3])}{', ...' if len(rest) > 3 else ''}"
        raise InputError(
            f"split {policy}: found {len(rest)} of {len(names)} cases that {about} does not name ({some}): "
            f"leave them out, train on them as well with split: {PUBLISHED_AND_REST}, or divide all cases by "
            "seed with split: random"
        )
    parts["train"] = sorted(parts["train"] + rest)
    for part in ("train", "test"):
        if not parts[part]:
            raise InputError(
                f"split {policy}: {about} leaves no {part} case among the {len(names)} there are: add some, "
                "or divide them by seed with split: random, or use split: same"
            )
    return Split(tuple(parts["train"]), tuple(parts["val"]), tuple(parts["test"]))


def _read(dataset: str) -> dict[str, Any] | None:
    file = files("datasets.batches") / "splits" / f"{dataset}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _random(patients: list[str], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Shares as BraTS2020's; from two patients on, one at least trains and one tests."""
    order = generator(seed, "split").permutation(len(patients))
    train = round(len(patients) * TRAIN_SHARE)
    val = round(len(patients) * VAL_SHARE)
    shuffled = [patients[i] for i in order]
    return shuffled[:train], shuffled[train : train + val], shuffled[train + val :]


def _folded(patients: list[str], fold: int, folds: int, seed: int) -> tuple[list[str], list[str], list[str]]:
    """Every `folds`-th patient of a random order tests; the rest is divided as `_random` does."""
    order = generator(seed, "folds").permutation(len(patients))
    rest = [patients[i] for place, i in enumerate(order) if place % folds != fold]
    val = round(len(rest) * VAL_SHARE / (TRAIN_SHARE + VAL_SHARE))
    test = [patients[i] for i in order[fold::folds]]
    return rest[val:], rest[:val], test
