"""Which patients a network has learnt from, so that it is never tested on them: `split.json` of a run."""

import json
from pathlib import Path
from typing import Any

from bench_errors import InputError
from benchmark.config.initial_weights import is_beside, weights_folder
from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.model_folder import PRINTS
from datasets.batches.split import PARTS, Split
from datasets.store.store import CaseRecord, Store

SPLIT = "split.json"
"""In a run folder: which cases it trained, validated and tested on."""


def write_learnt_from(folder: Path, store: Store, parts: Split, init: str | None) -> None:
    """Write `split.json`: the cases of each part, and of each the first digits of its volumes' SHA-256.

    With it a run is never tested on a patient that it has learnt from, whatever the data are called then.
    What the weights of `train.init` have learnt from stands there too, as `before`.
    """
    content: dict[str, Any] = prints_of_parts(store, parts)
    if before := sorted(_learnt_before(init)):
        content["before"] = before
    write_atomically(folder / SPLIT, json.dumps(content).encode())


def prints_of_parts(store: Store, parts: Split) -> dict[str, dict[str, list[str]]]:
    """Return the cases of each part of a split with their `short_prints`."""
    return {
        part: {case: short_prints(store.records[case]) for case in getattr(parts, part)} for part in PARTS
    }


def learnt_from(folder: Path) -> tuple[set[str], set[str]]:
    """Return names and `short_prints` of the cases that trained and validated a run.

    A model folder has the latter alone; both are empty where a run of an older version does not say.
    """
    if (folder / PRINTS).exists():
        return set(), set(json.loads((folder / PRINTS).read_text(encoding="utf-8")))
    if not (folder / SPLIT).exists():
        return set(), set()
    content = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
    seen = {**content["train"], **content["val"]}
    digits = {digits for digits_of in seen.values() for digits in digits_of}
    return set(seen), digits.union(content.get("before", []))


def check_start(init: str | None, store: Store, parts: Split) -> None:
    """Raise `InputError` where the weights of `train.init` have learnt from cases that test the run alone."""
    before = _learnt_before(init)
    tested = [case for case in parts.test if case not in parts.train]
    if learnt := [case for case in tested if before & set(short_prints(store.records[case]))]:
        raise InputError(
            f"train.init {init} has learnt from {len(learnt)} of the run's test cases ({learnt[0]}): start "
            "from weights that have not seen them, or choose another split"
        )


def _learnt_before(init: str | None) -> set[str]:
    """The `short_prints` that `train.init` has learnt from, as far as its folder says."""
    if not init:
        return set()
    try:
        return learnt_from(weights_folder(init))[1]
    except (AttributeError, KeyError, TypeError, ValueError):
        if is_beside(init):
            return set()
        raise


def short_prints(record: CaseRecord) -> list[str]:
    """Return the first 16 digits of the SHA-256 of each volume of a case."""
    return [digest[:16] for digest in record.prints.values()]
