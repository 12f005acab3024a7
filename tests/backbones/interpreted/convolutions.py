"""Kernels of convolutions and norms, by Triton's interpreter, against their twins in plain torch."""

import pytest
import torch
import triton_interpreter
from torch import Tensor
from triton_interpreter import with_gradients

from backbones.kernels import convolution, twin
from backbones.kernels.chain import Link, chain
from backbones.kernels.convolution import How

ALL, FLAT, ROW, POINT = (1, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 0)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def parts(
    channels: tuple[int, int], space: tuple[int, ...], pads: tuple[int, ...], cases: int
) -> tuple[Tensor, ...]:
    """A map, weights and bias, and mean and variance of a norm that need not be the map's own."""
    torch.manual_seed(0)
    kernel = [1 + 2 * pad for pad in pads]
    variance = (0.5 + torch.rand(cases, channels[0], dtype=torch.float64)).requires_grad_()
    x, weight = noise(cases, channels[0], *space), noise(channels[1], channels[0], *kernel)
    return x, weight, noise(channels[1]), noise(cases, channels[0]), variance


CASES = {
    "2 boxes, edges of 2 and 3": ((3, 2), (5, 2, 3), 1, (1, 1, 1), ALL, "reflect", True, True),
    "strides over odd edges": ((2, 3), (5, 2, 3), 1, (2, 2, 2), ALL, "reflect", True, True),
    "strides over even edges": ((2, 3), (4, 2, 6), 1, (2, 2, 2), ALL, "constant", True, True),
    "zeros around a raw image": ((1, 2), (2, 3, 4), 2, (1, 1, 1), ALL, "constant", False, True),
    "slices": ((2, 17), (9, 5, 1), 2, (1, 1, 1), FLAT, "reflect", True, True),
    "slices, strided, the last of a chain": ((2, 3), (8, 6, 1), 2, (2, 2, 1), FLAT, "reflect", True, False),
    "points, many channels": ((67, 18), (5, 4, 3), 2, (1, 1, 1), POINT, "reflect", True, True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_convolution_is_its_twin_with_all_gradients(case: str) -> None:
    channels, space, cases, stride, pads, mode, norm, statistics = CASES[case]
    x, weight, bias, *given = parts(channels, space, pads, cases)
    how = How(stride, pads, mode, 0.2)
    inputs = (x, weight, bias, *given) if norm else (x, weight, bias)

    def by(module):
        def convolve(x, weight, bias, *norm):
            made = module.convolve(x, norm or None, weight, bias, how, statistics)
            return made if statistics else made[:1]

        return with_gradients(convolve, *inputs)

    for found, expected in zip(by(convolution), by(twin), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("module", "mode"), [(convolution, "reflect"), (twin, "reflect"), (twin, "constant")]
)
def test_gradients_are_differences(module, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    triton_interpreter.whole_maps(monkeypatch)
    x, weight, bias, mean, variance = parts((1, 2), (5, 2, 1), ROW, 1)
    how = How((2, 1, 1), ROW, mode, 0.2)

    def convolve(x, weight, bias, mean, variance):
        return module.convolve(x, (mean, variance), weight, bias, how, True)

    assert torch.autograd.gradcheck(convolve, (x, weight, bias, mean, variance), fast_mode=True)

    def activated(x, mean, variance):
        return module.activated(x, (mean, variance), 0.2)

    assert torch.autograd.gradcheck(activated, (x, mean, variance), fast_mode=True)
    assert torch.autograd.gradcheck(module.measured, (x,), fast_mode=True)


def test_whole_numbers_are_exact_in_single_precision() -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randint(-4, 5, shape).float() for shape in ((2, 3, 5, 4, 1), (2, 3, 3, 3, 1), (2,))
    )
    how = How((1, 1, 1), FLAT, "reflect", 0.2)
    found, expected = (m.convolve(x, None, weight, bias, how, False)[0] for m in (convolution, twin))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_large_mean_takes_nothing_from_the_variance() -> None:
    torch.manual_seed(0)
    x = 1e4 + torch.randn(1, 2, 20, 20, 30)
    mean, variance = convolution.measured(x)
    expected = twin.measured(x.double())
    torch.testing.assert_close(mean.double(), expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), expected[1], rtol=1e-3, atol=0)


def test_what_nobody_asked_for_has_no_gradient() -> None:
    x, weight, bias, *_ = parts((1, 1), (2, 2, 1), FLAT, 1)
    how = How((1, 1, 1), FLAT, "reflect", 0.2)
    z, mean, variance = convolution.convolve(x.detach(), None, weight.detach(), bias, how, True)
    (of_bias,) = torch.autograd.grad(mean.sum(), bias)
    torch.testing.assert_close(of_bias, torch.ones_like(bias))
    assert z.requires_grad
    assert variance.requires_grad


@pytest.mark.parametrize("before", [True, False])
def test_a_chain_is_that_of_the_twins(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    triton_interpreter.whole_maps(monkeypatch)
    x, *first = parts((2, 3), (4, 6, 1), FLAT, 2)[:3]
    second = noise(2, 3, 1, 1, 1), noise(2)
    hows = How((2, 2, 1), FLAT, "reflect", 0.2), How((1, 1, 1), POINT, "reflect", 0.2)

    def run(x: Tensor, *parameters: Tensor) -> list[Tensor]:
        links = [Link(*parameters[:2], hows[0]), Link(*parameters[2:], hows[1])]
        return [chain(x, links, before)]

    found = with_gradients(run, x, *first, *second)
    for name in ("convolve", "activated", "measured"):
        monkeypatch.setattr(f"backbones.kernels.chain.{name}", getattr(twin, name))
    torch.testing.assert_close(found, with_gradients(run, x, *first, *second), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("module", [convolution, twin])
@pytest.mark.parametrize(
    ("space", "kernel", "message"),
    [
        ((4, 1, 4), 3, "at least 2 along each axis"),
        ((4, 4, 4), 1, "3 voxels on an axis with a padding of 1"),
        ((2, 2, 2), 3, "one voxel"),
    ],
)
def test_what_cannot_be_convolved_is_an_error(module, space, kernel: int, message: str) -> None:
    x, weight, bias = torch.ones(1, 2, *space), torch.ones(2, 2, *(kernel,) * 3), torch.ones(2)
    with pytest.raises(ValueError, match=message):
        module.convolve(x, None, weight, bias, How((2, 2, 2), ALL, "reflect", 0.2), True)
