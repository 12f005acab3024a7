"""Self-distillation against closed forms and against its definition written with one-hot copies."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from passion.distillation import (
    dice_distance,
    pixel_distillation,
    semantic_distillation,
    similarity_maps,
    temperature_kl,
)
from passion.losses import CaseLabels

SIZE = (3, 4, 5)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(target: Tensor, classes: int = 4) -> CaseLabels:
    return CaseLabels(target, classes, torch.float64)


def random_target(classes: int = 4) -> Tensor:
    return torch.randint(0, classes, SIZE, generator=torch.Generator().manual_seed(3))


def two_classes(p: float, tau: float = 4.0) -> Tensor:
    """Logits [1, 2, 2, 2, 2] whose softened probability of class 0 is `p` everywhere."""
    return tau * torch.tensor([p, 1 - p], dtype=torch.float64).log()[None, :, None, None, None].expand(
        1, 2, 2, 2, 2
    )


def test_kl_of_an_output_from_itself_is_zero() -> None:
    logits = draw(1, 4, *SIZE)
    assert temperature_kl(logits, logits, 4.0, SIZE).item() == 0


def test_kl_has_a_closed_form_for_constant_outputs() -> None:
    expected = 16 / 2 * (0.7 * math.log(0.7 / 0.4) + 0.3 * math.log(0.3 / 0.6))
    assert temperature_kl(two_classes(0.4), two_classes(0.7), 4.0, (4, 4, 4)).item() == pytest.approx(
        expected
    )


def test_kl_clamps_probabilities_and_can_be_negative() -> None:
    value = temperature_kl(two_classes(0.001), two_classes(0.005), 4.0, (2, 2, 2)).item()
    assert value == pytest.approx(8 * 0.995 * math.log(0.995 / 0.999))
    assert value < 0


def test_kl_has_no_gradient_for_the_teacher() -> None:
    student, teacher = draw(2, 4, *SIZE).requires_grad_(), draw(1, 4, *SIZE, seed=1).requires_grad_()
    temperature_kl(student, teacher, 4.0, SIZE).sum().backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().max() > 0


def test_pixel_distillation_halves_the_weight_at_each_side_output() -> None:
    student, teacher = [two_classes(0.4)] * 3, [two_classes(0.7)] * 3
    single = temperature_kl(student[0], teacher[0], 4.0, (2, 2, 2))
    torch.testing.assert_close(
        pixel_distillation(student, teacher, 4.0, (2, 2, 2)), (1 + 1 / 2 + 1 / 4) * single
    )


def test_classes_with_orthogonal_features_are_told_apart() -> None:
    target = random_target(2)
    features = F.one_hot(target, 2).movedim(-1, 0).double().flatten(1)[None]
    maps = similarity_maps(features, labels_of(target, classes=2))
    torch.testing.assert_close(maps, features)


def test_classes_without_a_voxel_have_an_empty_map() -> None:
    target = random_target(4)
    target[target == 2] = 0
    maps = similarity_maps(draw(2, 5, target.numel()), labels_of(target))
    assert [bool(maps[:, c].any()) for c in range(4)] == [True, True, False, True]


def literal_maps(features: Tensor, target: Tensor, classes: int) -> Tensor:
    """One output [F, *space] -> [K, *space]."""
    maps = []
    for c in range(classes):
        y = (target == c).to(features)
        if y.sum() > 0:
            prototype = (features * y).sum(dim=(1, 2, 3)) / (y.sum() + 1e-5)
            maps.append(F.cosine_similarity(features, prototype[:, None, None, None], dim=0, eps=1e-5))
    return torch.stack(maps)


@pytest.mark.parametrize("classes_that_occur", [1, 3, 4])
def test_semantic_distillation_and_its_gradient_equal_the_definition(classes_that_occur: int) -> None:
    target = random_target(classes_that_occur)
    teacher = draw(1, 5, *SIZE, seed=1).requires_grad_()
    ours, literal = (draw(2, 5, *SIZE).requires_grad_() for _ in range(2))
    proto, distance = semantic_distillation(ours, teacher, labels_of(target))
    proto.sum().backward()
    goal = literal_maps(teacher[0].detach(), target, 4)
    differences = torch.stack([literal_maps(row, target, 4) - goal for row in literal]).flatten(1)
    differences.square().mean(dim=1).sum().backward()
    torch.testing.assert_close(proto, differences.square().mean(dim=1))
    torch.testing.assert_close(distance, differences.abs().mean(dim=1))
    torch.testing.assert_close(ours.grad, literal.grad)
    assert not distance.requires_grad
    assert teacher.grad is None


def test_features_of_zeros_give_finite_losses_and_gradients() -> None:
    student = torch.zeros(1, 5, *SIZE, requires_grad=True)
    proto, distance = semantic_distillation(
        student, torch.ones(1, 5, *SIZE), CaseLabels(random_target(), 4, torch.float32)
    )
    proto.sum().backward()
    assert proto.item() == pytest.approx(1, abs=1e-4)
    assert distance.item() == pytest.approx(1, abs=1e-4)
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("gap", [0.5, 200.0])
def test_dice_distance_between_equal_outputs_is_zero_even_where_a_class_has_no_probability(
    gap: float,
) -> None:
    logits = torch.zeros(1, 4, *SIZE)
    logits[:, 0] = gap
    assert dice_distance(logits, logits).item() == pytest.approx(0, abs=1e-6)


def test_dice_distance_has_a_closed_form_for_constant_outputs() -> None:
    student, teacher = two_classes(0.2, tau=1.0), two_classes(0.5, tau=1.0)
    first, second = 2 * 0.2 * 0.5 / (0.04 + 0.25), 2 * 0.8 * 0.5 / (0.64 + 0.25)
    assert dice_distance(student, teacher).item() == pytest.approx(1 - (first + second) / 2)
