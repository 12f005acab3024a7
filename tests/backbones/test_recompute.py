"""Recomputation changes memory, not numbers: every backbone, dropout included."""

import pytest
import torch

import backbones
import passion
from backbones import BACKBONES
from backbones.recompute import Recomputed
from tests.passion.test_every_pair import ordinary

OBJECTIVES = ["passion", "baseline"]


@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_and_gradients_are_equal(name, objective):
    torch.manual_seed(0)
    dropout = {} if name == "rfnet" else {"dropout": 0.0}
    net = backbones.create(name, modalities=3, classes=4, crop=32, spatial_dims=2, width=2, **dropout)
    batch = ordinary(3, 2, 0)
    found = []
    for network in (net, Recomputed(net)):
        net.zero_grad()
        goal = passion.create(objective, modalities=3, classes=4)
        losses = goal.loss(network, batch)
        goal.backward(losses, list(net.parameters()))
        assert losses.total.requires_grad
        found.append((losses, [p.grad.clone() for p in net.parameters() if p.grad is not None]))
    (plain, gradients), (again, gradients_again) = found
    torch.testing.assert_close(again.total, plain.total)
    for term, value in plain.terms.items():
        torch.testing.assert_close(again.terms[term], value, rtol=1e-4, atol=1e-5)
    scale = max(g.abs().max().item() for g in gradients)
    for a, b in zip(gradients_again, gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * scale)


def test_dropout_is_drawn_again_as_it_was():
    net = backbones.create("mmformer", modalities=2, classes=2, crop=32, spatial_dims=2, width=2, dropout=0.5)
    again = Recomputed(net)
    volumes, there = torch.randn(1, 2, 32, 32, 1), torch.ones(1, 2, dtype=torch.bool)
    torch.manual_seed(1)
    features = again.encode(volumes, there)
    logits = again.fuse(features, there).logits
    logits.square().sum().backward()
    ours = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    torch.manual_seed(1)
    net.fuse(net.encode(volumes, there), there).logits.square().sum().backward()
    expected = [p.grad for p in net.parameters() if p.grad is not None]
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
