"""Plug and play: every objective trains every backbone, whatever its number of modalities and dimensions.

Two training steps each: losses and gradients are finite, and every parameter that the plain task losses move
is moved. The registries say what there is, so a new backbone or objective comes in by itself; the fast tests
take a sample of the pairs, the marked ones all.
"""

from itertools import product
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import backbones
import passion
from backbones import BACKBONES
from backbones.contract import Backbone
from passion.objective import Objective
from tests.tiny_networks import SEGMENTING, tiny

CLASSES, CROP = 4, 32
PAIRS = list(product(SEGMENTING, BACKBONES))
SAMPLE = [
    (objective, backbone)
    for o, objective in enumerate(SEGMENTING)
    for b, backbone in enumerate(BACKBONES)
    if objective in ("baseline", "passion") or (o + b) % 4 == 0
]
"""A fourth of the pairs, each network and each objective in several, and all of the two main objectives."""


def network(name: str, modalities: int, dims: int, seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    options = {"crop": CROP, "spatial_dims": dims, **tiny(name)}
    return backbones.create(name, modalities=modalities, classes=CLASSES, **options)


def objective_for(name: str, backbone: str, modalities: int, dims: int, counts: list[int]) -> Objective:
    teacher = network(backbone, modalities, dims, seed=1)
    return passion.create(name, modalities, CLASSES, counts, cases=4, batch_size=2, teacher=teacher)


def batch_of(present: Tensor, dims: int, seed: int, classes: tuple[int, ...]) -> SimpleNamespace:
    """A batch with a case per row of `present`; the target holds `classes` alone, absent channels NaN."""
    generator = torch.Generator().manual_seed(seed)
    space = (CROP, CROP, CROP if dims == 3 else 1)
    volumes = torch.randn(*present.shape, *space, generator=generator)
    volumes[~present] = torch.nan
    chosen = torch.randint(0, len(classes), (len(present), *space), generator=generator)
    target = torch.tensor(classes)[chosen]
    return SimpleNamespace(
        volumes=volumes, present=present, available=present, target=target, cases=["a", "b"][: len(present)]
    )


def ordinary(modalities: int, dims: int, seed: int) -> SimpleNamespace:
    """One case with all modalities, and one with half of them."""
    present = torch.ones(2, modalities, dtype=torch.bool)
    present[1, (modalities + 1) // 2 :] = False
    return batch_of(present, dims, seed, tuple(range(CLASSES)))


def lone(modalities: int, dims: int, seed: int) -> SimpleNamespace:
    """One case with one modality."""
    return batch_of(torch.eye(modalities).bool()[-1:], dims, seed, tuple(range(CLASSES)))


def without_class(modalities: int, dims: int, seed: int) -> SimpleNamespace:
    """Two of the four classes are absent, in the second step all but the background."""
    present = torch.ones(2, modalities, dtype=torch.bool)
    return batch_of(present, dims, seed, (0, 2) if seed == 0 else (0,))


def one_modality(modalities: int, dims: int, seed: int) -> SimpleNamespace:
    """Every case of the batch has the same lone modality, another one in the second step."""
    row = torch.eye(modalities).bool()[seed % modalities]
    return batch_of(row.expand(2, -1).clone(), dims, seed, tuple(range(CLASSES)))


def never(modalities: int, dims: int, seed: int) -> SimpleNamespace:
    """No case of the study has the last modality."""
    present = torch.ones(2, modalities, dtype=torch.bool)
    present[:, -1] = False
    return batch_of(present, dims, seed, tuple(range(CLASSES)))


EDGE_CASES = [lone, without_class, one_modality, never]


def moved_by_task_losses(net: Backbone, batch: SimpleNamespace, shared_only: bool) -> set[str]:
    """The parameters with a gradient that is not noise, under the baseline's losses."""
    losses = passion.create("baseline", modalities=net.modalities, classes=CLASSES).loss(net, batch)
    assert losses.tasks is not None
    loss = losses.tasks.shared if shared_only else losses.total
    named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    names, parameters = zip(*named, strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    sizes = {n: g.abs().max().item() for n, g in zip(names, gradients, strict=True) if g is not None}
    return {name for name, size in sizes.items() if size > 1e-5 * max(sizes.values())}


def train_two_steps(name: str, backbone: str, modalities: int, dims: int, makes=(ordinary, ordinary)) -> None:
    net = network(backbone, modalities, dims)
    counts = [0 if makes[0] is never and m == modalities - 1 else 3 for m in range(modalities)]
    objective = objective_for(name, backbone, modalities, dims, counts)
    parameters = [*net.parameters(), *objective.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3)
    for step, make in enumerate(makes):
        batch = make(modalities, dims, step)
        # A lone modality is its own teacher, and PASSION as released then leaves out its own loss.
        alone = name == "passion" and bool((batch.present.sum(dim=1) == 1).all())
        expected = moved_by_task_losses(net, batch, shared_only=alone)
        optimiser.zero_grad()
        losses = objective.loss(net, batch)
        objective.backward(losses, [p for p in net.parameters() if p.requires_grad])
        assert losses.total.isfinite()
        assert all(value.isfinite().all() for value in losses.terms.values())
        assert all(p.grad is None or p.grad.isfinite().all() for p in parameters)
        assert all(p.grad is not None for p in objective.parameters())
        moved = {n for n, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        # PASSION leaves out a modality's own loss where it does not lag, and with it a head of its own.
        resting = {n for n in expected if name == "passion" and n.startswith("unimodal_heads.")}
        assert expected - moved - resting == set()
        optimiser.step()
    assert all(p.isfinite().all() for p in parameters)
    for values in (objective.end_epoch() or {}).values():
        assert torch.tensor(values).isfinite().all()


@pytest.mark.parametrize(("name", "backbone"), SAMPLE)
def test_objectives_train_backbones(name: str, backbone: str) -> None:
    train_two_steps(name, backbone, modalities=2 + PAIRS.index((name, backbone)) % 3, dims=2)


@pytest.mark.parametrize("name", SEGMENTING)
@pytest.mark.parametrize("make", EDGE_CASES)
def test_edge_cases_stay_finite(name: str, make) -> None:
    train_two_steps(name, "rfnet", modalities=3, dims=2, makes=(make, make))


@pytest.mark.long
@pytest.mark.parametrize(("name", "backbone"), PAIRS)
def test_every_objective_trains_every_backbone(name: str, backbone: str) -> None:
    place = PAIRS.index((name, backbone))
    make = EDGE_CASES[place % len(EDGE_CASES)]
    makes = (make, make if make is never else ordinary)
    train_two_steps(name, backbone, modalities=2 + place % 3, dims=2 + place % 3 % 2, makes=makes)
