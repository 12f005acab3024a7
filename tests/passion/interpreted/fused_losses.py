"""Losses that read outputs once, by Triton's interpreter, against those in plain torch, in float64."""

import pytest
import torch
from torch import Tensor
from triton_interpreter import with_gradients

from backbones import kernels
from passion import fused_losses
from passion.distillation import semantic_distillation, temperature_kl
from passion.losses import CaseLabels, output_loss

SPACE = (3, 5, 4)
CLASSES = 5


@pytest.fixture(params=[512, 128], ids=["one block", "several blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_losses, "VALUES", request.param)


def labels() -> CaseLabels:
    """Of a case without class 3, so with a prototype less."""
    target = torch.randint(0, CLASSES, SPACE)
    return CaseLabels(target.masked_fill(target == 3, 0), CLASSES, torch.float64)


def outputs(rows: int, channels: int, last: bool) -> Tensor:
    """Of a wide range, so that some probabilities are below the floor; channels last if `last`."""
    layout = torch.channels_last_3d if last else torch.contiguous_format
    x = 3 * torch.randn(rows, channels, *SPACE, dtype=torch.float64)
    return x.contiguous(memory_format=layout).requires_grad_()


def assert_the_same(monkeypatch: pytest.MonkeyPatch, loss, x: Tensor) -> None:
    """Fail where values or gradients by the kernels are others than by torch."""
    expected = with_gradients(loss, x)
    asked: list[int] = []
    flat = fused_losses._flat
    monkeypatch.setattr(fused_losses, "_flat", lambda maps: asked.append(1) or flat(maps))
    monkeypatch.setenv(kernels.SWITCH, "1")
    torch.testing.assert_close(with_gradients(loss, x), expected, rtol=1e-10, atol=1e-13)
    assert asked, "the kernels were not asked"


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("last", [True, False])
def test_the_task_loss_is_the_same(last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    case, x = labels(), outputs(2, CLASSES, last)
    assert (x.softmax(dim=1) < 0.005).any()
    assert_the_same(monkeypatch, lambda x: [output_loss(x, case)], x)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("last", [True, False])
def test_the_divergence_from_a_teacher_is_the_same(last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    teacher, x = outputs(1, CLASSES, not last), outputs(2, CLASSES, last)
    assert_the_same(monkeypatch, lambda x: [temperature_kl(x, teacher, 2.0, SPACE)], x)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("last", [True, False])
def test_distances_of_prototypes_are_the_same(last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    case, teacher, x = labels(), outputs(1, 6, not last), outputs(2, 6, last)
    with torch.no_grad():
        x[0, :, 1, 2, 3] = 0  # of no direction
    assert_the_same(monkeypatch, lambda x: semantic_distillation(x, teacher, case)[:1], x)
    found = semantic_distillation(x, teacher, case)[1]
    monkeypatch.delenv(kernels.SWITCH)
    torch.testing.assert_close(found, semantic_distillation(x, teacher, case)[1])


def test_gradients_are_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    index, weights = torch.tensor([0, 2, 1, 0]), torch.tensor([0.5, 0.7, 0.8], dtype=torch.float64)
    ways = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    teacher, targets = (
        torch.randn(1, 3, 2, 2, 1, dtype=torch.float64),
        torch.randn(1, 3, 3, dtype=torch.float64),
    )
    counts = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)

    def squares(x, ways):
        return fused_losses.similarity_differences(x, ways, teacher, targets, counts, 1e-5)[0]

    for function, inputs in (
        (lambda x: fused_losses.task_sums(x, index, weights, 0.005), (x,)),
        (lambda x: fused_losses.divergence(x, teacher, 2.0, 0.005), (x,)),
        (lambda x: fused_losses.class_sums(x, index, 3), (x,)),
        (squares, (x, ways)),
    ):
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)


def test_small_and_regional_outputs_stay_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setenv(kernels.SWITCH, "1")
    monkeypatch.setattr(fused_losses, "_flat", None)
    regional = CaseLabels(torch.randint(0, 3, SPACE), 3, torch.float64, regions=((1, 2), (2,)))
    assert output_loss(outputs(1, 2, False), regional).isfinite()
    assert output_loss(outputs(1, CLASSES, False)[..., ::2, :], labels(), SPACE).isfinite()
