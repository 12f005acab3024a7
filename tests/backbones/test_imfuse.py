"""IM-Fuse equals the public network, in evaluation and in training.

The golden figures are those of AImageLab-zip/IM-Fuse at fbbd48e with interleaved tokens and Mamba in the skip
connections, in float64: width 2 instead of 8, tokens of 128 and perceptrons of 1024 channels, crop 32 instead
of 128 (its constants cut to a quarter); the scan of mamba_ssm by a loop over positions. `IMFuse.py` is what
they are of in evaluation and training, `IMFuse_no1skip.py` without the finest skip. Weights are of
`drawn_state`, the dropout of training is `counted_dropout`; probabilities are those of every eighth voxel.
"""

import pytest
import torch
from released import counted_dropout, drawn_state, golden_figures, golden_input
from torch import Tensor

import backbones
from backbones.imfuse import IMFuse
from passion.losses import CaseLabels, output_loss

CROP = 32


def network(**options: float) -> IMFuse:
    torch.manual_seed(0)
    defaults = {"modalities": 4, "classes": 4, "width": 2, "crop": CROP}
    return backbones.create("imfuse", **{**defaults, **options}).double().eval()


def case() -> tuple[Tensor, Tensor]:
    volumes, target = (t[..., :CROP, :CROP, :CROP] for t in golden_input())
    return volumes.double(), target[0]


def check_equal(net: IMFuse, mode: str, subsets: list[str]) -> None:
    figures = {key: torch.from_numpy(value) for key, value in golden_figures("small/imfuse").items()}
    net.load_state_dict(drawn_state(net))
    volumes, target = case()
    labels = CaseLabels(target, 4, torch.float64)
    present = torch.tensor([[bit == "1" for bit in subset] for subset in subsets])
    with torch.no_grad(), counted_dropout():
        features = net.encode(volumes, torch.ones(1, 4, dtype=torch.bool))
        fused = net.fuse(features, present, torch.zeros(len(present), dtype=torch.long))
        sep = output_loss(net.unimodal(features)[0], labels)
    p = fused.logits.softmax(dim=1)[..., 4::8, 4::8, 4::8]
    fuse = output_loss(fused.logits, labels)
    prm = torch.stack([output_loss(side, labels, target.shape) for side in fused.side_logits], dim=1)
    for row, subset in enumerate(subsets):
        found = {"probabilities": p[row], "fuse": fuse[row], "sep": sep, "prm": prm[row]}
        for term, value in found.items():
            expected = figures[f"{mode}.{subset}.{term}"].double()
            torch.testing.assert_close(value, expected, rtol=1e-4 * (term != "probabilities"), atol=1e-4)


def test_it_equals_the_public_network() -> None:
    check_equal(network(), "evaluation", ["1111"])


@pytest.mark.parametrize("subset", ["1010", "0001"])
def test_a_step_of_training_equals_the_public_network(subset: str) -> None:
    check_equal(network().train(), "training", [subset])


def test_all_subsets_equal_the_public_network_without_the_finest_skip() -> None:
    check_equal(network(finest_skip=False), "plain", [f"{code:04b}" for code in range(1, 16)])


def test_the_published_size() -> None:
    # 64,388,120 numbers, but for those that no output depends on: four convolutions back from the tokens of a
    # modality to its maps, and a sixth fusion of tokens.
    with torch.device("meta"):
        net = backbones.create("imfuse", 4, 4)
    assert sum(p.numel() for p in net.parameters()) == 64_388_120 - 4 * 65_664 - 2_958_848


def test_the_size_without_the_finest_skip() -> None:
    with torch.device("meta"):
        net = backbones.create("imfuse", 4, 4, finest_skip=False)
    assert sum(p.numel() for p in net.parameters()) == 47_343_624 - 2_958_848


def test_without_the_finest_skip_its_maps_reach_the_unimodal_output_alone() -> None:
    net = network(finest_skip=False, modalities=2)
    features = net.encode(case()[0][:, :2], torch.ones(1, 2, dtype=torch.bool))
    present = torch.tensor([[True, False]])
    with torch.no_grad():
        before, alone = net.fuse(features, present).logits, net.unimodal(features)
        features.levels[0] = torch.zeros_like(features.levels[0])
        assert torch.equal(net.fuse(features, present).logits, before)
        assert not torch.allclose(net.unimodal(features), alone)


def test_half_precision_stays_out_of_the_scan() -> None:
    net = network(modalities=2, spatial_dims=2).float()
    x, present = torch.randn(1, 2, CROP, CROP, 1), torch.tensor([[True, False]])
    kinds = set()
    for module in net.modules():
        if type(module).__name__ == "Mamba":
            module.register_forward_hook(lambda _, args, out: kinds.update((args[0].dtype, out.dtype)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net(x, present).isfinite().all()
    assert kinds == {torch.float32}


def test_initialisation() -> None:
    net = network()
    assert not any(m.bias.any() for m in net.modules() if isinstance(m, torch.nn.Conv3d))
    assert not net.position.any()
    assert net.fusions[0].tokens.learnt.std().item() == pytest.approx(1, rel=0.05)
