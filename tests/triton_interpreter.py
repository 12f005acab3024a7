"""Triton's interpreter, which runs kernels on a CPU: for what `test_kernels` runs in its own processes.

Import it before anything that imports triton; the variable TRITON_INTERPRET is read when a kernel is defined.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from triton import next_power_of_2
from triton.runtime.interpreter import InterpretedFunction, interpreter_builder

from backbones.kernels import sizes

# The check of every sum of integers for overflow takes two thirds of the time.
interpreter_builder.options = replace(interpreter_builder.options, sanitize_overflow=False)

prepare_and_call = InterpretedFunction.__call__


def call(function: InterpretedFunction, *values: Any, **named: Any) -> Any:
    """Call what a kernel calls; ours need no preparing of the language again, which takes a fifth."""
    ours = not function.fn.__module__.startswith("triton")
    return function.rewrite()(*values, **named) if ours else prepare_and_call(function, *values, **named)


InterpretedFunction.__call__ = call


def whole_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one program do a case's whole map: the interpreter takes as long for a program, however large."""
    monkeypatch.setattr(sizes, "box_of", lambda space: tuple(next_power_of_2(edge) for edge in space))
    monkeypatch.setattr(sizes, "boxes", lambda space, box: 1)
    monkeypatch.setattr(sizes, "TILES", 1)
    monkeypatch.setattr(sizes, "TILE_CHANNELS", 64)
    monkeypatch.setattr(sizes, "PARTS", 1)


def weighted(outputs: Iterable[Tensor]) -> Tensor:
    """The sum of all `outputs` with the same random weights each time."""
    generator = torch.Generator().manual_seed(1)
    weights = (torch.randn(y.shape, generator=generator, dtype=torch.float64) for y in outputs)
    return torch.stack([(y * weight).sum() for y, weight in zip(outputs, weights, strict=True)]).sum()


def with_gradients(function: Callable[..., Iterable[Tensor]], *inputs: Tensor) -> list[Tensor]:
    """The outputs of `function` and the gradients of all `inputs`."""
    outputs = list(function(*inputs))
    return [*outputs, *torch.autograd.grad(weighted(outputs), inputs)]
