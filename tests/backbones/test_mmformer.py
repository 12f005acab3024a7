"""mmFormer equals the released network, subsets are independent rows, and absent channels have no say.

All but parity is in float64, where the rounding of a batched sum cannot be taken for a fault.
"""

import pytest
import torch
from released import golden_figures, golden_input, released_state
from torch import Tensor

import backbones
from backbones.mmformer import MMFormer
from backbones.weights import from_released
from bench_errors import InputError

SUBSETS = torch.tensor([[bool(code >> m & 1) for m in range(4)] for code in range(1, 16)])


def network(**options: float) -> MMFormer:
    torch.manual_seed(0)
    defaults = {"modalities": 4, "classes": 4, "width": 1, "crop": 32}
    return backbones.create("mmformer", **{**defaults, **options}).double().eval()


def volumes(batch: int = 1, modalities: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, modalities, 32, 32, 32, generator=generator, dtype=torch.float64)


def test_parity_with_the_released_network_for_all_subsets() -> None:
    figures = golden_figures("mmformer")
    net = backbones.create("mmformer", modalities=4, classes=4).eval()
    net.load_state_dict(from_released("mmformer", released_state("mmformer")))
    masks = torch.from_numpy(figures["masks"])
    worst = 0.0
    with torch.no_grad():
        features = net.encode(golden_input()[0], torch.ones(1, 4, dtype=torch.bool))
        for start in range(0, 15, 3):
            fused = net.fuse(features, masks[start : start + 3], torch.zeros(3, dtype=torch.long))
            found = fused.logits.softmax(1)[..., 4::8, 4::8, 4::8]
            expected = torch.from_numpy(figures["probabilities"][start : start + 3])
            worst = max(worst, float((found - expected).abs().max()))
    assert worst < 1e-4


def test_the_released_size() -> None:
    with torch.device("meta"):
        found = sum(p.numel() for p in backbones.create("mmformer", 4, 4).parameters())
    assert found == sum(p.numel() for p in released_state("mmformer").values())


def test_all_subsets_at_once_equal_one_at_a_time() -> None:
    net, x = network(), volumes(2)
    case = torch.arange(15) % 2
    with torch.no_grad():
        features = net.encode(x, torch.ones(2, 4, dtype=torch.bool))
        batched = net.fuse(features, SUBSETS, case)
        for row in range(0, 15, 2):
            one = net.fuse(features, SUBSETS[row : row + 1], case[row : row + 1])
            alone = net(x[case[row : row + 1]], SUBSETS[row : row + 1])
            torch.testing.assert_close(batched.logits[row : row + 1], one.logits)
            torch.testing.assert_close(one.logits, alone)
            torch.testing.assert_close(batched.decoder_features[row : row + 1], one.decoder_features)
            for together, single in zip(batched.side_logits, one.side_logits, strict=True):
                torch.testing.assert_close(together[row : row + 1], single)


def test_shapes_of_what_it_gives() -> None:
    net = network(classes=3, width=2)
    available = torch.tensor([[True, False, True, True], [False, True, False, False]])
    with torch.no_grad():
        features = net.encode(volumes(2), available)
        fused = net.fuse(features, available)
        logits = net.unimodal(features)
    assert [tuple(level.shape[2:]) for level in features.levels] == [
        (2 * 2**level, *[32 // 2**level] * 3) for level in range(5)
    ]
    assert features.extra["tokens"].shape == (2, 4, 8, 128)
    assert fused.logits.shape == (2, 3, 32, 32, 32)
    assert [s.shape for s in fused.side_logits] == [(2, 3, *[32 // scale] * 3) for scale in (2, 4, 8, 16)]
    assert fused.decoder_features.shape == (2, 2, 32, 32, 32)
    assert logits.shape == (2, 4, 3, 32, 32, 32)
    assert bool((logits.flatten(2).abs().sum(2) > 0).eq(available).all())


def test_absent_channels_are_ignored_whatever_they_hold() -> None:
    net, x = network(), volumes(2)
    present = torch.tensor([[True, False, False, True], [False, True, False, False]])
    spoilt = x.masked_fill(~present[:, :, None, None, None], float("nan"))
    with torch.no_grad():
        expected, found = net.encode(x, present), net.encode(spoilt, present)
        assert torch.equal(net.fuse(found, present).logits, net.fuse(expected, present).logits)
        assert torch.equal(net.unimodal(found), net.unimodal(expected))
    assert bool(net.unimodal(found).isfinite().all())


def test_the_unimodal_output_is_of_that_modality_alone() -> None:
    net, x = network(), volumes()
    with torch.no_grad():
        logits = net.unimodal(net.encode(x, torch.ones(1, 4, dtype=torch.bool)))
        only = torch.tensor([[False, False, False, True]])
        torch.testing.assert_close(net.unimodal(net.encode(x, only))[:, 3], logits[:, 3])


def test_every_present_modality_reaches_the_bottleneck_and_the_output() -> None:
    # The last modality's student got no tokens of its own in the released code.
    net, x = network(), volumes()
    with torch.no_grad():
        for m in range(4):
            alone = torch.zeros(1, 4, dtype=torch.bool)
            alone[0, m] = True
            features = net.encode(x, alone)
            assert bool(features.extra["tokens"][0, m].any())
            deepest = net.fuse(features, alone).side_logits[-1]
            features.extra["tokens"] = torch.zeros_like(features.extra["tokens"])
            assert not torch.allclose(net.fuse(features, alone).side_logits[-1], deepest)


def test_slices_have_kernels_of_one_on_the_third_axis() -> None:
    net = network(modalities=3, classes=6, spatial_dims=2)
    x = volumes(2, 3)[..., :1]
    present = torch.tensor([[True, True, False], [False, False, True]])
    with torch.no_grad():
        features = net.encode(x, present)
        fused = net.fuse(features, present)
        assert fused.logits.shape == net.unimodal(features)[:, 0].shape == (2, 6, 32, 32, 1)
        torch.testing.assert_close(net(x[1:], present[1:]), fused.logits[1:])
    assert [s.shape[2:] for s in fused.side_logits] == [
        (32 // scale, 32 // scale, 1) for scale in (2, 4, 8, 16)
    ]
    assert all(
        module.kernel_size[2] == module.stride[2] == 1
        for module in net.modules()
        if isinstance(module, torch.nn.Conv3d)
    )


def test_gradients_are_finite_and_reach_what_took_part() -> None:
    net, x = network().train(), volumes()
    features = net.encode(x, torch.tensor([[True, False, True, False]]))
    rows = SUBSETS[[4, 0, 3]]  # the pair, and each of its modalities alone
    fused = net.fuse(features, rows, torch.zeros(3, dtype=torch.long))
    outputs = [fused.logits, net.unimodal(features), *fused.side_logits]
    torch.stack([o.square().mean() for o in outputs]).sum().backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert all(bool(g.isfinite().all()) for g in gradients.values())
    missed = {name for name, _ in net.named_parameters() if name.endswith("weight")} - gradients.keys()
    assert missed
    assert all(name.startswith(("encoders.1.", "encoders.3.")) for name in missed)
    assert all(bool(gradients[f"encoders.{m}.position"].any()) for m in (0, 2))


def test_dropout_acts_in_training_only() -> None:
    net, x = network(), volumes()
    present = torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(net(x, present), net(x, present))
        net.train()
        assert not torch.equal(net(x, present), net(x, present))
        quiet = network(dropout=0).train()
        assert torch.equal(quiet(x, present), quiet(x, present))


def test_initialisation() -> None:
    state = network(width=2, crop=48).state_dict()
    assert state["encoders.0.position"].shape == (1, 27, 128)
    assert not state["encoders.0.position"].any()
    deepest = state["bottom.1.conv.weight"]
    assert deepest.std() == pytest.approx((2 / (32 * 27)) ** 0.5, rel=0.05)


@pytest.mark.parametrize("crop", [16, 40, 0])
def test_a_crop_without_a_whole_token_grid_is_refused(crop: int) -> None:
    with pytest.raises(InputError, match="multiple of 16 from 32"):
        network(crop=crop)


def test_volumes_of_another_size_than_crop_are_refused() -> None:
    with pytest.raises(ValueError, match="48"):
        network(crop=48).encode(volumes(), torch.ones(1, 4, dtype=torch.bool))


def test_subsets_without_cases_are_an_error() -> None:
    net = network()
    features = net.encode(volumes(), torch.ones(1, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="3 subsets for 1 cases"):
        net.fuse(features, SUBSETS[:3])
