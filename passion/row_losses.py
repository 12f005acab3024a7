"""Losses whose gradient is taken at once: ``loss = at_once(temperature_kl, student, teacher, tau, size)``.

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
    def forward(ctx: Any, function: Callable[..., Any], rows: Tensor, *arguments: Any) -> Any:
        with torch.enable_grad():
            # Not at half precision: the scale that keeps its small gradients from 0 only comes later.
            wide = torch.promote_types(rows.dtype, torch.float32)
            leaf = rows.detach().to(wide).requires_grad_()
            found = function(leaf, *arguments)
            values, *measures = found if isinstance(found, tuple) else (found,)
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        ctx.save_for_backward(gradient)
        ctx.dtype = rows.dtype
        measures = [measure.detach() for measure in measures]
        ctx.mark_non_differentiable(*measures)
        return (values.detach(), *measures) if measures else values.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        scale = upstream.view(-1, *[1] * (gradient.dim() - 1))
        return None, (gradient * scale).to(ctx.dtype), *[None] * (len(ctx.needs_input_grad) - 2)


def at_once(function: Callable[..., Any], rows: Tensor, *arguments: Any) -> Any:
    """Return `function(rows, *arguments)`: a loss [R], alone or with measures that have no gradient.

    Value r depends on row r of `rows` [R, ...] alone. Gradients flow to `rows`, to nothing among `arguments`,
    and cannot be differentiated again.
    """
    if not (torch.is_grad_enabled() and rows.requires_grad):
        return function(rows, *arguments)
    return _AtOnce.apply(function, rows, *arguments)
