import pytest
import torch

import backbones
from benchmark.size import model_size


@pytest.mark.parametrize("dims", [2, 3])
def test_size_of_volumes_and_slices(dims):
    backbone = backbones.create("rfnet", modalities=2, classes=3, width=2, crop=16, spatial_dims=dims)
    backbone.train()
    state = torch.random.get_rng_state()
    size = model_size(backbone, crop=16)
    assert size["parameters"] == sum(p.numel() for p in backbone.parameters())
    assert size["gflops"] > 0
    assert backbone.training
    assert torch.equal(torch.random.get_rng_state(), state)
