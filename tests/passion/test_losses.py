"""The task losses against closed forms and against their definition written with one-hot copies."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from passion.losses import (
    CaseLabels,
    cross_entropy,
    deep_supervision,
    dice_loss,
    probabilities,
    task_loss,
)

CLASSES = 4
SIZE = (4, 5, 6)


def random_target(classes: int = CLASSES) -> Tensor:
    return torch.randint(0, classes, SIZE, generator=torch.Generator().manual_seed(0))


def random_probabilities(rows: int = 2) -> Tensor:
    logits = torch.randn(
        rows, CLASSES, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    return torch.softmax(2 * logits, dim=1)


def parts(p: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    labels = CaseLabels(target, CLASSES, p.dtype)
    flat = p.flatten(2)
    own = flat.gather(1, labels.index.expand(len(p), 1, -1)).squeeze(1)
    return cross_entropy(own, labels), dice_loss(flat, own, labels)


def literal_task_loss(p: Tensor, target: Tensor) -> Tensor:
    """One output [C, *space]: the definitions, with one-hot copies."""
    y = F.one_hot(target, CLASSES).movedim(-1, 0).to(p)
    dice = (
        1 - sum(2 * (p[c] * y[c]).sum() / (p[c].sum() + y[c].sum() + 1e-7) for c in range(CLASSES)) / CLASSES
    )
    entropy = sum(-(1 - y[c].mean()) * y[c] * torch.log(p[c].clamp(0.005, 1)) for c in range(CLASSES))
    return entropy.mean() + dice


def test_a_perfect_prediction_costs_nothing() -> None:
    target = random_target()
    p = F.one_hot(target, CLASSES).movedim(-1, 0)[None].double()
    entropy, dice = parts(p, target)
    assert entropy.item() == 0
    assert dice.item() == pytest.approx(0, abs=1e-8)


def test_an_absent_class_costs_a_quarter_of_the_dice_loss_even_if_perfect() -> None:
    target = random_target(classes=3)
    p = F.one_hot(target, CLASSES).movedim(-1, 0)[None].double()
    assert parts(p, target)[1].item() == pytest.approx(1 / CLASSES, abs=1e-8)


def test_uniform_probabilities_have_a_closed_form() -> None:
    target = torch.zeros(SIZE, dtype=torch.long)
    target[:2] = 1  # half the voxels
    entropy, dice = parts(torch.full((1, CLASSES, *SIZE), 1 / CLASSES, dtype=torch.float64), target)
    assert entropy.item() == pytest.approx(0.5 * math.log(4))
    assert dice.item() == pytest.approx(1 - 2 * (2 * 0.5 * 0.25 / (0.25 + 0.5)) / 4, abs=1e-8)


@pytest.mark.parametrize("classes_that_occur", [1, 3, 4])
def test_task_loss_and_its_gradient_equal_the_definition(classes_that_occur: int) -> None:
    target = random_target(classes_that_occur)
    ours, literal = (random_probabilities().requires_grad_() for _ in range(2))
    task_loss(ours, CaseLabels(target, CLASSES, torch.float64)).sum().backward()
    sum(literal_task_loss(row, target) for row in literal).backward()
    expected = torch.stack([literal_task_loss(row, target) for row in literal])
    torch.testing.assert_close(task_loss(ours, CaseLabels(target, CLASSES, torch.float64)), expected)
    torch.testing.assert_close(ours.grad, literal.grad)


def test_cross_entropy_has_no_gradient_below_the_floor() -> None:
    target = random_target()
    labels = CaseLabels(target, CLASSES, torch.float64)
    own = torch.full((1, target.numel()), 0.004, dtype=torch.float64, requires_grad=True)
    loss = cross_entropy(own, labels)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(0.005) * labels.voxel_weights.mean().item())
    assert own.grad is not None
    assert own.grad.abs().max() == 0


def test_side_outputs_are_enlarged_after_the_softmax_and_weigh_half_each_time() -> None:
    target = random_target()
    labels = CaseLabels(target, CLASSES, torch.float64)
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)[None, :, None, None, None]
    sides = [logits.expand(1, CLASSES, *(max(1, s >> level) for s in SIZE)) for level in range(3)]
    single = task_loss(probabilities(logits, SIZE), labels)
    torch.testing.assert_close(deep_supervision(sides, labels, SIZE), (1 / 2 + 1 / 4 + 1 / 8) * single)


def test_enlarging_aligns_the_corners() -> None:
    logits = torch.randn(1, CLASSES, 2, 2, 2, dtype=torch.float64)
    small, large = probabilities(logits), probabilities(logits, SIZE)
    torch.testing.assert_close(large[:, :, ::3, ::4, ::5], small)
    torch.testing.assert_close(large.sum(dim=1), torch.ones(1, *SIZE, dtype=torch.float64))


def test_half_precision_is_computed_in_single() -> None:
    assert probabilities(torch.zeros(1, CLASSES, *SIZE, dtype=torch.bfloat16)).dtype == torch.float32
