"""Losses whose gradient is taken at once: ``loss = at_once(compare, student)``.

A loss at full size leaves many maps behind for the backward pass, though all that this pass needs is one
gradient of the size of the logits. So the gradient is worked out with the loss, and the maps are gone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _AtOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Any], rows: Tensor) -> Any:
        # On a CPU row by row, of which the maps are soon gone; a GPU wants few and large kernels.
        parts = rows.detach().split(1 if rows.device.type == "cpu" else len(rows))
        gradients, results = [], []
        for part in parts:
            with torch.enable_grad():
                # Not at half precision: the scale that keeps its small gradients from 0 only comes later.
                leaf = part.to(torch.promote_types(part.dtype, torch.float32)).requires_grad_()
                outputs = function(leaf)
                outputs = outputs if isinstance(outputs, tuple) else (outputs,)
                gradients += torch.autograd.grad(outputs[0].sum(), leaf)
            results.append([each.detach() for each in outputs])
        gradient = torch.cat(gradients)
        values, *measures = (torch.cat(each) for each in zip(*results, strict=True))
        ctx.save_for_backward(gradient)
        ctx.dtype = rows.dtype
        ctx.mark_non_differentiable(*measures)
        return (values, *measures) if measures else values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[None, Tensor]:
        (gradient,) = ctx.saved_tensors
        scale = upstream.view(-1, *[1] * (gradient.dim() - 1))
        return None, (gradient * scale).to(ctx.dtype)


def at_once(function: Callable[[Tensor], Any], rows: Tensor) -> Any:
    """Return `function(rows)`: a loss [R], alone or with measures [R] that have no gradient.

    Value r depends on row r of `rows` [R, ...] alone. Gradients flow to `rows`, to nothing that `function`
    holds, and cannot be differentiated again.
    """
    if not (torch.is_grad_enabled() and rows.requires_grad):
        return function(rows)
    return _AtOnce.apply(function, rows)
