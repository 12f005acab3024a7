"""U-HeMIS equals the public network, whose layers are NiftyNet's.

The golden figures are those of ReubenDo/U-HVED at 1d293a8, `u_hemis_net.py` at its published size, on the
layers of NiftyNet 0.5.0 under TensorFlow 2.21 (with the instance norm of `tf.contrib`, which is gone there):
a crop of 32, weights of `drawn_state`, all subsets; the losses are NiftyNet's cross entropy and Dice. Nothing
in the network differs between evaluation and training.
"""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from released import drawn_state, every_subset, golden_figures, golden_input
from torch import Tensor

import backbones
from backbones.hved_blocks import Encoder, doubled, truncated_init
from backbones.uhemis import UHeMIS, mean_and_variance
from bench_errors import InputError

CROP = 32


def dice_loss(p: Tensor, target: Tensor) -> Tensor:
    """NiftyNet's: squares in the denominator (Milletari et al., 2016), mean over classes: [K]."""
    truth = F.one_hot(target, p.shape[1]).movedim(-1, 1)
    overlap, sizes = 2 * (p * truth).flatten(2).sum(2), (p**2 + truth).flatten(2).sum(2)
    return 1 - ((overlap + 1e-5) / (sizes + 1e-5)).mean(dim=1)


@pytest.mark.parametrize(("training", "rows"), [(False, range(15)), (True, [4, 14])])
def test_probabilities_and_losses_equal_the_public_network(training: bool, rows: Sequence[int]) -> None:
    figures = {key: torch.from_numpy(value) for key, value in golden_figures("small/uhemis").items()}
    net = backbones.create("uhemis", modalities=4, classes=4).train(training)
    net.load_state_dict(drawn_state(net))
    volumes, target = (t[..., :CROP, :CROP, :CROP] for t in golden_input())
    with torch.no_grad():
        features = net.encode(volumes, torch.ones(1, 4, dtype=torch.bool))
        logits = net.fuse(features, every_subset(4)[rows], torch.zeros(len(rows), dtype=torch.long)).logits
    p = logits.softmax(dim=1)
    found = {
        "probabilities": p[..., 4::8, 4::8, 4::8],
        "cross_entropy": F.cross_entropy(logits, target.expand(len(rows), -1, -1, -1), reduction="none").mean(
            (1, 2, 3)
        ),
        "dice": dice_loss(p, target),
    }
    for term, value in found.items():
        torch.testing.assert_close(
            value, figures[term][rows], rtol=1e-4 * (term != "probabilities"), atol=1e-4
        )


def test_the_published_size() -> None:
    net = backbones.create("uhemis", 4, 4)
    assert sum(p.numel() for p in net.parameters()) == 565_888  # as in the published checkpoint


def test_mean_and_variance_are_those_of_the_present_modalities() -> None:
    torch.manual_seed(0)
    level, case = torch.randn(2, 4, 3, 2, 2, 2, dtype=torch.float64), torch.tensor([1, 0, 1])
    present = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]]).bool()
    fused = mean_and_variance(level, present, case)
    for row in range(3):
        there = level[case[row], present[row]]
        torch.testing.assert_close(fused[row, :3], there.mean(dim=0))
        torch.testing.assert_close(fused[row, 3:], there.var(dim=0, correction=0))
    assert not fused[1, 3:].any()


def test_an_axis_is_doubled_by_the_mean_of_neighbours() -> None:
    x = torch.tensor([1.0, 3.0, 7.0]).view(1, 1, 3, 1, 1)
    assert doubled(x, 2).flatten().tolist() == [1, 2, 3, 5, 7, 7]


def test_an_encoder_ends_its_levels_with_all_or_half_of_the_channels() -> None:
    x = torch.zeros(1, 1, 16, 16, 16)
    assert [maps.shape[1] for maps in Encoder(8, halved=False, spatial_dims=3)(x)] == [8, 16, 32, 64]
    assert [maps.shape[1] for maps in Encoder(8, halved=True, spatial_dims=3)(x)] == [4, 8, 16, 32]


def test_weights_start_within_two_deviations() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, halved=False, spatial_dims=3)
    truncated_init(encoder)
    weight = encoder.levels[3][1].conv.weight.detach()
    deviation = (2 / (64 * 27)) ** 0.5
    assert weight.abs().max() <= 2 * deviation
    assert weight.std() == pytest.approx(0.88 * deviation, rel=0.02)


@pytest.mark.parametrize("edge", [8, 20])
def test_volumes_without_four_whole_levels_are_refused(edge: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8 from 16"):
        backbones.create("uhemis", 2, 2, width=2)(torch.zeros(1, 2, 16, edge, 16), torch.ones(1, 2).bool())


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(InputError, match="width: expected a multiple of 2"):
        backbones.create("uhemis", 4, 4, width=3)


def test_slices_keep_the_third_axis() -> None:
    net: UHeMIS = backbones.create("uhemis", 3, 5, spatial_dims=2, width=2)
    fused = net.fuse(
        net.encode(torch.randn(1, 3, 32, 16, 1), torch.ones(1, 3).bool()), torch.ones(1, 3).bool()
    )
    assert fused.logits.shape == (1, 5, 32, 16, 1)
    assert fused.decoder_features.shape == (1, 1, 32, 16, 1)
    assert fused.side_logits == []
