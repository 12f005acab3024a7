"""Which cases train, validate and test: ``parts = split(store.cases, store.description, "auto", seed=1037)``.

Published splits stand in a file `splits/<dataset>.json`: `case` is the pattern of a case's name, whose group
is its number; `name` makes a name of a number, and `shape` is about that of a prepared case (where slices are
cases, and a number is a volume, of all of its slices). Each of `splits`
has the numbers that `train`, `val` and `test`: `auto` is taken unasked, the others are asked for by name. It
holds for the cases that it names, and is never replaced unasked. Without one, patients are divided at random,
and all cases of one are on the same side.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from bench_errors import InputError
from bench_registry import unknown
from datasets.randomness import generator
from datasets.vocabulary import Description, patient

PUBLISHED_AND_REST = "published+rest"
POLICIES = ("auto", PUBLISHED_AND_REST, "random", "same")
PARTS = ("train", "val", "test")
_FOLDER = files("datasets.batches") / "splits"
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
            `published+rest`: the published split, and cases that it does not name train. `uhved1` and the
            other `named_splits`: the published split of that name, which is of one dataset. `random`: the
            shares of BraTS2020's (219, 50 and 100 of 369). `fold0of5`: fold 0 of 5 equal random ones tests,
            the others train and validate in the same proportion. `leave0of4`: the same folds, and all the
            others train: for few patients. `same`: every case is in every part, which shows whether a
            network can learn them at all.
        seed: of the random divisions; the folds of one seed belong together.

    Raises `InputError` for an unknown policy, for fewer patients than the policy needs, and where a published
    split is of another dataset, does not name a case (but for `published+rest`) or leaves a part empty.
    """
    names = sorted(cases)
    check_policy(policy)
    if policy == "same":
        return Split(tuple(names), tuple(names), tuple(names))
    asked_for = policy in ("auto", PUBLISHED_AND_REST, *named_splits())
    if asked_for and (published := _published(names, description, policy)):
        return published
    fold, folds, validate = _fold(policy) or (0, 0, True)
    patients = sorted({patient(name, description) for name in names})
    least = max(folds, 2)
    if len(patients) < least:
        found = "1 patient" if len(patients) == 1 else f"{len(patients)} patients"
        raise InputError(
            f"found {found}, expected at least {least} for split {policy}: "
            "use split: same to train and test on the same cases"
        )
    parts = _folded(patients, fold, folds, validate, seed) if folds else _random(patients, seed)
    return Split(*(tuple(n for n in names if patient(n, description) in part) for part in parts))


def published_cases(dataset: str) -> tuple[list[str], tuple[int, ...]] | None:
    """Return the cases that published splits name and about the shape [X, Y, Z] of one, if there are any."""
    published = _read(dataset)
    numbers = {number for parts in published["splits"].values() for part in PARTS for number in parts[part]}
    if not numbers:
        return None
    return [published["name"].format(number) for number in sorted(numbers)], tuple(published["shape"])


@cache
def named_splits() -> dict[str, str]:
    """Return the dataset of each split that is asked for by name: ``{"uhved1": "brats2018", ...}``."""
    datasets = sorted(Path(file.name).stem for file in _FOLDER.iterdir())
    return {name: dataset for dataset in datasets for name in _read(dataset)["splits"] if name != "auto"}


def check_policy(policy: str) -> str:
    """Return `policy` if `split` knows it; raise `InputError` if not."""
    names = (*POLICIES, *named_splits())
    if policy not in names:
        fold, folds, _ = _fold(policy) or (0, 0, True)
        if folds < 2 or fold >= folds:
            folds_there_are = "folds: fold0of5 (to fold4of5), or without validation leave0of5 (to leave4of5)"
            raise InputError(f"{unknown('split', policy, list(names))}, and {folds_there_are}")
    return policy


def repeats(policy: str) -> bool:
    """Whether trainings on such splits repeat a method: on folds, and on published splits with a name."""
    return policy not in POLICIES


def _fold(policy: str) -> tuple[int, int, bool] | None:
    """The fold, how many there are, and whether some of the other cases validate."""
    match = re.fullmatch(r"(fold|leave)(\d+)of(\d+)", policy)
    return (int(match[2]), int(match[3]), match[1] == "fold") if match else None


def _published(names: list[str], description: Description, policy: str) -> Split | None:
    """The published split of `names` that `policy` asks for; None if none is published for `auto`."""
    dataset = named_splits().get(policy, description.name)
    if dataset != description.name:
        raise InputError(f"split {policy} is one of {dataset}, not of {description.name}: use split: auto")
    published = _read(dataset)
    chosen = published["splits"].get(policy if policy in named_splits() else "auto")
    if chosen is None:
        if policy == PUBLISHED_AND_REST:
            named = [name for name, of in named_splits().items() if of == dataset]
            raise InputError(
                f"split {policy}: no published split of {dataset} is taken unasked: "
                f"use split: {' or '.join(['auto', *named])}"
            )
        return None
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    part_of = {number: part for part in PARTS for number in chosen[part]}
    rest: list[str] = []
    for name in names:
        match = re.fullmatch(published["case"], name)
        part = part_of.get(_number(match[1])) if match else None
        (parts[part] if part else rest).append(name)
    about = f"the published split of {dataset}"
    if rest and policy != PUBLISHED_AND_REST:
        some = f"{', '.join(rest[:3])}{', ...' if len(rest) > 3 else ''}"
        more = f"train on them as well with split: {PUBLISHED_AND_REST}, " if policy == "auto" else ""
        raise InputError(
            f"split {policy}: found {len(rest)} of {len(names)} cases that {about} does not name ({some}): "
            f"leave them out, {more}or divide all cases by seed with split: random"
        )
    parts["train"] = sorted(parts["train"] + rest)
    for part in ("train", "test"):
        if not parts[part]:
            raise InputError(
                f"split {policy}: {about} leaves no {part} case among the {len(names)} there are: add some, "
                "or divide them by seed with split: random, or use split: same"
            )
    return Split(tuple(parts["train"]), tuple(parts["val"]), tuple(parts["test"]))


def _number(text: str) -> int | str:
    """A case's number as the files of splits have it: those of some studies have letters."""
    return int(text) if text.isdigit() else text


@cache
def _read(dataset: str) -> dict[str, Any]:
    file = _FOLDER / f"{dataset}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {"splits": {}}


def _random(patients: list[str], seed: int) -> tuple[list[str], list[str], list[str]]:
    """Shares as BraTS2020's; from two patients on, one at least trains and one tests."""
    order = generator(seed, "split").permutation(len(patients))
    train = round(len(patients) * TRAIN_SHARE)
    val = round(len(patients) * VAL_SHARE)
    shuffled = [patients[i] for i in order]
    return shuffled[:train], shuffled[train : train + val], shuffled[train + val :]


def _folded(
    patients: list[str], fold: int, folds: int, validate: bool, seed: int
) -> tuple[list[str], list[str], list[str]]:
    """Every `folds`-th patient of a random order tests; the rest trains, or is divided as `_random` does."""
    order = generator(seed, "folds").permutation(len(patients))
    rest = [patients[i] for place, i in enumerate(order) if place % folds != fold]
    val = round(len(rest) * VAL_SHARE / (TRAIN_SHARE + VAL_SHARE)) if validate else 0
    test = [patients[i] for i in order[fold::folds]]
    return rest[val:], rest[:val], test
