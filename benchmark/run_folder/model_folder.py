"""A model folder, as `bench weights export` writes it: ``content, weights = read_model(Path("model"))``.

`model.safetensors` holds the weights, `config.json` what the network and its training were, with checksums of
the others, `learnt_from.json` hashes of the volumes that it has learnt from, `README.md` the model card.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "model.safetensors"
MODEL_CONFIG = "config.json"
PRINTS = "learnt_from.json"
"""Not in each: networks of before edition 2 do not say it."""
CARD = "README.md"
MODEL_FILES = (MODEL, MODEL_CONFIG, PRINTS, CARD)


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file; raise `ValueError` where there is none."""
    if not file.is_file():
        raise ValueError(f"{file.name} is not there")
    return sha256(file.read_bytes()).hexdigest()


def read_model(path: Path, called: str = "") -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """Return the content and the weights of a model folder, in errors `called` so.

    Raises `InputError` where there is none, or it is not whole.
    """
    # Its names are used where there is no torch.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from benchmark.run_folder.stored_weights import unpack

    called = called or str(path)
    if not (path / MODEL_CONFIG).is_file():
        raise InputError(f"no model folder at {called}: give a folder with {MODEL_CONFIG} and {MODEL}")
    try:
        content = json.loads((path / MODEL_CONFIG).read_text(encoding="utf-8"))
        recorded = content["weights"]
        for name, digest in ((MODEL, recorded["sha256"]), (PRINTS, recorded.get("learnt_from_sha256"))):
            if digest is not None and checksum(path / name) != digest:
                raise ValueError(f"{name} has another checksum than {MODEL_CONFIG} says")
        return content, unpack(load_file(path / MODEL), recorded.get("stored", "fp32"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(
            f"{called} is no whole model folder ({' '.join(str(error).split())}): copy it again"
        ) from None
