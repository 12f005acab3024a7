"""Networks of MONAI as backbones: early fusion, deep supervision, and what is refused before any training.

In float64, so that two ways to the same output differ by nothing that shows.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

import backbones
import passion
from backbones import monai_networks
from backbones.blocks import PaddedConv
from backbones.check import CHECKS, check_backbone
from backbones.early_fusion import EarlyFusion
from bench_errors import InputError
from passion.check import RandomBatch

TINY: dict[str, dict[str, Any]] = {
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "DynUNet": {"filters": [4, 4, 4, 8, 8]},
    "UNETR": {"feature_size": 4, "hidden_size": 24, "num_heads": 2, "mlp_dim": 24},
    "SwinUNETR": {
        "feature_size": 12,
        "depths": [1, 1, 1, 1],
        "num_heads": [2, 2, 2, 2],
        "window_size": 4,
        "norm_name": [
            "group",
            {"num_groups": 4},
        ],  # instance norm refuses the single voxel of its deepest map
    },
}
CROPS = {"SegResNet": 16}


def network(name: str, spatial_dims: int = 3, **options: Any) -> EarlyFusion:
    torch.manual_seed(0)
    crop = CROPS.get(name, 32)
    net = backbones.create(f"monai:{name}", 3, 3, crop, spatial_dims, **{**TINY.get(name, {}), **options})
    assert isinstance(net, EarlyFusion)
    return net.double()


def batch(crop: int = 32, third: int | None = None) -> RandomBatch:
    """Three cases with 111, 101 and 010; absent channels hold NaN."""
    generator = torch.Generator().manual_seed(0)
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0]], dtype=torch.bool)
    space = (crop, crop, third or crop)
    volumes = torch.randn(3, 3, *space, generator=generator, dtype=torch.float64)
    volumes[~present] = torch.nan
    target = torch.randint(0, 3, (3, *space), generator=generator)
    return RandomBatch(volumes, present, target, ["a", "b", "c"])


@pytest.mark.parametrize(
    "name",
    ["SegResNet", "DynUNet", *(pytest.param(n, marks=pytest.mark.long) for n in ("UNETR", "SwinUNETR"))],
)
def test_it_keeps_the_contract(name: str) -> None:
    options = {**TINY[name], "presence_code": True}
    lines = list(check_backbone(f"monai:{name}", CROPS.get(name, 32), 3, **options))
    assert sum(line.startswith("slices") for line in lines) == 1 + len(CHECKS)
    assert "no auxiliary decoder" in lines[1]


@pytest.mark.parametrize(
    "name", ["SegResNet", "DynUNet", "UNETR", pytest.param("SwinUNETR", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("objective", ["baseline", "passion"])
def test_two_steps_learn(name: str, objective: str) -> None:
    net, cases = network(name, presence_code=True), batch(CROPS.get(name, 32))
    loss = passion.create(objective, 3, 3)
    assert "sep is left out" in loss.left_out(net)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    totals = []
    for _ in range(2):
        losses = loss.loss(net.train(), cases)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        totals.append(losses.total.item())
    assert totals[1] < totals[0]
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())
    assert net.codes is not None
    assert net.codes.detach().any()


@pytest.mark.parametrize("name", ["SegResNet", "DynUNet"])
def test_its_convolutions_are_those_of_monai(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = network(name)
    monkeypatch.setattr(monai_networks, "pad_convolutions", lambda network: None)
    monais = network(name)
    assert any(isinstance(m, PaddedConv) for m in ours.modules())
    assert not any(isinstance(m, PaddedConv) for m in monais.modules())
    assert ours.state_dict().keys() == monais.state_dict().keys()
    data = batch()
    logits = []
    for net in (ours, monais):
        net.load_state_dict(monais.state_dict())
        logits.append(net(data.volumes, data.present))
        logits[-1].square().mean().backward()
    torch.testing.assert_close(*logits, rtol=1e-12, atol=1e-12)
    for (key, one), (_, other) in zip(ours.named_parameters(), monais.named_parameters(), strict=True):
        if one.requires_grad and one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12, msg=key)


@pytest.mark.parametrize("spatial_dims", [3, 2])
def test_absent_modalities_are_channels_of_zeros(spatial_dims: int) -> None:
    net, cases = network("SegResNet", spatial_dims).eval(), batch(16, None if spatial_dims == 3 else 1)
    zeros = cases.volumes.nan_to_num(0.0)
    with torch.no_grad():
        found = net(cases.volumes, cases.present)
        direct = net.network(zeros) if spatial_dims == 3 else net.network(zeros[..., 0])[..., None]
    torch.testing.assert_close(found, direct)


def test_the_decoder_features_make_the_logits() -> None:
    net, cases = network("SegResNet").eval(), batch()
    with torch.no_grad():
        fused = net.fuse(net.encode(cases.volumes, cases.present), cases.present)
        (head,) = net._head
        torch.testing.assert_close(head(fused.decoder_features), fused.logits)
    assert fused.decoder_features.shape[1] == 8


def test_without_a_last_convolution_the_logits_are_the_features() -> None:
    net, cases = network("UNet", channels=[4, 8], strides=[2]).eval(), batch()
    with torch.no_grad():
        fused = net.fuse(net.encode(cases.volumes, cases.present), cases.present)
    assert torch.equal(fused.decoder_features, fused.logits)


@pytest.mark.parametrize(
    ("name", "options", "sizes"),
    [
        ("DynUNet", {}, [32, 32, 32]),  # brought to full size by MONAI itself
        ("SegResNetDS", {"init_filters": 4, "blocks_down": [1, 1, 1], "dsdepth": 2}, [16]),
        ("MedNeXt", {"init_filters": 4, "kernel_size": 3}, [16, 8, 4, 2]),
        ("BasicUNetPlusPlus", {"features": [4, 4, 4, 4, 4, 4]}, [32, 32, 32]),
    ],
)
def test_deep_supervision_becomes_side_outputs(name: str, options: dict[str, Any], sizes: list[int]) -> None:
    net, cases = network(name, spatial_dims=2, **options), batch(third=1)
    with torch.no_grad():
        for training in (True, False):
            net.train(training)
            fused = net.fuse(net.encode(cases.volumes, cases.present), cases.present)
            assert [side.shape[2] for side in fused.side_logits] == sizes
        plain = net.network.train(False)(cases.volumes.nan_to_num(0.0)[..., 0])
    main = plain[0] if isinstance(plain, list) else plain
    torch.testing.assert_close(fused.logits, main[..., None])


def test_side_outputs_leave_dropout_off_in_evaluation() -> None:
    net, cases = network("DynUNet", dropout=0.5).eval(), batch()
    with torch.no_grad():
        assert torch.equal(net(cases.volumes, cases.present), net(cases.volumes, cases.present))


def test_a_presence_code_starts_without_effect_and_tells_subsets_apart() -> None:
    coded, plain, cases = network("SegResNet", presence_code=True), network("SegResNet"), batch()
    coded.load_state_dict({**plain.state_dict(), "codes": torch.zeros(3, 2, 3)})
    empty = torch.zeros(1, 3, 16, 16, 16, dtype=torch.float64)
    features = coded.encode(empty, torch.ones(1, 3, dtype=torch.bool))
    rows, case = torch.eye(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64)
    assert coded.codes is not None
    with torch.no_grad():
        assert torch.equal(coded(cases.volumes, cases.present), plain(cases.volumes, cases.present))
        alike: Tensor = coded.fuse(features, rows, case).logits
        coded.codes.normal_(generator=torch.Generator().manual_seed(0))
        apart: Tensor = coded.fuse(features, rows, case).logits
    assert torch.equal(alike[0], alike[1])  # of empty volumes nothing else can differ
    assert not torch.allclose(apart[0], apart[1])
    scale, shift = (coded.codes[0] + coded.codes[2]).detach()
    ones = torch.ones(1, 3, 1, 1, 1, dtype=torch.float64)
    channels = coded._channels(ones, torch.tensor([[True, False, True]])).flatten()
    torch.testing.assert_close(channels.detach(), torch.tensor([1.0, 0, 1]).double() * (1 + scale) + shift)


def test_parameters_that_take_no_part_are_frozen() -> None:
    frozen = {name for name, p in network("UNETR").named_parameters() if not p.requires_grad}
    assert frozen
    assert all("cross_attn" in name for name in frozen)


@pytest.mark.parametrize(
    ("name", "crop", "options", "says"),
    [
        ("SwinUNTR", 32, {}, "unknown MONAI network 'SwinUNTR': did you mean SwinUNETR"),
        ("Unet", 32, {}, "did you mean UNet"),
        ("SwinUNETR", 64, {"featuresize": 12}, "unknown argument 'featuresize': did you mean feature_size"),
        ("SwinUNETR", 80, {}, "crop 80 .*must be divisible by 2"),
        ("SegResNet", 32, {"in_channels": 2}, "in_channels follows from the run: leave it out"),
        ("SegResNet", 32, {"norm": "bach"}, "did you mean 'BATCH'"),
        ("DynUNet", 16, {}, "crop 16 .*more than 1 spatial element.*: try another crop"),
        ("UNETR", 40, TINY["UNETR"], "monai:UNETR does not work with crop 40"),
        ("FlexibleUNet", 32, {}, "needs the arguments backbone"),
        ("DenseNet121", 32, {}, "no segmentation network"),
    ],
)
def test_what_cannot_work_is_refused(name: str, crop: int, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        backbones.create(f"monai:{name}", 4, 4, crop, **options)


def test_networks_for_volumes_alone_refuse_slices() -> None:
    with pytest.raises(InputError, match="3-D volumes, the study is 2-D"):
        backbones.create("monai:HyenaNDUNETR", 4, 4, 32, spatial_dims=2)


def test_there_is_no_auxiliary_decoder() -> None:
    net, cases = network("SegResNet"), batch()
    assert not net.has_unimodal
    with pytest.raises(NotImplementedError, match="has_unimodal"):
        net.unimodal(net.encode(cases.volumes, cases.present))


def test_subsets_without_cases_are_an_error() -> None:
    net, cases = network("SegResNet"), batch()
    with pytest.raises(ValueError, match="1 subsets for 3 cases"):
        net.fuse(net.encode(cases.volumes, cases.present), cases.present[:1])
