"""ShaSpec: equal to the published network in both modes, and what is its own."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from released import drawn_state, golden_figures, golden_input

import backbones
from backbones import noise
from backbones.shaspec import ShaSpec

REGIONS = ((1, 2, 3), (1, 3), (3,))


def tiny(width: int = 2, spatial_dims: int = 3) -> ShaSpec:
    torch.manual_seed(0)
    options = {"width": width, "spatial_dims": spatial_dims, "regions": REGIONS}
    return backbones.create("shaspec", modalities=4, classes=4, **options).double()


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def batch_of(present: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(present=present)


def test_parity_with_the_published_network_of_width_4_on_all_15_subsets(monkeypatch) -> None:
    """Its figures are in float64, of a crop of 64 x 64 x 32; in training, the last modality is the donor.

    The input is interpolated in float32, and its norms make 2e-5 of how processors round that.
    """
    monkeypatch.setattr(noise, "normal", lambda like, _: torch.arange(4.0).expand_as(like))
    net, golden = tiny(width=4), golden_figures("small/shaspec")
    net.load_state_dict(drawn_state(net))
    volumes = golden_input()[0][..., 8:72, 8:72, :32].double()
    masks = torch.from_numpy(golden["masks"])
    with torch.no_grad():
        features = net.encode(volumes, torch.ones(1, 4, dtype=torch.bool))
        for mode in ("evaluation", "training"):
            net.train(mode == "training")
            fused = net.fuse(features, masks, torch.zeros(len(masks), dtype=torch.int64))
            found = fused.logits.sigmoid()[..., 8::16, 8::16, 8::16]
            np.testing.assert_allclose(found, golden[f"{mode}_probabilities"], atol=1e-4)
        rows = {name: tensor.expand(len(masks), *tensor.shape[1:]) for name, tensor in features.extra.items()}
        terms = net.auxiliary(replace(features, extra=rows), fused, batch_of(masks))
    for name, term in terms.items():
        for mode in ("evaluation", "training"):
            assert term.loss.item() == pytest.approx(golden[f"{mode}_{name}"].sum(), rel=1e-4)


def test_its_size_is_the_published_one_but_for_what_has_no_effect() -> None:
    with torch.device("meta"):
        net = backbones.create("shaspec", 4, 4, regions=REGIONS)
    without_effect = 5 * (256 * 256 + 256)  # in each encoder, a convolution and the scale of its norm
    assert sum(p.numel() for p in net.parameters()) == 187_708_132 - without_effect


def test_an_absent_modality_takes_the_shared_features_of_a_present_one() -> None:
    net, volumes = tiny(spatial_dims=2), random(1, 4, 32, 32, 1)
    present = torch.tensor([[False, True, False, True]])
    seen: list[torch.Tensor] = []
    net.steps[0].rise.register_forward_pre_hook(lambda _, args: seen.append(args[0].unflatten(1, (4, 8))[0]))
    features = net.encode(volumes, present)
    shared, composed = features.extra["shared"][0], features.levels[-1][0]
    net.eval().fuse(features, present)
    torch.testing.assert_close(seen[0], torch.stack([shared[1], composed[1], shared[1], composed[3]]))
    net.train()
    donors = set()
    for step in range(8):
        for _ in range(2):  # a step computed again draws the same
            with noise.step(str(step), ["case"]):
                net.fuse(features, present)
        torch.testing.assert_close(seen[-1], seen[-2])
        donors |= {m for m in (1, 3) if torch.equal(seen[-1][0], shared[m])}
    assert donors == {1, 3}


def test_its_losses_are_the_ring_of_differences_and_the_classifier_s_cross_entropy() -> None:
    net, volumes = tiny(spatial_dims=2), random(2, 4, 64, 64, 1)
    present = torch.ones(2, 4, dtype=torch.bool)
    features = net.encode(volumes, present)
    terms = net.auxiliary(features, net.fuse(features, present), batch_of(present))
    shared = features.extra["shared"]
    pairs = [(shared[:, m] - shared[:, (m + 1) % 4]).abs().flatten(1).mean(1).sum() for m in range(4)]
    torch.testing.assert_close(terms["shared"].loss, torch.stack(pairs).sum())
    logits = net.domain(features.extra["specific"].flatten(2)).log_softmax(2)
    torch.testing.assert_close(terms["domain"].loss, -logits.diagonal(dim1=1, dim2=2).mean(1).sum())
    assert [term.weight for term in terms.values()] == [0.1, 0.02]


def test_fresh_weights_have_finite_gradients_with_modalities_absent_or_empty() -> None:
    """Through the encodings of zeros they would overflow."""
    net, present = tiny().float(), torch.tensor([[True, False, True, True]])
    volumes = random(1, 4, 32, 32, 32).float()
    volumes[:, 3] = 0
    features = net.encode(volumes, present)
    fused = net.fuse(features, present)
    terms = net.auxiliary(features, fused, batch_of(present))
    (fused.logits.square().mean() + sum(t.weight * t.loss for t in terms.values())).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    assert all(p.grad is not None for p in net.specific[2].parameters())


@pytest.mark.parametrize("space", [(40, 48, 20), (34, 32, 17)])
def test_edges_that_do_not_halve_often_enough(space: tuple[int, int, int]) -> None:
    net, present = tiny(), torch.tensor([[True, False, False, True]])
    logits = net(random(1, 4, *space), present)
    assert logits.shape == (1, 3, *space)


def test_odd_numbers_of_voxels_are_refused() -> None:
    with pytest.raises(ValueError, match="even numbers"):
        tiny().encode(random(1, 4, 32, 33, 32), torch.ones(1, 4, dtype=torch.bool))


def test_slices_have_kernels_and_strides_of_one_on_the_third_axis() -> None:
    convolutions = [m for m in tiny(spatial_dims=2).modules() if isinstance(m, torch.nn.modules.conv._ConvNd)]
    assert all(m.kernel_size[2] == m.stride[2] == 1 for m in convolutions)
