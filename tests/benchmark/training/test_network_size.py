import pytest
import torch
from torch import nn

import backbones
from backbones import cpu
from backbones.contract import Backbone
from benchmark.training.network_size import model_size
from tests.tiny_networks import tiny


class OneConvolution(Backbone):
    """All modalities through one 3x3x3 convolution, and a matrix product beside it."""

    encode = fuse = None

    def __init__(self):
        super().__init__(modalities=2, classes=3)
        self.convolution = nn.Conv3d(2, 3, 3, padding=1)
        self.frozen = nn.Parameter(torch.ones(5, 5), requires_grad=False)

    def forward(self, volumes, present):
        assert present.all()
        return self.convolution(volumes) + (self.frozen @ self.frozen).sum()


def test_operations_by_hand():
    size = model_size(OneConvolution(), crop=16)
    assert size["parameters"] == 2 * 3 * 27 + 3
    # A multiply-add is two: 27 taps of 2 channels for 3 outputs at 16^3 voxels; 5 x 5 matrices.
    assert size["gflops"] == pytest.approx((2 * 27 * 2 * 3 * 16**3 + 2 * 5**3) / 1e9, abs=5e-4)


def test_operations_are_the_networks_whatever_the_processor(monkeypatch):
    backbone = backbones.create("rfnet", modalities=2, classes=3, width=2, crop=32)
    sizes = []
    for wide in (True, False):
        monkeypatch.setattr(cpu, "_wide", wide)
        sizes.append(model_size(backbone, crop=32))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", list(backbones.BACKBONES))
def test_size_of_volumes_and_slices(name, dims):
    crop = (32, 48, 32)[:dims]
    backbone = backbones.create(name, modalities=2, classes=3, crop=crop, spatial_dims=dims, **tiny(name))
    backbone.train()
    state = torch.random.get_rng_state()
    size = model_size(backbone, crop)
    assert size["parameters"] == sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    assert size["gflops"] > 0 or name == "gaussian"  # of which a slice takes less than is shown
    assert backbone.training
    assert torch.equal(torch.random.get_rng_state(), state)
