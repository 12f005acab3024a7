"""Blocks of convolution, norm and activation in a row: only what the convolutions make lies in memory.

y = chain(x, [Link(weight, bias, how), Link(next_weight, next_bias, next_how)], before=False)
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from backbones.kernels.convolution import How, Statistics, activated, convolve, measured


class Link(NamedTuple):
    """A convolution: `weight` [O, C, kernel] and `bias` [O] in the maps' dtype, and `how` it is done."""

    weight: Tensor
    bias: Tensor
    how: How


def chain(x: Tensor, links: Sequence[Link], before: bool) -> Tensor:
    """Run x [N, C, *space] through `links`; norm and activation `before` each convolution, or after it."""
    norm: Statistics | None = measured(x) if before else None
    for left, link in zip(reversed(range(len(links))), links, strict=True):
        statistics = left > 0 or not before
        x, mean, variance = convolve(x, norm, *link, statistics)
        norm = None if mean is None or variance is None else (mean, variance)
    return x if norm is None else activated(x, norm, links[-1].how.slope)
