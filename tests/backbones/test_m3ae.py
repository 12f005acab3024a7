"""M3AE: equal to the released network, and where its image lies.

`golden/m3ae.json` was made by the released code (ccarliu/m3ae, fdb2800) with the weights of `golden_network`
under its names: of one crop, probabilities of some voxels for the subsets 0001 to 1111 in evaluation, and of
pairs of subsets the mean squared difference of the bottlenecks in training mode; of two crops with the masks
of `golden_masks`, the two losses of its pre-training.
"""

import json
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from released import GOLDEN, _draw

import backbones
from backbones import noise
from backbones.m3ae import M3AE
from benchmark.evaluation.sliding_window import class_sums

REGIONS = ((1, 2, 3), (1, 3), (3,))
SUBSETS = torch.tensor(list(product([False, True], repeat=4))[1:])
FIRST = (5, 3, 2)
FIGURES = json.loads((GOLDEN / "m3ae.json").read_text())


def golden_network() -> M3AE:
    net = backbones.create("m3ae", 4, 4, regions=REGIONS, width=8, image=(40, 44, 36))
    drawn = {name: torch.from_numpy(_draw(name, list(w.shape))) for name, w in net.state_dict().items()}
    net.load_state_dict(drawn)
    return net


def golden_crops(edge: int, number: int = 1) -> torch.Tensor:
    values = np.random.Generator(np.random.PCG64(7)).standard_normal((number, 4, edge, edge, edge))
    return torch.from_numpy(values.astype(np.float32))


def golden_masks(edge: int, number: int) -> torch.Tensor:
    """Which voxels are visible, whole patches, bool [number, 4, edge, edge, edge]."""
    random = np.random.Generator(np.random.PCG64(9))
    patches = torch.stack(
        [torch.from_numpy(random.random((4, *[edge // 16] * 3)) < 0.3) for _ in range(number)]
    )
    for axis in (2, 3, 4):
        patches = patches.repeat_interleave(16, dim=axis)
    return patches


def corners_at(first: tuple[int, ...], edge: int) -> torch.Tensor:
    return torch.tensor([[list(first), [n + edge - 1 for n in first]]])


def test_parity_with_the_released_network_on_all_15_subsets() -> None:
    net, everything = golden_network(), torch.ones(1, 4, dtype=torch.bool)
    for training, rows in ((False, slice(0, 15)), (True, slice(12, 15))):  # no part depends on the mode
        with torch.no_grad():
            features = net.train(training).encode_at(golden_crops(16), everything, corners_at(FIRST, 16))
            logits = net.fuse(features, SUBSETS[rows], torch.zeros(15, dtype=torch.int64)[rows]).logits
        found = net.heads.probabilities(logits)[:, :, 3::9, 4::8, 5::7].flatten(1)
        torch.testing.assert_close(found, torch.tensor(FIGURES["probabilities"])[rows], rtol=0, atol=1e-4)


@pytest.mark.parametrize("pair", FIGURES["consistency"])
def test_parity_of_the_difference_of_two_subsets(pair: str) -> None:
    one, other = (torch.tensor([[bit == "1" for bit in subset]]) for subset in pair.split())
    net = golden_network().eval()  # the second subset is then all that is available
    with torch.no_grad():
        crops, corners = golden_crops(16), corners_at(FIRST, 16)
        fused = net.fuse(net.encode_at(crops, one, corners), one)
        (term,) = net.auxiliary(net.encode_at(crops, other, corners), fused, None).values()
    assert term.loss.item() == pytest.approx(FIGURES["consistency"][pair], rel=1e-4)
    assert term.weight == 0.1


def test_parity_of_the_losses_of_pretraining() -> None:
    net = golden_network().train()
    corners = torch.cat([corners_at(FIRST, 32), corners_at((6, 4, 3), 32)])
    with torch.no_grad():
        everything = torch.ones(2, 4, dtype=torch.bool)
        terms = net.rebuild(golden_crops(32, 2), golden_masks(32, 2), everything, corners)
    assert {name: term.weight for name, term in terms.items()} == {"rebuilt": 1.0, "image": 0.005}
    for name, term in terms.items():  # ours are summed over the two crops, theirs a mean
        assert term.loss.item() / 2 == pytest.approx(FIGURES["rebuild"][name], rel=1e-4)


def test_the_released_size() -> None:
    with torch.device("meta"):
        net = backbones.create("m3ae", 4, 4, regions=REGIONS)
    assert net.image.shape == (4, 240, 240, 155)
    net.begin("finetuning")
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 4_704_505
    net.begin("pretraining")
    assert net.image.requires_grad


def small(**options: object) -> M3AE:
    torch.manual_seed(0)
    options = {"modalities": 2, "classes": 2, "width": 2, "image": (20, 24, 9), **options}
    return backbones.create("m3ae", **options).double()


def test_the_image_is_cut_where_the_crop_lies() -> None:
    net = small(modalities=1)
    places = torch.arange(20 * 24 * 9, dtype=torch.float64).view(1, 20, 24, 9)
    net.image.data = places
    corners = torch.tensor([[[2, 18, -3], [9, 11, 4]], [[15, 0, 6], [22, 7, 13]]])
    volumes = torch.zeros(2, 1, 8, 8, 8, dtype=torch.float64)
    image = net.encode_at(volumes, torch.ones(2, 1, dtype=torch.bool), corners).extra["image"]
    index = [0, 0, 0, *range(5)]
    assert torch.equal(image[0], places[:, 2:10, 11:19].flip(2)[..., index])
    index = [15, 16, 17, 18, 19, 19, 19, 19]
    assert torch.equal(image[1], places[:, index, :8][..., [6, 7, 8, 8, 8, 8, 8, 8]])


def test_the_image_stands_in_for_what_is_absent() -> None:
    net, corners = small().eval(), corners_at((1, 2, 3), 16)
    volumes = torch.randn(1, 2, 16, 16, 16, dtype=torch.float64)
    one = torch.tensor([[True, False]])
    features = net.encode_at(volumes, one, corners)
    filled = torch.stack([volumes[:, 0], features.extra["image"][:, 1]], dim=1)
    expected = net(filled, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(net.fuse(features, one).logits, expected)
    net.fuse(features, one).logits.sum().backward()
    assert net.image.grad is not None
    assert not net.image.grad[0].any()
    assert net.image.grad[1, 1:17, 2:18, 3:].abs().min() > 0
    assert not net.image.grad[1, 17:].any()


def test_the_second_subset_is_the_case_s_own_draw() -> None:
    """It depends on the step and the case, not on who shares the batch, and lies within what is there."""
    net = small(modalities=3, spatial_dims=2).train()
    volumes = torch.randn(2, 3, 16, 16, 1, dtype=torch.float64)
    available = torch.tensor([[True, True, True], [True, False, True]])
    cases = ["a", "b"]

    def term(step: str, chosen: list[int]) -> torch.Tensor:
        with torch.no_grad(), noise.step(step, [cases[b] for b in chosen]):
            features = net.encode(volumes[chosen], available[chosen])
            batch = SimpleNamespace(present=available[chosen])
            fused = net.fuse(features, available[chosen])
            return net.auxiliary(features, fused, batch)["consistency"].loss

    steps = [f"step {i}" for i in range(6)]
    for step in steps:
        torch.testing.assert_close(term(step, [0, 1]), term(step, [1]) + term(step, [0]))
    assert len({round(term(step, [0]).item(), 9) for step in steps}) > 2
    alone = torch.tensor([[False, False, True]])
    assert noise.subsets(alone, "x").equal(alone)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_window_is_encoded_where_it_lies(dims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, seen = small(spatial_dims=dims), []

    def encode_at(volumes, available, corners):
        seen.extend(corners.tolist())
        return M3AE.encode_at(net, volumes, available, corners)

    monkeypatch.setattr(net, "encode_at", encode_at)
    volumes = torch.randn(2, 20, 16, 2 if dims == 2 else 16, dtype=torch.float64)
    class_sums(net, volumes, [("a",), ("a", "b")], ("a", "b"), 16, torch.device("cpu"), poor=volumes)
    along = [(0, 0)] if dims == 3 else [(0, 0), (1, 1)]
    last = 15 if dims == 3 else 0
    expected = [[[x, 0, z], [x + 15, 15, z + last]] for z, _ in along for x in (0, 4)]
    assert seen == [corners for corners in expected for _ in range(2)]
