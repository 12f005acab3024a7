"""Which cases train, validate and test: ``parts = split(store.cases, store.description, "auto", seed=1037)``.

A published split is a file `splits/<dataset>.json`: `case` is the pattern of a case's name, whose group is
its number; `train`, `val` and `test` are the numbers.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from bench_errors import InputError
from datasets.randomness import generator
from datasets.vocabulary import Description

TRAIN_SHARE = 219 / 369
VAL_SHARE = 50 / 369
POLICIES = ("auto", "same")


@dataclass(frozen=True)
class Split:
    """Names of the cases of each part, sorted; no case is in two parts, except with the policy `same`."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def split(cases: Sequence[str], description: Description, policy: str, seed: int) -> Split:
    """Divide the cases of a study.

    Args:
        cases: their names, in any order; a case is a patient.
        description: its name decides which published split applies.
        policy: `auto`: the published split if there is one for these cases, otherwise a random one with the
            shares of BraTS2020's (219, 50 and 100 of 369). `same`: every case is in every part, which shows
            whether a network can learn them at all.
        seed: of the random split.

    Raises `InputError` for an unknown policy and for one single case with `auto`.
    """
    names = sorted(cases)
    if policy not in POLICIES:
        raise InputError(f"unknown split '{policy}': choose {' or '.join(POLICIES)}")
    if policy == "same":
        return Split(tuple(names), tuple(names), tuple(names))
    if len(names) < 2:
        raise InputError(
            f"found {len(names)} case, expected at least 2 (one trains, one tests): "
            "use split: same to train and test on the same case"
        )
    return _published(names, description) or _random(names, seed)


def _published(names: list[str], description: Description) -> Split | None:
    """The published split of `names`; None without one, for a name it lacks, or if a part would be empty."""
    file = files("datasets") / "splits" / f"{description.name}.json"
    if not file.is_file():
        return None
    published = json.loads(file.read_text(encoding="utf-8"))
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    part_of = {number: part for part in parts for number in published[part]}
    for name in names:
        match = re.fullmatch(published["case"], name)
        part = part_of.get(int(match[1])) if match else None
        if part is None:
            return None
        parts[part].append(name)
    if not (parts["train"] and parts["test"]):
        return None
    return Split(tuple(parts["train"]), tuple(parts["val"]), tuple(parts["test"]))


def _random(names: list[str], seed: int) -> Split:
    """A split with BraTS2020's shares; from two cases on, one at least trains and one tests."""
    order = generator(seed, "split").permutation(len(names))
    train = round(len(names) * TRAIN_SHARE)
    val = round(len(names) * VAL_SHARE)
    shuffled = [names[i] for i in order]
    parts = (shuffled[:train], shuffled[train : train + val], shuffled[train + val :])
    return Split(*(tuple(sorted(part)) for part in parts))
