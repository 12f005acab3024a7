"""Networks that rebuild images: what of, when, and with draws that belong to a case and its subset."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import backbones
from backbones import noise
from backbones.contract import Backbone

NETWORKS = ["uhved", "robustseg", "sfusion"]


def network(name: str) -> Backbone:
    torch.manual_seed(0)
    dropout = {} if name == "uhved" else {"dropout": 0.3}
    return backbones.create(name, 3, 2, 32, spatial_dims=2, width=2, **dropout).double()


def volumes(batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, 32, 32, 1, generator=generator, dtype=torch.float64)


def losses(net: Backbone, case: Tensor, available: Tensor, present: Tensor) -> dict[str, Tensor]:
    features = net.encode(case, available)
    batch = SimpleNamespace(volumes=case, available=available, present=present)
    terms = net.auxiliary(features, net.fuse(features, present), batch)
    assert {term.weight for term in terms.values()} == {0.1}
    return {name: term.loss for name, term in terms.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_images_are_decoded_for_the_losses_only(name: str) -> None:
    net, everything = network(name), torch.ones(1, 3, dtype=torch.bool)
    calls: list[int] = []
    for m, decoder in enumerate(net.image_decoders):
        decoder.register_forward_hook(lambda *_, m=m: calls.append(m))
    features = net.train().encode(volumes(1), everything)
    net.fuse(features, torch.eye(3).bool(), torch.zeros(3, dtype=torch.int64))
    assert calls == []
    some = torch.tensor([[True, False, True]])
    losses(net, volumes(1), some, some)
    assert calls == [0, 2]


@pytest.mark.parametrize("name", NETWORKS)
def test_images_that_a_case_lacks_have_no_part_in_the_losses(name: str) -> None:
    net, available = network(name).eval(), torch.tensor([[True, True, False]])
    case, other = volumes(1), volumes(1)
    other[:, 2] = torch.nan
    present = torch.tensor([[True, False, False]])
    expected = losses(net, case, available, present)
    for loss, value in losses(net, other, available, present).items():
        assert value.isfinite()
        assert value.equal(expected[loss])
    other[:, 1] += 1  # it is not present, but the case has it: its image is rebuilt where the paper does
    changed = losses(net, other, available, present)["reconstruction"]
    assert changed.equal(expected["reconstruction"]) == (name == "sfusion")


@pytest.mark.parametrize("name", NETWORKS)
def test_losses_are_sums_over_the_cases(name: str) -> None:
    net, available = network(name).eval(), torch.tensor([[True, True, False], [True, True, True]])
    present = torch.tensor([[False, True, False], [True, False, True]])
    together = losses(net, volumes(2), available, present)
    alone = [losses(net, volumes(2)[b : b + 1], available[b : b + 1], present[b : b + 1]) for b in range(2)]
    for loss, value in together.items():
        torch.testing.assert_close(value, alone[0][loss] + alone[1][loss])


@pytest.mark.parametrize("name", NETWORKS)
def test_draws_belong_to_a_case_and_its_subset(name: str) -> None:
    net, everything = network(name).train(), torch.ones(2, 3, dtype=torch.bool)
    present = torch.tensor(
        [[True, True, False], [True, False, True], [True, True, True], [True, True, False]]
    )
    case = torch.tensor([1, 0, 1, 1])
    with noise.step("s", ["a", "b"]):
        together = net.fuse(net.encode(volumes(2), everything), present, case).logits
        torch.testing.assert_close(together[0], together[3])
    with noise.step("s", ["b"]):
        features = net.encode(volumes(2)[1:], everything[1:])
        torch.testing.assert_close(net.fuse(features, present[:1]).logits, together[:1])
    with noise.step("t", ["b"]):
        again = net.fuse(net.encode(volumes(2)[1:], everything[1:]), present[:1]).logits
        assert not torch.allclose(again, together[:1])
