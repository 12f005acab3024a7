"""Random draws inside a network, the same however its rows are batched.

    with noise.step("1037 epoch 0 step 3", batch.cases):        # the training loop, around a step
        with noise.rows(items, labels):                         # a network, before it computes these rows
            z = mean + deviation * noise.normal(mean, "level 2")

A draw is a function of the step, the case, the label of its row (its modality or subset) and its own label:
not of the other rows, of who shares the batch, or of computing them a second time (`recompute`). Outside a
step, draws come from torch's own generator.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from backbones.host import host

# Not context variables: on a GPU, torch computes the backward pass, and so what is recomputed, in a thread
# of its own.
_step: tuple[str, Sequence[str]] | None = None
_rows: list[str] | None = None


@contextmanager
def step(key: str, cases: Sequence[str]) -> Iterator[None]:
    """Make the draws within depend on `key` and on the names of the batch's B cases."""
    global _step
    before, _step = _step, (key, cases)
    try:
        yield
    finally:
        _step = before


@contextmanager
def rows(items: Tensor, labels: Sequence[str]) -> Iterator[None]:
    """Say which rows are computed within: their batch items, int64 [N], and labels to tell them apart."""
    global _rows
    before = _rows
    if _step is not None:
        key, cases = _step
        named = zip(host(items).tolist(), labels, strict=True)
        _rows = [f"{key}\n{cases[item]}\n{label}" for item, label in named]
    try:
        yield
    finally:
        _rows = before


def normal(like: Tensor, label: str) -> Tensor:
    """Return standard normal draws of the shape [N, ...], type and device of `like`."""
    return _draw(torch.randn, like, label)


def uniform(like: Tensor, label: str) -> Tensor:
    """Return draws from [0, 1) of the shape [N, ...], type and device of `like`."""
    return _draw(torch.rand, like, label)


def subsets(available: Tensor, label: str) -> Tensor:
    """Draw a subset of what each of N rows has, bool [N, M]: how many are dropped first, from none up.

    At least one is left of a row that has any.
    """
    drawn = uniform(torch.empty(available.shape[0], available.shape[1] + 1, device=available.device), label)
    number = (drawn[:, -1:] * available.sum(dim=1, keepdim=True)).long()
    order = drawn[:, :-1].masked_fill(~available, 2.0).argsort(dim=1).argsort(dim=1)
    return available & (order >= number)


def _draw(function: Callable[..., Any], like: Tensor, label: str) -> Tensor:
    if _rows is None:
        drawn: Tensor = function(like.shape, dtype=like.dtype, device=like.device)
        return drawn
    each = []
    for row in _rows:
        seed = int.from_bytes(sha256(f"{row}\n{label}".encode()).digest()[:8], "big") >> 1
        each.append(function(like.shape[1:], generator=torch.Generator().manual_seed(seed)))
    return torch.stack(each).to(like, non_blocking=True)


class Dropout(nn.Module):
    """Dropout at `rate`, drawn as above; `whole_maps` drops a channel as a whole.

    `label` tells the layers of a network apart.
    """

    def __init__(self, rate: float, label: str, whole_maps: bool = False):
        super().__init__()
        self.rate, self.label, self.whole_maps = rate, label, whole_maps

    def forward(self, x: Tensor) -> Tensor:
        """Drop parts of x [N, C, *space] in training; return it as it is in evaluation."""
        if not (self.training and self.rate):
            return x
        like = x.detach().flatten(2)[:, :, :1].unflatten(2, [1] * (x.dim() - 2)) if self.whole_maps else x
        kept = _draw(torch.rand, like, self.label) >= self.rate
        return x * kept / (1 - self.rate)
