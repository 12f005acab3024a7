"""U-HVED: equal to the released network, in testing and in training, and its Gaussians by hand.

The golden figures are those of ReubenDo/U-HVED at 1d293a8, `u_hved_net.py` at width 4 and the divergences of
its `application.py`, on the layers of NiftyNet 0.5.0 under TensorFlow 2.21; see `golden_networks`.
"""

import pytest
import torch
from golden_networks import tiny_input, tiny_network, worst_difference
from torch.distributions import Normal, kl_divergence

import backbones
from backbones import noise
from backbones.contract import Features
from backbones.uhved import divergence, gaussian_kl, product


def test_parity_with_the_released_network_in_both_modes() -> None:
    worst = worst_difference(tiny_network("uhved", 16, width=4), "uhved", tiny_input(16))
    assert set(worst) == {"probabilities", "probabilities in training", "reconstruction", "latent_kl"}
    assert max(worst.values()) < 1e-4, worst


def test_the_released_size() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in backbones.create("uhved", 4, 4).parameters()) == 1_250_552


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def test_products_and_divergences_by_hand() -> None:
    level = random(1, 2, 2, 1, 1, 1)  # of each modality a mean and the logarithm of a variance
    (m0, v0), (m1, v1) = [(mean.item(), log.exp().item()) for mean, log in level.view(2, 2)]
    rows = torch.tensor([[True, True], [False, True]])
    mean, log_variance = product(level, rows, torch.zeros(2, dtype=torch.int64))
    both = 1 / v0 + 1 / v1 + 1
    expected = [(m0 / v0 + m1 / v1) / both, m1 / v1 / (1 / v1 + 1)]
    assert mean.flatten().tolist() == pytest.approx(expected, rel=1e-5)
    assert log_variance.exp().flatten().tolist() == pytest.approx([1 / both, 1 / (1 / v1 + 1)], rel=1e-5)

    one, other = (Normal(mean[k].flatten(), log_variance[k].flatten().exp().sqrt()) for k in range(2))
    found = gaussian_kl(mean[:1], log_variance[:1], mean[1:], log_variance[1:])
    assert found.item() == pytest.approx(kl_divergence(one, other).item(), rel=1e-4)


def test_a_lone_modality_is_compared_with_the_standard_gaussian_alone() -> None:
    level = random(2, 2, 4, 2, 2, 2)
    available = torch.tensor([[True, False], [False, True]])
    mean, log_variance = product(level, available, torch.arange(2))
    standard = torch.zeros_like(mean)
    expected = gaussian_kl(mean, log_variance, standard, standard).sum()
    found = divergence(Features([level], available), available)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_latents_are_their_means_in_testing_and_drawn_in_training() -> None:
    net, present = tiny_network("uhved", 16, width=2), torch.ones(1, 4, dtype=torch.bool)
    features = net.eval().encode(tiny_input(16), present)
    mean, log_variance = product(features.levels[1], present, torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(net.fuse(features, present).extra["latent 1"], mean)
    with noise.step("s", ["case"]):
        drawn = net.train().fuse(features, present).extra["latent 1"]
        assert not drawn.equal(mean)
    deviations = (drawn - mean) / (0.5 * log_variance).exp()
    assert 0.9 < deviations.std().item() < 1.1


@pytest.mark.parametrize("size", [8, 20])
def test_volumes_that_cannot_be_halved_three_times_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8 from 16"):
        tiny_network("uhved", 16, width=2).encode(random(1, 4, size, 16, 16), torch.ones(1, 4).bool())
