"""Recomputation changes memory, not numbers: every backbone, dropout included, in float64."""

import copy

import pytest
import torch

import backbones
import passion
from backbones import BACKBONES, noise
from backbones.recompute import Recomputed
from tests.passion.test_every_pair import ordinary
from tests.tiny_networks import tiny

OBJECTIVES = ["passion", "baseline"]


@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_losses_and_gradients_are_equal(name, objective):
    torch.manual_seed(0)
    dropout = {"dropout": 0.0} if "dropout" in BACKBONES.get(name).Options.model_fields else {}
    options = {**tiny(name), **dropout}
    net = backbones.create(name, modalities=3, classes=4, crop=32, spatial_dims=2, **options).double()
    batch = ordinary(3, 2, 0)
    batch.volumes = batch.volumes.double()
    found = []
    for wrapped in (False, True):
        copied = copy.deepcopy(net)
        network = Recomputed(copied) if wrapped else copied
        goal = passion.create(objective, modalities=3, classes=4)
        with noise.step("s", batch.cases):
            losses = goal.loss(network, batch)
            goal.backward(losses, list(copied.parameters()))
        assert losses.total.requires_grad
        found.append((losses, [p.grad for p in copied.parameters() if p.grad is not None]))
    (plain, gradients), (again, gradients_again) = found
    torch.testing.assert_close(again.total, plain.total)
    torch.testing.assert_close(again.terms, plain.terms)
    torch.testing.assert_close(gradients_again, gradients)


@pytest.mark.parametrize("name", ["mmformer", "m2ftrans"])
def test_dropout_is_drawn_again_as_it_was(name):
    torch.manual_seed(0)
    sizes = {"modalities": 2, "classes": 2, "crop": 32, "spatial_dims": 2, "width": 2}
    net = backbones.create(name, **sizes, dropout=0.5).double()
    again = Recomputed(net)
    volumes = torch.randn(1, 2, 32, 32, 1, dtype=torch.float64)
    there = torch.ones(1, 2, dtype=torch.bool)
    torch.manual_seed(1)
    features = again.encode(volumes, there)
    logits = again.fuse(features, there).logits
    logits.square().sum().backward()
    ours = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    torch.manual_seed(1)
    net.fuse(net.encode(volumes, there), there).logits.square().sum().backward()
    expected = [p.grad for p in net.parameters() if p.grad is not None]
    torch.testing.assert_close(ours, expected)
