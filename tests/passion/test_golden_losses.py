"""Every loss term equals the released code's, on full-size networks with weights that can be rebuilt.

In evaluation mode, and in training mode with the same draws of dropout: there a case's lone modality is a
student too, that differs from its teacher.
"""

from types import SimpleNamespace

import pytest
import torch
from released import (
    GOLDEN,
    golden_dropout,
    golden_figures,
    golden_input,
    golden_training,
    released_state,
)
from torch import Tensor

import backbones
import passion
from backbones import BACKBONES
from backbones.contract import Backbone
from backbones.weights import from_released

SUBSETS = ("1111", "1010", "0001")
TERMS = {"fuse": "fuse", "prm": "prm", "sep": "sep_m", "kl": "kl_m", "proto": "proto_m", "distance": "dist_m"}


PUBLISHED = [name for name in BACKBONES if (GOLDEN / f"{name}.npz").exists()]
WITH_DROPOUT = [name for name in BACKBONES if (GOLDEN / f"training_{name}.json").exists()]


def network(name: str) -> Backbone:
    net = backbones.create(name, modalities=4, classes=4)
    net.load_state_dict(from_released(name, released_state(name)))
    return net


def losses_of(net: Backbone, subset: str) -> dict[str, Tensor]:
    volumes, target = golden_input()
    present = torch.tensor([[bit == "1" for bit in subset]])
    batch = SimpleNamespace(volumes=volumes, present=present, target=target, cases=["golden"])
    with torch.no_grad():
        losses = passion.create("passion", modalities=4, classes=4).loss(net, batch)
    return {**losses.terms, "total": losses.total}


def check_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for term, value in expected.items():
        torch.testing.assert_close(
            found[term].double(), value, rtol=1e-4, atol=0, msg=lambda m, t=term: f"{t}: {m}"
        )


@pytest.mark.parametrize(
    "name", [n if n == "rfnet" else pytest.param(n, marks=pytest.mark.long) for n in PUBLISHED]
)
def test_losses_equal_the_released_code(name: str) -> None:
    figures = {
        k: torch.from_numpy(v).nan_to_num() for k, v in golden_figures(name).items() if k.startswith("loss")
    }
    net = network(name).eval()
    for subset in SUBSETS:
        expected = {ours: figures[f"loss{subset}_{theirs}"] for ours, theirs in TERMS.items()}
        expected["preference"] = -figures[f"loss{subset}_rp_iter"]
        expected["total"] = figures[f"loss{subset}_total"]
        check_equal(losses_of(net, subset), expected)


@pytest.mark.parametrize("name", WITH_DROPOUT)
@pytest.mark.parametrize(
    "subset", [s if s == "0001" else pytest.param(s, marks=pytest.mark.long) for s in SUBSETS]
)
def test_losses_of_a_training_step_equal_the_released_code(name: str, subset: str) -> None:
    net = network(name).train()
    with golden_dropout(net, subset):
        found = losses_of(net, subset)
    figures = golden_training(name)[subset]
    expected = {term: torch.tensor(value, dtype=torch.float64) for term, value in figures.items()}
    for term in ("kl", "proto", "distance"):
        assert (expected[term] != 0).tolist() == [bit == "1" for bit in subset]
    check_equal(found, expected)
