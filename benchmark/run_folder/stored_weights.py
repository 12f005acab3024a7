"""Weights as a model folder stores them, whole or in half the bytes: ``pack(weights, "bf16")``.

`fp32`: as they were tested. `bf16`: rounded to 8 significant bits: a weight changes by 2^-8 of itself at
most. `int16`: whole multiples of a step, one for each slice along a tensor's first axis (one in all for a
tensor of one axis): a weight changes by 2^-16 of the largest of its slice at most. Networks compute with fp32
in any case, and what is no fp32 is stored as it is.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

FORMS = ("fp32", "bf16", "int16")
LARGEST = 2**15 - 1
"""The largest whole number of steps."""
STEP = ":step"
"""Ends the name of a tensor's steps, which stand beside it; no parameter of torch has a colon in its name."""


def pack(weights: Mapping[str, Tensor], form: str) -> dict[str, Tensor]:
    """Return the tensors to store."""
    packed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if form == "fp32" or tensor.dtype != torch.float32:
            packed[name] = tensor
        elif form == "bf16":
            packed[name] = tensor.to(torch.bfloat16)
        else:
            step = _largest(tensor) / LARGEST
            packed[name] = torch.where(step > 0, tensor / step, 0.0).round().to(torch.int16)
            packed[f"{name}{STEP}"] = step
    return packed


def unpack(packed: Mapping[str, Tensor], form: str) -> dict[str, Tensor]:
    """Return the weights that stored tensors stand for; raise `ValueError` for a form that there is not."""
    if form not in FORMS:
        raise ValueError(f"weights are stored as {form!r}, expected one of {', '.join(FORMS)}")
    weights: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.endswith(STEP):
            continue
        step = packed.get(f"{name}{STEP}")
        if step is not None:
            tensor = tensor.to(torch.float32) * step
        weights[name] = tensor.to(torch.float32) if tensor.dtype == torch.bfloat16 else tensor
    return weights


def _largest(tensor: Tensor) -> Tensor:
    """The largest magnitude of each slice along the first axis, in a shape to multiply the tensor with."""
    if tensor.dim() < 2:
        return tensor.abs().amax().reshape([1] * tensor.dim()) if tensor.numel() else tensor
    return tensor.abs().amax(dim=tuple(range(1, tensor.dim())), keepdim=True)
