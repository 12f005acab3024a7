"""Masked autoencoding: which patches are shown, and what of the volumes counts."""

from types import SimpleNamespace

import pytest
import torch

import backbones
import passion
from backbones import noise
from backbones.recompute import Recomputed
from bench_errors import InputError

AVAILABLE = torch.tensor([[True, True, True, True], [True, False, True, False], [False, False, False, True]])


def masks(
    step: str, available: torch.Tensor, names: list[str], space=(64, 32, 32), **options
) -> torch.Tensor:
    goal = passion.create("mae", available.shape[1], 4, **options)
    with noise.step(step, names), noise.rows(torch.arange(len(names)), ["mask"] * len(names)):
        return goal.visible(available, torch.Size(space))


def test_an_eighth_of_the_patches_is_shown_of_what_is_there() -> None:
    dropped = set()
    for step in range(12):
        visible = masks(f"step {step}", AVAILABLE, ["a", "b", "c"])
        assert visible.shape == (3, 4, 64, 32, 32)
        patches = visible.unfold(2, 16, 16).unfold(3, 16, 16).unfold(4, 16, 16).flatten(5).float().mean(dim=5)
        assert set(patches.unique().tolist()) == {0.0, 1.0}  # each as a whole
        assert patches.flatten(1).sum(dim=1).tolist() == [8, 4, 2]
        assert not visible[~AVAILABLE].any()
        dropped.add(int((patches[0].flatten(1).sum(dim=1) == 0).sum()))
    assert dropped >= {0, 3}


def test_a_mask_is_the_draw_of_the_step_and_the_case() -> None:
    together = masks("step 1", AVAILABLE, ["a", "b", "c"])
    assert torch.equal(masks("step 1", AVAILABLE[1:2], ["b"])[0], together[1])
    assert not torch.equal(masks("step 2", AVAILABLE, ["a", "b", "c"]), together)


def test_slices_and_other_patches() -> None:
    one = AVAILABLE[:1]
    assert masks("s", one, ["a"], (32, 32, 1)).sum() == 2 * 16 * 16
    assert masks("s", one, ["a"], (16, 16, 16)).sum() == 16**3  # one patch at least
    assert masks("s", one, ["a"], (24, 24, 24), patch=8, masked=0.5).sum() == 54 * 8**3


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    net = backbones.create("m3ae", 2, 2, width=2, image=(20, 20, 20), spatial_dims=2).double()
    net.begin("pretraining")
    return net


def batch_of(available: torch.Tensor) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(1)
    volumes = torch.randn(*available.shape, 16, 16, 1, generator=generator, dtype=torch.float64)
    volumes[~available] = torch.nan
    target = torch.zeros(len(available), 16, 16, 1, dtype=torch.int64)
    corners = torch.tensor([[[2, 2, 2], [17, 17, 2]]]).expand(len(available), -1, -1)
    names = [f"case {b}" for b in range(len(available))]
    return SimpleNamespace(volumes=volumes, present=available, target=target, cases=names, corners=corners)


def test_losses_are_sums_over_the_cases_of_what_they_have() -> None:
    net, goal = network(), passion.create("mae", 2, 2)
    available = torch.tensor([[True, True], [False, True]])
    whole = batch_of(available)
    with noise.step("s", whole.cases):
        losses = goal.loss(net, whole)
    losses.total.backward()
    assert losses.total.item() == pytest.approx(
        losses.terms["rebuilt"].item() + 0.005 * losses.terms["image"].item()
    )
    parts = []
    for b in range(2):
        one = {name: value[b : b + 1] for name, value in vars(whole).items()}
        with noise.step("s", one["cases"]):
            parts.append(goal.loss(net, SimpleNamespace(**one)))
    for name, value in losses.terms.items():
        torch.testing.assert_close(value, parts[0].terms[name] + parts[1].terms[name])
    assert net.image.grad is not None
    assert net.image.grad.isfinite().all()
    assert all(p.grad is None for p in (*net.head.parameters(), *net.sides.parameters()))
    assert all(p.grad is not None for p in net.rebuilt.parameters())


def test_recomputation_changes_nothing() -> None:
    found = []
    for wrap in (lambda net: net, Recomputed):
        net, batch = network(), batch_of(torch.ones(2, 2, dtype=torch.bool))
        with noise.step("s", batch.cases):
            losses = passion.create("mae", 2, 2).loss(wrap(net), batch)
            losses.total.backward()
        found.append((losses.total, [p.grad for p in net.parameters() if p.grad is not None]))
    torch.testing.assert_close(*found)


def test_a_network_that_rebuilds_nothing_is_named() -> None:
    with pytest.raises(InputError, match=r"RFNet rebuilds no volumes.* choose backbone m3ae"):
        backbones.create("rfnet", 2, 2, width=2).begin("pretraining")
