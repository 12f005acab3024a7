"""HGA and GSS equal the code of their comparison (Jun-Jie-Shi/HGA, f20ef65), term by term.

`tests/golden/hga.json` was made by running that code's loss functions, its training loop's lines from losses
to total, its update of beta and its Reptile step on the outputs of the network below; of GSS with the minimum
taken over modalities (see docs/differences.md).
"""

import json
import zlib

import numpy as np
import pytest
import torch
from released import GOLDEN
from tiny_backbone import TinyBackbone, TinyBatch, create
from torch import Tensor

FIGURES = json.loads((GOLDEN / "hga.json").read_text())
SUBSETS = ("1111", "1010", "0111", "0001")
SIZE = 6
SCORES = [[0.5, 0.6, 0.4, 0.55], [0.3, 0.8, 0.4, 0.5], [0.9, 0.2, 0.4, 0.6]]
"""Mean scores of the epochs, the first of which are 0, 100 and 200."""


def draw(key: str, shape: tuple[int, ...]) -> Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    return torch.from_numpy(generator.standard_normal(shape))


def golden_network() -> TinyBackbone:
    """A network in float64 whose outputs for one modality are sure of themselves at many voxels."""
    net = TinyBackbone().double()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.copy_(draw(name, tuple(weight.shape)) * (4 if name.startswith("unimodal") else 0.7))
    return net


def golden_batch(subset: str) -> TinyBatch:
    present = torch.tensor([[bit == "1" for bit in subset]])
    target = draw("target", (1, SIZE, SIZE, SIZE)).mul(1.3).add(1.5).floor().clamp(0, 3).long()
    return TinyBatch(draw("volumes", (1, 4, SIZE, SIZE, SIZE)), present, target, ["golden"])


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("name", ["hga", "gss"])
def test_losses_equal_the_comparison_s_code(name: str, subset: str) -> None:
    net, batch, objective = golden_network(), golden_batch(subset), create(name)
    if name == "hga":
        objective.balance.beta = torch.tensor([1.2, 0.7, 0.9, 1.1]).double()
    losses = objective.loss(net, batch)
    found = {**losses.terms, "total": losses.total.detach()}
    losses.total.backward()
    size = sum(p.grad.abs().sum() for p in net.parameters() if p.grad is not None)
    found["gradient"] = size
    for term, value in FIGURES[name][subset].items():
        torch.testing.assert_close(
            found[term].double(),
            torch.tensor(value).double(),
            rtol=1e-5,
            atol=1e-7,
            msg=lambda m, t=term: f"{t}: {m}",
        )


def test_beta_moves_as_in_the_comparison_s_code() -> None:
    objective = create("hga")
    for epoch, scores, expected in zip((0, 100, 200), SCORES, FIGURES["beta"], strict=True):
        objective.epoch = epoch
        objective.balance.add(torch.tensor(scores), torch.ones(4, dtype=torch.bool))
        changed = objective.end_epoch()
        assert changed["beta"] == pytest.approx(expected, rel=1e-5)


def test_the_outer_step_is_the_comparison_s() -> None:
    """Three rounds of two subsets, the third in the second of four epochs, each step adds to the weights."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]).double())
    objective = create("hga", subsets=[(True,) * 4, (False, True, True, True)], epochs=4)
    found = []
    for step in range(7):
        objective.epoch = step // 4
        with torch.no_grad():
            objective.outer_step([weight])
            weight += torch.tensor([0.5, 0.1 * step])
        found.append(weight.tolist())
    assert found == [pytest.approx(row) for row in FIGURES["reptile"]]
