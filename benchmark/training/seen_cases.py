"""Which patients a network has learnt from, so that it is never tested on them: `split.json` of a run."""

import json
from pathlib import Path

from benchmark.run_folder.files import write_atomically
from datasets.batches.split import Split
from datasets.store.store import CaseRecord, Store

SPLIT = "split.json"
"""In a run folder: which cases it trained, validated and tested on."""
PRINTS = "learnt_from.json"
"""In a model folder: the hashes of the volumes that the model has learnt from, without names."""


def write_learnt_from(folder: Path, store: Store, parts: Split) -> None:
    """Write `split.json`: the cases of each part, and of each the first digits of its volumes' SHA-256.

    With it a run is never tested on a patient that it has learnt from, whatever the data are called then.
    """
    content = {
        part: {case: short_prints(store.records[case]) for case in getattr(parts, part)}
        for part in ("train", "val", "test")
    }
    write_atomically(folder / SPLIT, json.dumps(content).encode())


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
    return set(seen), {digits for digits_of in seen.values() for digits in digits_of}


def short_prints(record: CaseRecord) -> list[str]:
    """Return the first 16 digits of the SHA-256 of each volume of a case."""
    return [digest[:16] for digest in record.prints.values()]
