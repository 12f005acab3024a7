"""RobustSeg: equal to the authors' network, in testing and in training.

The golden figures are those of cchen-cc/Robust-Mseg at fa35dda, `model.py` and `losses.py` at width 2, under
TensorFlow 2.21, with those layers rebuilt that only its first version had; see `golden_networks`.
"""

import pytest
import torch
from golden_networks import tiny_input, tiny_network, worst_difference

import backbones


def test_parity_with_the_released_network_in_both_modes() -> None:
    net = tiny_network("robustseg", 16, width=2, dropout=0.3)
    for decoder in net.image_decoders[1:]:  # theirs share it
        decoder.last.load_state_dict(net.image_decoders[0].last.state_dict())
    worst = worst_difference(net, "robustseg", tiny_input(16))
    assert set(worst) == {"probabilities", "probabilities in training", "reconstruction", "style_kl"}
    assert max(worst.values()) < 1e-4, worst


def test_its_size_is_that_of_the_table() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in backbones.create("robustseg", 4, 4).parameters()) == 37_472_216


def test_a_style_of_no_deviation_has_a_finite_loss_and_gradient() -> None:
    net = tiny_network("robustseg", 16, width=2)
    present = torch.ones(1, 4, dtype=torch.bool)
    for decoder in net.image_decoders:
        torch.nn.init.zeros_(decoder.deviation.weight)
        torch.nn.init.zeros_(decoder.deviation.bias)
    features = net.encode(tiny_input(16), present)
    batch = type("Batch", (), {"volumes": tiny_input(16), "present": present})
    loss = net.auxiliary(features, net.fuse(features, present), batch)["style_kl"].loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_volumes_that_cannot_be_halved_three_times_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        tiny_network("robustseg", 16, width=2).encode(torch.zeros(1, 4, 16, 16, 20), torch.ones(1, 4).bool())
