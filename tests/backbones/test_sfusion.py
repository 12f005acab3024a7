"""SFusion: equal to the authors' network, in testing and in training; its tokens.

The golden figures are those of scut-cszcl/SFusion at dae6d59, `TF_RMBTS` at width 4, its fusion set to 4
tokens per axis; see `golden_networks`.
"""

import pytest
import torch
from golden_networks import tiny_input, tiny_network, worst_difference

import backbones
from backbones.sfusion import sinusoids, tokens_per_axis
from bench_errors import InputError


def test_parity_with_the_released_network_in_both_modes() -> None:
    worst = worst_difference(tiny_network("sfusion", 32, width=4), "sfusion", tiny_input(32))
    assert set(worst) == {"probabilities", "probabilities in training", "reconstruction", "style_kl"}
    assert max(worst.values()) < 1e-4, worst


def test_its_size_is_that_of_the_table() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in backbones.create("sfusion", 4, 4).parameters()) == 18_649_008


@pytest.mark.parametrize(("crop", "tokens"), [(128, 8), (64, 8), (112, 7), (80, 5), (32, 4)])
def test_an_axis_has_as_many_tokens_as_divide_it_up_to_8(crop: int, tokens: int) -> None:
    assert tokens_per_axis(crop) == tokens


@pytest.mark.parametrize("crop", [0, 4, 16, 36, 88])
def test_a_crop_that_cannot_be_cut_into_tokens_is_refused(crop: int) -> None:
    with pytest.raises(InputError, match=f"crop {crop} does not fit sfusion: give a multiple of"):
        backbones.create("sfusion", 4, 4, crop, width=2)


def test_positions_by_hand() -> None:
    expected = [[0, 1, 0, 1], [0.841471, 0.540302, 0.0099998, 0.99995]]
    torch.testing.assert_close(sinusoids(2, 4), torch.tensor(expected), atol=1e-6, rtol=0)


def test_the_weights_of_present_modalities_sum_to_one() -> None:
    net = tiny_network("sfusion", 32, width=4).eval()
    level = torch.ones(1, 4, 4, 32, 32, 32)  # of equal maps, any weighted mean is the map
    present = torch.tensor([[True, False, True, True], [False, True, False, False]])
    fused = net.fusions[0](level, present, torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(fused, level[0, :2])
    weights = net.fusions[0]._weights(torch.randn(1, 3, 64, 4))
    assert weights.shape == (1, 3, 4, 32, 32, 32)
    assert weights.std() > 1e-3


def test_volumes_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="this sfusion takes"):
        tiny_network("sfusion", 32, width=2).encode(torch.zeros(1, 4, 64, 64, 64), torch.ones(1, 4).bool())
