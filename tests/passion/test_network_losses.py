"""What a network trains beside its segmentation, and regions for channels: with every objective."""

import pytest
import torch

from backbones import noise
from backbones.recompute import Recomputed
from passion.losses import CaseLabels, task_loss
from tests.passion.tiny_backbone import RegionBackbone, create, tiny_batch
from tests.tiny_networks import SEGMENTING

REGIONS = ((1, 2, 3), (1, 3), (3,))


def losses_of(objective: str, net: torch.nn.Module, *subsets: str):
    with noise.step("s", ["case0", "case1"]):
        goal = create(objective, teacher=RegionBackbone().double())
        losses = goal.loss(net, tiny_batch(*subsets))
        goal.backward(losses, list(net.parameters()))
    return losses


@pytest.mark.parametrize("objective", SEGMENTING)
def test_every_objective_adds_a_network_s_own_losses(objective: str) -> None:
    net = RegionBackbone().double()
    losses = losses_of(objective, net, "1010", "1111")
    own = [p.grad.clone() for p in net.image.parameters()]
    with noise.step("s", ["case0", "case1"]):
        batch = tiny_batch("1010", "1111")
        features = net.encode(batch.volumes, batch.present)
        term = net.auxiliary(features, net.fuse(features, batch.present), batch)["image"]
    torch.testing.assert_close(losses.terms["image"], term.loss.detach())
    expected = torch.autograd.grad(term.weight * term.loss, list(net.image.parameters()))
    # The image's layer learns from nothing else; pcgrad turns the shared gradient a little.
    tolerance = 0.02 if objective == "pcgrad" else 1e-9
    torch.testing.assert_close(own, list(expected), rtol=tolerance, atol=tolerance)
    assert losses.total.isfinite()


@pytest.mark.parametrize("objective", ["baseline", "passion"])
def test_recomputation_changes_neither_draws_nor_gradients(objective: str) -> None:
    found = []
    for wrap in (lambda net: net, Recomputed):
        net = RegionBackbone().double()
        losses = losses_of(objective, wrap(net), "1010", "1111")
        found.append((losses.total.detach(), losses.terms, [p.grad for p in net.parameters()]))
    torch.testing.assert_close(*found)


def test_the_loss_of_regions_is_binary_cross_entropy_plus_dice() -> None:
    target = torch.tensor([0, 1, 2, 3]).view(4, 1, 1)
    p = torch.rand(1, 3, 4, 1, 1, dtype=torch.float64)
    inside = torch.tensor([[0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]], dtype=torch.float64)
    flat = p[0].flatten(1)
    entropy = -(inside * flat.log() + (1 - inside) * (1 - flat).log()).mean()
    dice = (2 * (flat * inside).sum(1) / (flat.sum(1) + inside.sum(1))).mean()
    found = task_loss(p, CaseLabels(target, 4, torch.float64, REGIONS))
    assert found.item() == pytest.approx((entropy + 1 - dice).item())


def test_single_classes_as_regions_teach_a_softmax_s_students_too() -> None:
    """A student that is its teacher has nothing to learn, of regions as of classes."""
    losses = losses_of("passion", RegionBackbone().double(), "1000", "0100")
    assert losses.terms["kl"].tolist() == [0, 0, 0, 0]
    assert losses_of("passion", RegionBackbone().double(), "1100", "0110").terms["kl"].sum() > 0
