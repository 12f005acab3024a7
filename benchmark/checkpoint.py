"""A run's weights on disk: the resumable `checkpoint.pt` and the final `weights.safetensors`.

Both are written whole or not at all, and read as data only, never as code.
"""

import io
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from bench_errors import InputError
from benchmark.record import RunFolder, write_atomically


def save_checkpoint(folder: RunFolder, content: dict[str, Any]) -> None:
    """Write everything that a killed run needs to go on."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(folder.path / "checkpoint.pt", buffer.getvalue())


def load_checkpoint(folder: RunFolder, device: torch.device) -> dict[str, Any] | None:
    """Return what `save_checkpoint` wrote, or None if there is nothing yet."""
    path = folder.path / "checkpoint.pt"
    if not path.exists():
        return None
    return dict(torch.load(path, map_location=device, weights_only=True))


def save_weights(folder: RunFolder, weights: dict[str, Tensor]) -> None:
    """Write the weights that were tested; what stands under several names is written under each."""
    content = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    write_atomically(folder.path / "weights.safetensors", save(content))


def load_weights(folder: RunFolder) -> dict[str, Tensor]:
    """Read the tested weights of a finished run; raise `InputError` where there are none."""
    path = folder.path / "weights.safetensors"
    if not path.exists():
        raise InputError(f"no weights in {folder.path}: finish the run first, or name the folder of a run")
    return load_file(path)
