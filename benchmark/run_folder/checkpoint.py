"""A run's weights on disk: the resumable `checkpoint.pt` and the final `weights.safetensors`.

Both are written whole or not at all, and read as data only, never as code.
"""

import io
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor

from bench_errors import InputError
from benchmark.run_folder.files import sync_folder, write_atomically
from benchmark.run_folder.folder import WEIGHTS, RunFolder

FILES = ("checkpoint.pt", "checkpoint.previous.pt")
"""Newest first; each is the SHA-256 of what follows it, then what `torch.save` wrote."""
FRESH = "checkpoint.new.pt"
"""One that is whole, and not in its place yet."""
DIGEST = 32


def save_checkpoint(folder: RunFolder, content: dict[str, Any]) -> None:
    """Write everything that a killed run needs to go on; the one before stays as the previous one."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    newest, previous = (folder.path / name for name in FILES)
    fresh = folder.path / FRESH
    write_atomically(fresh, sha256(payload).digest() + payload)
    if newest.exists():
        newest.replace(previous)
    fresh.replace(newest)
    sync_folder(folder.path)


def load_checkpoint(folder: RunFolder, device: torch.device) -> dict[str, Any] | None:
    """Return the newest whole checkpoint, or None without one; a damaged one is named in a printed line."""
    for path in (folder.path / name for name in FILES):
        if not path.exists():
            continue
        content = path.read_bytes()
        if _is_whole(content):
            return dict(torch.load(io.BytesIO(content[DIGEST:]), map_location=device, weights_only=True))
        print(f"{path} is damaged: going on from what was before it", flush=True)
    return None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is as it was written."""
    return _is_whole(path.read_bytes())


def _is_whole(content: bytes) -> bool:
    return sha256(content[DIGEST:]).digest() == content[:DIGEST]


def save_weights(folder: RunFolder, weights: dict[str, Tensor]) -> None:
    """Write the weights that were tested; what stands under several names is written under each."""
    content = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    write_atomically(folder.path / WEIGHTS, save(content))


def load_weights(folder: RunFolder) -> dict[str, Tensor]:
    """Read the tested weights of a finished run; raise `InputError` where there are none."""
    path = folder.path / WEIGHTS
    if not path.exists():
        raise InputError(f"no weights in {folder.path}: finish the run first, or name the folder of a run")
    return load_file(path)


def tensors_of(file: Path, content: bytes) -> dict[str, Any]:
    """Return what a checkpoint of somebody's holds, `.safetensors` or `.pth`; it is read as data only.

    Raises `InputError` for a file that is no whole checkpoint, or needs code to load.
    """
    try:
        if file.suffix == ".safetensors":
            return dict(load(content))
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a reader meets in a file that is not of its kind
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise InputError(
                f"{file} needs code to load, which could do anything ({code[1]}): ask its authors for one "
                "of tensors only"
            ) from None
        kind = type(error).__name__
        raise InputError(f"{file} is no whole checkpoint ({kind}): download it again") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{file} holds a {type(loaded).__name__}, expected tensors by name")
    return loaded
