"""RFNet: equal to the released network, and what the contract promises.

All but parity is in float64, where the rounding of a batched sum cannot be taken for a fault.
"""

import pytest
import torch
from released import golden_figures, golden_input, released_state

import backbones
from backbones.rfnet import RFNet
from backbones.weights import from_released
from bench_errors import InputError


def tiny(modalities: int = 4, classes: int = 4, width: int = 2, spatial_dims: int = 3) -> RFNet:
    torch.manual_seed(3)
    return backbones.create("rfnet", modalities, classes, spatial_dims=spatial_dims, width=width).double()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_parity_with_the_released_network_on_all_15_subsets() -> None:
    net = backbones.create("rfnet", modalities=4, classes=4).eval()
    net.load_state_dict(from_released("rfnet", released_state("rfnet")))
    volumes, _ = golden_input()
    golden = golden_figures("rfnet")
    worst = 0.0
    with torch.no_grad():
        features = net.encode(volumes, torch.ones(1, 4, dtype=torch.bool))
        for mask, expected in zip(golden["masks"], golden["probabilities"], strict=True):
            logits = net.fuse(features, torch.from_numpy(mask)[None]).logits
            found = logits.softmax(dim=1)[0, :, 4::8, 4::8, 4::8]
            worst = max(worst, (found - torch.from_numpy(expected)).abs().max().item())
    assert worst < 1e-4


def test_the_released_size() -> None:
    net = backbones.create("rfnet", 4, 4)
    assert sum(p.numel() for p in net.parameters()) == sum(
        p.numel() for p in released_state("rfnet").values()
    )


def test_subsets_of_several_cases_at_once_are_one_at_a_time() -> None:
    net = tiny()
    volumes = noise(2, 4, 16, 16, 16)
    present = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0]], dtype=torch.bool)
    case = torch.tensor([1, 0, 1])
    features = net.encode(volumes, torch.ones(2, 4, dtype=torch.bool))
    fused = net.fuse(features, present, case)
    for row in range(3):
        item = case[row : row + 1]
        alone = net.fuse(net.encode(volumes[item], present[row : row + 1]), present[row : row + 1])
        torch.testing.assert_close(fused.logits[row : row + 1], alone.logits)
        torch.testing.assert_close(fused.decoder_features[row : row + 1], alone.decoder_features)
        for together, single in zip(fused.side_logits, alone.side_logits, strict=True):
            torch.testing.assert_close(together[row : row + 1], single)


def test_absent_channels_are_ignored_whatever_they_hold() -> None:
    net = tiny()
    present = torch.tensor([[True, False, True, False], [False, True, False, False]])
    volumes = noise(2, 4, 16, 16, 16)
    expected = net(volumes, present)
    volumes[~present] = torch.nan
    assert torch.equal(net(volumes, present), expected)
    assert torch.isfinite(expected).all()


def test_shapes_and_gradients() -> None:
    net = tiny(modalities=3, classes=5, width=4)
    available = torch.tensor([[True, False, True], [True, True, False]])
    features = net.encode(noise(2, 3, 16, 24, 32), available)
    fused, logits = net.fuse(features, available), net.unimodal(features)
    assert fused.logits.shape == (2, 5, 16, 24, 32)
    assert fused.decoder_features.shape == (2, 4, 16, 24, 32)
    assert [s.shape[2:] for s in fused.side_logits] == [(16, 24, 32), (8, 12, 16), (4, 6, 8), (2, 3, 4)]
    assert logits.shape == (2, 3, 5, 16, 24, 32)
    assert not logits[~available].any()
    outputs = [fused.logits, logits, *fused.side_logits]
    torch.stack([output.square().mean() for output in outputs]).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_an_absent_modalitys_encoder_gets_no_gradient() -> None:
    net = tiny()
    present = torch.tensor([[True, False, True, True]])
    net(noise(1, 4, 16, 16, 16), present).square().mean().backward()
    assert all(p.grad is None for p in net.encoders[1].parameters())
    assert all(p.grad is not None for p in net.encoders[0].parameters())


def test_half_precision_holds_the_sums_over_the_voxels_of_a_large_region() -> None:
    net = tiny(modalities=3).float().eval()
    for level in net.fused_decoder.levels:
        level.map.logits[1].bias.data[0] += 5  # nearly all is background: 48^3 voxels, beyond fp16's 65,504
    volumes, present = noise(1, 3, 48, 48, 48).float(), torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        expected = net(volumes, present)
        with torch.autocast("cpu", torch.float16):
            found = net(volumes, present)
    # Rounding makes about 0.01 of the largest logit.
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.03 * expected.abs().max().item())


def test_two_dimensions_keep_the_third_axis() -> None:
    net = tiny(modalities=3, classes=6, spatial_dims=2)
    available = torch.ones(2, 3, dtype=torch.bool)
    features = net.encode(noise(2, 3, 32, 16, 1), available)
    fused = net.fuse(features, available)
    assert fused.logits.shape == (2, 6, 32, 16, 1)
    assert fused.side_logits[-1].shape == (2, 6, 4, 2, 1)
    assert net.unimodal(features).shape == (2, 3, 6, 32, 16, 1)


def test_subsets_without_cases_are_an_error() -> None:
    net = tiny()
    features = net.encode(noise(1, 4, 16, 16, 16), torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="3 subsets for 1 cases"):
        net.fuse(features, torch.ones(3, 4, dtype=torch.bool))


def test_an_odd_width_is_refused() -> None:
    with pytest.raises(InputError, match="width: expected a multiple of 2"):
        backbones.create("rfnet", 4, 4, width=3)
