"""The scan in segments is the recurrence, one position after another, in values and gradients, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbones import mamba
from backbones.mamba import Mamba, SegmentedScan, packaged_scan, selective_scan


def one_by_one(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Gu & Dao 2023, equation 2, as it is written."""
    h = x.new_zeros(len(x), *a.shape)
    outputs = []
    for t in range(x.shape[1]):
        h = torch.exp(delta[:, t, :, None] * a) * h + (delta[:, t] * x[:, t])[..., None] * b[:, t, None]
        outputs.append((h * c[:, t, None]).sum(dim=2))
    return torch.stack(outputs, dim=1)


def sequences(rows: int, length: int, channels: int = 3, states: int = 2) -> list[Tensor]:
    """x, delta, a, b and c, with step sizes from 0 to 2."""
    generator = torch.Generator().manual_seed(length)
    shapes = [(rows, length, channels)] * 2 + [(channels, states)] + [(rows, length, states)] * 2
    x, delta, a, b, c = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return [t.requires_grad_() for t in (x, 2 * torch.sigmoid(delta), -a.exp(), b, c)]


@pytest.mark.parametrize(("rows", "length", "segments"), [(2, 13, 4), (1, 9, 1), (3, 16, 16), (1, 1, 1)])
def test_segments_change_nothing(rows: int, length: int, segments: int) -> None:
    inputs = sequences(rows, length)
    expected, y = one_by_one(*inputs), SegmentedScan.apply(*inputs, segments)
    torch.testing.assert_close(y, expected)
    weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y)
    gradients, expected_gradients = (torch.autograd.grad((v * weights).sum(), inputs) for v in (y, expected))
    torch.testing.assert_close(gradients, expected_gradients)


def test_gradients_are_those_of_differences() -> None:
    inputs = sequences(2, 7)
    assert torch.autograd.gradcheck(lambda *tensors: SegmentedScan.apply(*tensors, 3), inputs)


@pytest.mark.parametrize("lanes", [1, 1000])
def test_rows_together_and_one_by_one_are_the_recurrence(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mamba, "LANES", lanes)
    inputs = sequences(3, 20)
    torch.testing.assert_close(selective_scan(*inputs), one_by_one(*inputs))


def test_the_packages_function_is_given_positions_last() -> None:
    def function(x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        assert all(t.is_contiguous() for t in (x, delta, b, c))
        return one_by_one(*(t.mT for t in (x, delta)), a, *(t.mT for t in (b, c))).mT

    inputs = sequences(2, 5)
    torch.testing.assert_close(packaged_scan(function, *inputs), one_by_one(*inputs))


def test_a_block_is_its_formula() -> None:
    torch.manual_seed(0)
    block = Mamba(dim=20, states=4).double()
    tokens = torch.randn(2, 9, 20, dtype=torch.float64)
    x, gate = F.linear(tokens, block.enter.weight).split(40, dim=2)
    before = F.pad(x, (0, 0, 3, 0)).unfold(1, 4, 1)  # the kernel's four positions end at each
    x = F.silu((before * block.conv.weight.squeeze(1)).sum(dim=3) + block.conv.bias)
    step, b, c = F.linear(x, block.select.weight).split([2, 4, 4], dim=2)
    delta = F.softplus(F.linear(step, block.step.weight, block.step.bias))
    y = one_by_one(x, delta, -block.log_decay.exp(), b, c) + block.through * x
    torch.testing.assert_close(block(tokens), F.linear(y * F.silu(gate), block.leave.weight))


def test_a_position_sees_none_after_it() -> None:
    torch.manual_seed(0)
    block = Mamba(dim=4, states=3).double()
    tokens = torch.randn(1, 12, 4, dtype=torch.float64)
    other = torch.cat((tokens[:, :7], torch.randn(1, 5, 4, dtype=torch.float64)), dim=1)
    y, z = block(tokens), block(other)
    torch.testing.assert_close(y[:, :7], z[:, :7])
    assert not torch.allclose(y[:, 7], z[:, 7])


def test_a_block_starts_as_published() -> None:
    torch.manual_seed(0)
    block = Mamba(dim=64, states=5)
    steps = F.softplus(block.step.bias)
    assert steps.min() >= 1e-3 * 0.999
    assert steps.max() <= 1e-1 * 1.001
    torch.testing.assert_close(block.log_decay[3].exp(), torch.arange(1.0, 6.0))
    assert block.step.weight.abs().max() <= 0.5  # rank 4
