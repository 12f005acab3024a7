"""Weights to start a training from: ``pinned_weights("runs/demo/A")`` is ``runs/demo/A#3f2a9c014b7d``.

Without torch: what is in the file is read when the network is built.
"""

import json
import re
from hashlib import file_digest
from pathlib import Path
from typing import Any

from bench_errors import InputError
from benchmark.run_folder.files import read_yaml
from benchmark.run_folder.folder import WEIGHTS
from benchmark.run_folder.model_folder import MODEL, MODEL_CONFIG
from datasets.vocabulary import Description

IN_FOLDERS = (WEIGHTS, MODEL)
"""What a run folder and a model folder call their weights."""


def weights_file(init: str) -> Path:
    """Return the file of `train.init`, a path that may end in a digest; `InputError` where there is none."""
    path = Path(split_digest(init)[0])
    for file in (path, *(path / name for name in IN_FOLDERS)):
        if file.is_file():
            return file
    found = "is a folder without weights" if path.is_dir() else "does not exist"
    raise InputError(
        f"{path} {found}: give a finished run folder, a model folder, or a .safetensors or .pth file"
    )


def weights_folder(init: str) -> Path:
    """Return the folder that says what the weights of `train.init` have learnt: itself, or where they lie."""
    path = Path(split_digest(init)[0])
    return path.parent if path.name in IN_FOLDERS and path.is_file() else path


def is_beside(init: str) -> bool:
    """Whether what that folder says may be another program's, as `train.init` names a file in it."""
    return weights_folder(init) != Path(split_digest(init)[0])


def pinned_weights(init: str) -> str:
    """Return `init` with a digest of its file; raise `InputError` where a given one is not that any more."""
    path, digest = split_digest(init)
    with weights_file(init).open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()[:12]
    if digest not in ("", found):
        raise InputError(
            f"{path} has changed since the run was planned (its digest was {digest}, it is {found}): restore "
            "it, or start the grid again for runs from the new weights"
        )
    return f"{path}#{found}"


def check_order(init: str, description: Description) -> None:
    """Raise `InputError` where weights have learnt a study's modalities or classes in another order.

    Weights go by numbers, so each encoder would see another contrast than it knows. What is called otherwise
    altogether may be meant. Files that lie in no folder of a run or model do not say it.
    """
    path = weights_folder(init)
    try:
        learnt = _learnt(path)
    except (InputError, ValueError):
        if is_beside(init):
            return
        raise
    for what in ("modalities", "classes"):
        theirs, ours = learnt.get(what, []), list(getattr(description, what))
        if theirs != ours and sorted(theirs) == sorted(ours):
            raise InputError(
                f"train.init {path} has learnt the {what} {', '.join(theirs)}, {description.name} has "
                f"{', '.join(ours)}: describe them in the same order"
            )


def _learnt(folder: Path) -> dict[str, list[str]]:
    """The lists of names in a run or model folder's study; what another program says may be anything."""
    content: Any = {}
    if (folder / "config.yaml").is_file():
        content = read_yaml(folder / "config.yaml")
    elif (folder / MODEL_CONFIG).is_file():
        content = json.loads((folder / MODEL_CONFIG).read_text(encoding="utf-8"))
    dataset = content.get("dataset") if isinstance(content, dict) else None
    found = dataset.items() if isinstance(dataset, dict) else ()
    return {k: v for k, v in found if isinstance(v, list) and all(isinstance(name, str) for name in v)}


def split_digest(init: str) -> tuple[str, str]:
    """Split `train.init` into its path and its digest, empty without one."""
    match = re.fullmatch(r"(.*?)(?:#([0-9a-f]{12}))?", init, re.DOTALL)
    assert match is not None
    return match[1], match[2] or ""
