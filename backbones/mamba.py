"""Mamba, a selective state space model: ``y = Mamba(dim=64, states=16)(x)``, both [N, L, dim].

Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023. On a GPU, `selective_scan`
is the kernel of the package `mamba_ssm` where that is installed; else, and on a CPU, it is the scan of this
file, in plain torch:

    y = selective_scan(x, delta, a, b, c)

A sequence is cut into segments, which go through the recurrence side by side, so that a step in Python
computes many positions. The state that a segment ends with depends linearly on the one that it begins with.
So the states at all beginnings follow from those that the segments end with when they begin with zero.
"""

from collections.abc import Callable
from itertools import pairwise
from math import ceil, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

try:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
except ImportError:
    selective_scan_fn = None

KERNEL = 4  # positions that the convolution before the scan sees
EXPANSION = 2  # of the channels within
STEP_RANGE = (1e-3, 1e-1)  # of the step sizes that a channel starts with, as published
WORTHWHILE = 2**16
"""Numbers in the states of a batch from which on computing them outweighs a step in Python."""
LANES = 32
"""Segments side by side from which on torch is quick at them, or else at one alone."""


class Mamba(nn.Module):
    """One Mamba block: gate, causal depthwise convolution, selective scan.

    Args:
        dim: channels of the tokens.
        states: size of the state that the scan keeps of each channel within.
    """

    def __init__(self, dim: int, states: int):
        super().__init__()
        inner, rank = EXPANSION * dim, ceil(dim / 16)
        self.sizes = rank, states, states
        self.enter = nn.Linear(dim, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, KERNEL, groups=inner, padding=KERNEL - 1)
        self.select = nn.Linear(inner, sum(self.sizes), bias=False)
        self.step = nn.Linear(rank, inner)
        self.log_decay = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.through = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, dim, bias=False)
        with torch.no_grad():
            nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
            low, high = torch.tensor(STEP_RANGE).log()
            steps = (low + (high - low) * torch.rand(inner)).exp()
            self.step.bias.copy_(steps.expm1().log())  # whose softplus they are

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, L, dim] -> [N, L, dim]; a position sees itself and those before it."""
        x, gate = self.enter(tokens).chunk(2, dim=-1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        step, b, c = self.select(x).split(self.sizes, dim=-1)
        y = selective_scan(x, F.softplus(self.step(step)), -self.log_decay.exp(), b, c)
        return self.leave((y + self.through * x) * F.silu(gate))


def selective_scan(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return y_t = c_t h_t, where h_t = exp(delta_t a) h_(t-1) + delta_t b_t x_t begins with 0.

    Gu & Dao 2023, equation 2, discretised as in their code. All tensors have one dtype.

    Args:
        x: [N, L, D], D channels that each have a state of S numbers.
        delta: step sizes [N, L, D], not negative.
        a: [D, S], negative.
        b: what enters the states [N, L, S].
        c: what is read from them [N, L, S].

    Returns y [N, L, D].
    """
    if x.is_cuda and selective_scan_fn is not None:
        return packaged_scan(selective_scan_fn, x, delta, a, b, c)
    rows, length, _ = x.shape
    segments = min(ceil(sqrt(length)), ceil(WORTHWHILE / (rows * a.numel())))
    if rows * segments >= LANES:
        return SegmentedScan.apply(x, delta, a, b, c, segments)
    each = zip(*(sequence.split(1) for sequence in (x, delta, b, c)), strict=True)
    return torch.cat([SegmentedScan.apply(x, delta, a, b, c, 1) for x, delta, b, c in each])


def packaged_scan(
    function: Callable[..., Tensor], x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor
) -> Tensor:
    """`selective_scan` by the function of `mamba_ssm`, which has positions last."""
    last = [tensor.transpose(1, 2).contiguous() for tensor in (x, delta, b, c)]
    return function(last[0], last[1], a, last[2], last[3]).transpose(1, 2)


class SegmentedScan(torch.autograd.Function):
    """`selective_scan` in plain torch.

    Inside, sequences are [T, channels, R]: T steps of R = N G segments, G to a sequence. States are
    [S, D, R]. Every `stride`-th state is kept for the backward pass, which computes those between them again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, segments: int) -> Tensor:
        """Return y [N, L, D]."""
        inputs = [_cut(sequence, segments) for sequence in (delta * x, delta, b, c)]
        entering, deltas, b_steps, c_steps = inputs
        rates = a.t().contiguous().unsqueeze(2)
        state = entering.new_zeros((*rates.shape[:2], entering.shape[2]))
        if segments > 1:
            for t in range(len(deltas)):
                _advance(state, entering[t], deltas[t], rates, b_steps[t])
            state = _chain(_total_decay(deltas, rates), state, segments, backwards=False)
        stride = ceil(sqrt(len(deltas)))
        kept, y = [], torch.empty_like(entering)
        for t in range(len(deltas)):
            if t % stride == 0:
                kept.append(state.clone())
            _advance(state, entering[t], deltas[t], rates, b_steps[t])
            torch.sum(state * c_steps[t].unsqueeze(1), dim=0, out=y[t])
        ctx.save_for_backward(x, delta, a, b, c, torch.stack(kept))
        ctx.segments = segments
        return _join(y, segments, x.shape[1])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, delta, a, b and c from that of y."""
        x, delta, a, b, c, kept = ctx.saved_tensors
        segments, length = ctx.segments, x.shape[1]
        inputs = [_cut(sequence, segments) for sequence in (delta * x, delta, b, c, change)]
        entering, deltas, b_steps, c_steps, changes = inputs
        rates = a.t().contiguous().unsqueeze(2)
        later = torch.zeros_like(kept[0])  # what the steps after one make of its state, as a gradient
        if segments > 1:
            for t in reversed(range(len(deltas))):
                later.addcmul_(changes[t], c_steps[t].unsqueeze(1)).mul_(_decay(deltas[t], rates))
            later = _chain(_total_decay(deltas, rates), later, segments, backwards=True)

        of_entering, of_deltas = torch.empty_like(entering), torch.empty_like(deltas)
        of_b, of_c = torch.empty_like(b_steps), torch.empty_like(c_steps)
        of_rates = torch.zeros_like(later)
        stride = ceil(sqrt(len(deltas)))
        for first in reversed(range(0, len(deltas), stride)):
            steps = range(first, min(first + stride, len(deltas)))
            states = [kept[first // stride]]
            decays = [_decay(deltas[t], rates) for t in steps]
            for t, decay in zip(steps, decays, strict=True):
                states.append((states[-1] * decay).addcmul_(entering[t], b_steps[t].unsqueeze(1)))
            for t, decay in zip(reversed(steps), reversed(decays), strict=True):
                torch.sum(states.pop() * changes[t], dim=1, out=of_c[t])
                later.addcmul_(changes[t], c_steps[t].unsqueeze(1))
                torch.sum(later * b_steps[t].unsqueeze(1), dim=0, out=of_entering[t])
                torch.sum(later * entering[t], dim=1, out=of_b[t])
                later.mul_(decay)
                of_power = later * states[-1]
                of_rates.addcmul_(of_power, deltas[t])
                torch.sum(of_power.mul_(rates), dim=0, out=of_deltas[t])
        entered = _join(of_entering, segments, length)
        return (
            entered * delta,
            _join(of_deltas, segments, length) + entered * x,
            of_rates.sum(dim=2).t(),
            _join(of_b, segments, length),
            _join(of_c, segments, length),
            None,
        )


def _cut(sequence: Tensor, segments: int) -> Tensor:
    """[N, L, C] -> [T, C, N segments], the last segment filled up with zeros, which change no state."""
    rows, length, channels = sequence.shape
    steps = ceil(length / segments)
    filled = F.pad(sequence, (0, 0, 0, steps * segments - length)).view(rows, segments, steps, channels)
    return filled.permute(2, 3, 0, 1).flatten(2).contiguous()


def _join(steps: Tensor, segments: int, length: int) -> Tensor:
    """Undo `_cut`."""
    sequence = steps.unflatten(2, (-1, segments)).permute(2, 3, 0, 1)
    return sequence.reshape(len(sequence), -1, steps.shape[1])[:, :length]


def _decay(delta: Tensor, rates: Tensor) -> Tensor:
    """Return what a step of sizes `delta` [D, R] leaves of the states [S, D, R]."""
    return (delta * rates).exp_()


def _total_decay(deltas: Tensor, rates: Tensor) -> Tensor:
    """Return what a whole segment leaves of the state that it begins with."""
    return _decay(deltas.sum(dim=0), rates)


def _advance(state: Tensor, entering: Tensor, delta: Tensor, rates: Tensor, b: Tensor) -> None:
    """Take the states [S, D, R] one step on, in place."""
    state.mul_(_decay(delta, rates)).addcmul_(entering, b.unsqueeze(1))


def _chain(decay: Tensor, ends: Tensor, segments: int, backwards: bool) -> Tensor:
    """Return the states that segments begin with, from those that they end with when they begin with zero.

    `decay` and `ends` [S, D, N segments]; `backwards`, a segment's begin is its last position.
    """
    decays, ends = (tensor.unflatten(2, (-1, segments)) for tensor in (decay, ends))
    begins = torch.zeros_like(ends)
    order = list(range(segments))
    if backwards:
        order.reverse()
    for before, after in pairwise(order):
        begins[..., after] = decays[..., before] * begins[..., before] + ends[..., before]
    return begins.flatten(2)
