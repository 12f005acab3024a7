"""A2FSeg: equal to the released network in both modes, and what is its own."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from released import drawn_state, golden_figures, golden_input

import backbones
import passion
from backbones.a2fseg import A2FSeg

REGIONS = ((1, 2, 3), (1, 3), (3,))


def tiny(crop: int | tuple[int, int] = 32, spatial_dims: int = 3, width: int = 2) -> A2FSeg:
    torch.manual_seed(0)
    options = {"crop": crop, "spatial_dims": spatial_dims, "width": width, "regions": REGIONS}
    return backbones.create("a2fseg", modalities=4, classes=4, **options).double()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_parity_with_the_released_network_of_width_2_on_all_15_subsets() -> None:
    """Its figures are in float64, with 3 poolings: the losses of the outputs, the means of side outputs."""
    net, golden = tiny(), golden_figures("small/a2fseg")
    net.load_state_dict(drawn_state(net))
    volumes, target = golden_input()
    volumes, target = volumes[..., 8:40, 8:40, 8:40].double(), target[..., 8:40, 8:40, 8:40]
    masks = torch.from_numpy(golden["masks"])
    objective = passion.create("baseline", modalities=4, classes=4)
    with torch.no_grad():
        features = net.encode(volumes, torch.ones(1, 4, dtype=torch.bool))
        for mode in ("training", "evaluation"):
            fused = net.train(mode == "training").fuse(features, masks, torch.zeros(15, dtype=torch.int64))
            found = fused.logits.sigmoid()[..., 4::8, 4::8, 4::8]
            np.testing.assert_allclose(found, golden[f"{mode}_probabilities"], atol=1e-5)
        sides = [side.sigmoid().mean(dim=(1, 2, 3, 4)) for side in fused.side_logits]
        np.testing.assert_allclose(torch.stack(sides, dim=1), golden["sides"], atol=1e-5)
        for row in (14, 9, 3):
            present = masks[row : row + 1]
            batch = SimpleNamespace(volumes=volumes, present=present, target=target, cases=["a"])
            terms = objective.loss(net, batch).terms
            assert terms["fuse"].item() == pytest.approx(golden["fuse"][row], rel=1e-5)
            np.testing.assert_allclose(terms["sep"], golden["sep"][row], rtol=1e-5)


def test_its_size_is_the_released_one_without_the_idle_encoder_and_the_coarse_heads() -> None:
    with torch.device("meta"):
        net = backbones.create("a2fseg", 4, 4, regions=REGIONS)
    idle_encoder = sum(p.numel() for p in net.unets[0].stages.parameters())
    coarse_heads = 3 * (4 * (64 + 128 + 256 + 320) + 320)
    assert sum(p.numel() for p in net.parameters()) == 156_365_696 - idle_encoder - coarse_heads
    assert [rise.out_channels for rise in net.means.rises] == [32, 64, 128, 256, 320]


@pytest.mark.parametrize(
    ("crop", "halvings"), [(8, 1), (16, 2), (32, 3), (80, 4), (128, 5), (320, 5), ((80, 32), 3)]
)
def test_a_crop_is_halved_while_4_voxels_are_left(crop: int | tuple[int, int], halvings: int) -> None:
    net = tiny(crop, spatial_dims=2)
    assert len(net.means.rises) == halvings
    assert len(net.sides) == max(halvings - 1, 1)


def test_attention_weighs_the_present_modalities_alone_and_sums_to_one() -> None:
    net, present = (
        tiny(8, spatial_dims=2),
        torch.tensor([[True, False, True, True], [False, True, False, False]]),
    )
    finest, mean = random(2, 4, 2, 8, 8, 1), random(2, 2, 8, 8, 1)
    torch.testing.assert_close(net._weighted(torch.ones_like(finest), mean, present), torch.ones_like(mean))
    found = net._weighted(finest, mean, present)
    scores = [net.scores[m](torch.cat((finest[:1, m], mean[:1]), dim=1)) for m in (0, 2, 3)]
    weights = torch.stack(scores, dim=1).softmax(dim=1)
    torch.testing.assert_close(found[:1], (weights * finest[:1, [0, 2, 3]]).sum(dim=1))
    torch.testing.assert_close(found[1], finest[1, 1])  # a lone modality is left as it is


@pytest.mark.parametrize("space", [(36, 20, 17), (32, 5, 32)])
def test_edges_that_do_not_halve_often_enough(space: tuple[int, int, int]) -> None:
    net, present = tiny(), torch.tensor([[True, False, False, True]])
    assert net(random(1, 4, *space), present).shape == (1, 3, *space)


def test_slices_have_kernels_and_strides_of_one_on_the_third_axis() -> None:
    convolutions = [m for m in tiny(spatial_dims=2).modules() if isinstance(m, torch.nn.modules.conv._ConvNd)]
    assert all(m.kernel_size[2] == m.stride[2] == 1 for m in convolutions)
