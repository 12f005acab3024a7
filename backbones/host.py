"""What the host knows of a tensor on a device, so that it need not wait for the device to tell.

    present = on_device(mask, device)                       # a copy of `mask`, which is on the CPU
    rows = host(present)[:, 0].nonzero().squeeze(1)         # nothing waits: `mask` itself is asked

A GPU works off what it is given while the host goes on giving. Whoever reads a value of its tensors waits for
all that was given before. Which modalities a case has is known before anything is computed, and decides what
is: so those masks remember where they came from.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

_ORIGINAL = "_on_host"
_Key = tuple[str, torch.dtype, tuple[int, ...], bytes]
_kept: dict[_Key, Tensor] | None = None


def on_device(known: Tensor | Sequence[int], device: torch.device) -> Tensor:
    """Return a small tensor that is on the CPU, or whole numbers, on `device`; `host` gives it back."""
    original = known if isinstance(known, Tensor) else torch.tensor(known, dtype=torch.int64)
    if device.type == original.device.type:
        return original
    if _kept is None:
        return _copied(original, device)
    key = (str(device), original.dtype, tuple(original.shape), original.numpy().tobytes())
    if key not in _kept:
        _kept[key] = _copied(original, device)
    return _kept[key]


def host(tensor: Tensor) -> Tensor:
    """Return a tensor's values on the CPU: at once if `on_device` made it, else the device is waited for."""
    known: Tensor | None = getattr(tensor, _ORIGINAL, None)
    return tensor.detach().cpu() if known is None else known


def _copied(original: Tensor, device: torch.device) -> Tensor:
    copy = original.to(device, non_blocking=True)
    setattr(copy, _ORIGINAL, original)
    return copy


def may_look(device: torch.device) -> bool:
    """Whether the host may decide by values of `device`: those of a CPU, unless what it does is recorded."""
    return device.type == "cpu" and _kept is None


@contextmanager
def kept_in(copies: dict[_Key, Tensor]) -> Iterator[None]:
    """Let `on_device` make each copy once and keep it in `copies`, for what is recorded to be run again."""
    global _kept
    before, _kept = _kept, copies
    try:
        yield
    finally:
        _kept = before
