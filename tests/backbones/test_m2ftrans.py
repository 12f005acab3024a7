"""M2FTrans equals the released network, subsets are independent rows, and absent channels have no say.

All but parity is in float64, where the rounding of a batched sum cannot be taken for a fault.
"""

from dataclasses import replace

import pytest
import torch
from released import golden_figures, golden_input, released_state
from torch import Tensor

import backbones
from backbones.contract import Backbone
from backbones.weights import from_released
from bench_errors import InputError

SUBSETS = torch.tensor([[bool(code >> m & 1) for m in range(4)] for code in range(1, 16)])


def network(**options: float) -> Backbone:
    torch.manual_seed(0)
    defaults = {"modalities": 4, "classes": 4, "width": 2, "crop": 32}
    return backbones.create("m2ftrans", **{**defaults, **options}).double().eval()


def volumes(batch: int = 1, modalities: int = 4) -> Tensor:
    return torch.randn(
        batch, modalities, 32, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


def test_parity_with_the_released_network_for_all_subsets() -> None:
    figures = golden_figures("m2ftrans")
    net = backbones.create("m2ftrans", modalities=4, classes=4).eval()
    net.load_state_dict(from_released("m2ftrans", released_state("m2ftrans")))
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


def test_all_subsets_at_once_equal_one_at_a_time() -> None:
    net, x = network(), volumes(2)
    case = torch.arange(15) % 2
    with torch.no_grad():
        features = net.encode(x, torch.ones(2, 4, dtype=torch.bool))
        batched = net.fuse(features, SUBSETS, case)
        for row in range(0, 15, 2):
            one = net.fuse(features, SUBSETS[row : row + 1], case[row : row + 1])
            torch.testing.assert_close(batched.logits[row : row + 1], one.logits)
            alone = net(x[case[row : row + 1]], SUBSETS[row : row + 1])
            torch.testing.assert_close(one.logits, alone)
            for level, side in enumerate(batched.side_logits):
                torch.testing.assert_close(side[row : row + 1], one.side_logits[level])


def test_tokens_are_a_rows_own_where_dropout_draws_for_each() -> None:
    net, x = network(), volumes(2)
    case = torch.arange(15) % 2
    with torch.no_grad():
        features = net.encode(x, torch.ones(2, 4, dtype=torch.bool))
        assert net.train().encode(x, features.available).extra == {}
        assert network(dropout=0).train().encode(x, features.available).extra.keys() == features.extra.keys()
        shared = net.eval().fuse(features, SUBSETS, case)
        again = net.fuse(replace(features, extra={}), SUBSETS, case)
    torch.testing.assert_close(again.logits, shared.logits)


def test_shapes_of_what_it_gives() -> None:
    net = network(classes=3, width=1)
    available = torch.tensor([[True, False, True, True], [False, True, False, False]])
    with torch.no_grad():
        features = net.encode(volumes(2), available)
        fused = net.fuse(features, available)
        logits = net.unimodal(features)
    assert [tuple(level.shape[2:]) for level in features.levels] == [
        (2**level, *[32 // 2**level] * 3) for level in range(5)
    ]
    assert fused.logits.shape == (2, 3, 32, 32, 32)
    assert [s.shape for s in fused.side_logits] == [(2, 3, *[32 // 2**level] * 3) for level in range(5)]
    assert fused.decoder_features.shape == (2, 1, 32, 32, 32)
    assert logits.shape == (2, 4, 3, 32, 32, 32)
    assert bool((logits.flatten(2).abs().sum(2) > 0).eq(available).all())


def test_absent_channels_are_ignored_whatever_they_hold() -> None:
    net, x = network(), volumes(2)
    present = torch.tensor([[True, False, False, True], [False, True, False, False]])
    spoilt = x.masked_fill(~present[:, :, None, None, None], float("nan"))
    with torch.no_grad():
        assert torch.equal(net(spoilt, present), net(x, present))
        unimodal = net.unimodal(net.encode(spoilt, present))
    assert bool(unimodal.isfinite().all())


def test_more_encoded_modalities_do_not_change_a_subset() -> None:
    net, x = network(), volumes()
    present = torch.tensor([[True, False, True, False]])
    with torch.no_grad():
        everything = net.encode(x, torch.ones(1, 4, dtype=torch.bool))
        torch.testing.assert_close(net.fuse(everything, present).logits, net(x, present))


def test_a_present_modality_matters() -> None:
    net, x = network(), volumes()
    present = torch.tensor([[True, True, False, False]])
    other = x.clone()
    other[:, 1] = -x[:, 1]
    with torch.no_grad():
        assert float((net(x, present) - net(other, present)).abs().max()) > 1e-3


def test_slices_have_kernels_of_one_on_the_third_axis() -> None:
    net = network(modalities=3, classes=6, spatial_dims=2)
    x = volumes(2, 3)[..., :1]
    present = torch.tensor([[True, True, False], [False, False, True]])
    with torch.no_grad():
        features = net.encode(x, present)
        fused = net.fuse(features, present)
        assert fused.logits.shape == net.unimodal(features)[:, 0].shape == (2, 6, 32, 32, 1)
    assert [s.shape[2:] for s in fused.side_logits] == [
        (32 // 2**level, 32 // 2**level, 1) for level in range(5)
    ]
    assert all(
        module.kernel_size[2] == module.stride[2] == 1
        for module in net.modules()
        if isinstance(module, torch.nn.Conv3d)
    )


def test_gradients_are_finite_and_reach_what_took_part() -> None:
    net, x = network().train(), volumes()
    available = torch.tensor([[True, False, True, False]])
    features = net.encode(x, available)
    rows = torch.tensor(
        [[True, False, True, False], [True, False, False, False], [False, False, True, False]]
    )
    fused = net.fuse(features, rows, torch.zeros(3, dtype=torch.long))
    outputs = [fused.logits, net.unimodal(features), *fused.side_logits]
    sum(o.square().mean() for o in outputs).backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert all(bool(g.isfinite().all()) for g in gradients.values())
    reached = {name for name, g in gradients.items() if bool(g.any())}
    missed = {name for name, _ in net.named_parameters() if name.endswith("weight")} - reached
    absent = ("encoders.1.", "encoders.3.", ".keys.1.", ".keys.3.", ".values.1.", ".values.3.")
    assert missed
    assert all(any(part in name for part in absent) for name in missed)
    assert {"transformer.position", "transformer.fusion"} <= reached


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
    net = network(width=4)
    state = net.state_dict()
    assert state["transformer.position"].shape == (1, 5 * 8, 64)
    assert not state["transformer.position"].any()
    assert state["transformer.fusion"].std() == pytest.approx(1, abs=0.1)
    deepest = state["bottom.0.conv.weight"]
    assert deepest.std() == pytest.approx((2 / (128 * 27)) ** 0.5, rel=0.05)


@pytest.mark.parametrize("crop", [16, 40, 0])
def test_a_crop_without_a_whole_token_grid_is_refused(crop: int) -> None:
    with pytest.raises(InputError, match="multiple of 16 from 32"):
        network(crop=crop)


def test_volumes_of_another_size_than_crop_are_refused() -> None:
    with pytest.raises(ValueError, match="48"):
        network(crop=48).encode(volumes(), torch.ones(1, 4, dtype=torch.bool))
