"""HGA's shared U-Net: the released one's numbers and size, and what it promises.

`tests/golden/sharedunet.json` was made by running the released network (Jun-Jie-Shi/HGA, f20ef65, models/
ensemble_inc.py at width 0.5) on these weights and volumes: probabilities at some voxels, and the gradients of
the sum of their squares in training mode.
"""

import json
import zlib

import numpy as np
import pytest
import torch
from released import GOLDEN
from torch import Tensor

import backbones
from backbones.contract import Backbone

FIGURES = json.loads((GOLDEN / "sharedunet.json").read_text())
VOXELS = [(0, 0, 0), (3, 7, 12), (15, 8, 1), (9, 15, 15)]


def draw(key: str, shape: tuple[int, ...]) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    return torch.from_numpy(generator.standard_normal(shape))


def golden_network() -> Backbone:
    net = backbones.create("sharedunet", modalities=4, classes=4).double()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            values = draw(f"sharedunet:{name}", tuple(weight.shape))
            if weight.dim() > 1:
                weight.copy_(values * (2 / weight[0].numel()) ** 0.5)
            else:
                weight.copy_(0.1 * values + ("norms" in name and name.endswith("weight")))
    return net


def golden_volumes() -> Tensor:
    return draw("sharedunet:volumes", (1, 4, 16, 16, 16))


def figures_of(net: Backbone, subset: str) -> dict[str, list[float] | float]:
    """Probabilities [voxels, classes] one after the other, and the absolute sum of all gradients."""
    net.zero_grad()
    present = torch.tensor([[bit == "1" for bit in subset]])
    p = net(golden_volumes(), present).softmax(dim=1)
    p.square().sum().backward()
    gradient = sum(w.grad.abs().sum().item() for w in net.parameters() if w.grad is not None)
    at = [p[(0, slice(None), *voxel)] for voxel in VOXELS]
    return {"probabilities": torch.cat(at).tolist(), "gradient": gradient}


def test_it_has_the_released_number_of_parameters() -> None:
    net = backbones.create("sharedunet", modalities=4, classes=4)
    assert sum(p.numel() for p in net.parameters()) == 3_245_252


@pytest.mark.parametrize("subset", list(FIGURES))
@pytest.mark.parametrize("training", [False, True])
def test_it_equals_the_released_network(subset: str, training: bool) -> None:
    found = figures_of(golden_network().train(training), subset)
    for name, expected in FIGURES[subset].items():
        assert found[name] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_one_modality_alone_is_its_unimodal_output() -> None:
    torch.manual_seed(0)
    net = backbones.create("sharedunet", modalities=3, classes=2, width=4, spatial_dims=2).double()
    volumes, available = draw("two cases", (2, 3, 16, 32, 1)), torch.tensor([[True, False, True], [True] * 3])
    volumes[0, 1] = torch.nan
    features = net.encode(volumes, available)
    alone = torch.eye(3).bool()
    fused = net.fuse(features, alone[[0, 2, 1]], torch.tensor([0, 0, 1])).logits
    own = net.unimodal(features)
    torch.testing.assert_close(fused, torch.stack([own[0, 0], own[0, 2], own[1, 1]]))
    assert not own[0, 1].any()
    both = net.fuse(features, torch.tensor([[True, False, True]]), torch.tensor([0])).logits
    torch.testing.assert_close(both[0], (own[0, 0] + own[0, 2]) / 2)


def test_edges_that_are_no_multiples_of_16_are_refused() -> None:
    net = backbones.create("sharedunet", modalities=2, classes=2, width=2)
    with pytest.raises(ValueError, match="multiples of 16"):
        net(torch.zeros(1, 2, 24, 16, 16), torch.ones(1, 2).bool())
