"""Which cases of a store a network can be tested on: ``cases, left_out = unseen_cases(model, store)``.

A patient is known by the voxels, not by the name: other studies have a `case_001` too, and one patient has
other names in other studies.
"""

import sys

from bench_errors import InputError
from benchmark.models.trained_model import Trained
from benchmark.training.inputs import run_split
from benchmark.training.seen_cases import learnt_from, short_prints
from datasets.store.store import Store
from datasets.vocabulary import patient


def unseen_cases(model: Trained, store: Store) -> tuple[list[str], list[str]]:
    """Return the cases to test on, and those left out because the network has learnt from their patients.

    Of the data that a run was trained on, its test cases are taken. Of others, all cases but those of
    patients of whom a volume, voxel by voxel, is one that it has learnt from. What is left out is said, and
    where names are those of training cases though the voxels are not. Raises `InputError` if no case is left.
    """
    if store.hash == model.content.get("data", {}).get("hash"):
        parts = run_split(model.config, store)
        if both := [case for case in parts.test if case in parts.train]:
            split = model.config.split
            _say(f"{model.name} has learnt from {_counted(both)} of its test, by split: {split}")
        return list(parts.test), []
    names, prints = learnt_from(model.path)
    if not prints:
        _say(f"{model.name} does not say which cases it has learnt from: see that none is in {store.path}")
    learnt = {
        patient(case, store.description)
        for case in store.cases
        if prints & set(short_prints(store.records[case]))
    }
    left_out = [case for case in store.cases if patient(case, store.description) in learnt]
    cases = [case for case in store.cases if case not in left_out]
    if not cases:
        raise InputError(
            f"{model.name} has learnt from every patient in {store.path}: give data that it has not seen"
        )
    if left_out:
        _say(f"left out {_counted(left_out)} of patients that {model.name} has learnt from")
    if namesakes := [case for case in cases if case in names]:
        _say(
            f"{_counted(namesakes)} have names of cases that {model.name} has learnt from, and other voxels: "
            "they are tested; if they are the same patients, prepare the study without them"
        )
    return cases, left_out


def _counted(cases: list[str]) -> str:
    return f"{len(cases)} cases ({', '.join(cases[:3])}{', ...' if len(cases) > 3 else ''})"


def _say(text: str) -> None:
    print(text, file=sys.stderr)
