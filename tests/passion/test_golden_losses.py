"""Every loss term equals the released code's, on full-size networks with weights that can be rebuilt."""

from types import SimpleNamespace

import pytest
import torch
from released import GOLDEN, golden_figures, golden_input, released_state

import backbones
import passion
from backbones import BACKBONES
from backbones.weights import from_released

SUBSETS = ("1111", "1010", "0001")
TERMS = {"fuse": "fuse", "prm": "prm", "sep": "sep_m", "kl": "kl_m", "proto": "proto_m", "distance": "dist_m"}


@pytest.mark.parametrize("name", [name for name in BACKBONES if (GOLDEN / f"{name}.npz").exists()])
def test_losses_equal_the_released_code(name: str) -> None:
    figures = {
        k: torch.from_numpy(v).nan_to_num() for k, v in golden_figures(name).items() if k.startswith("loss")
    }
    net = backbones.create(name, modalities=4, classes=4).eval()
    net.load_state_dict(from_released(name, released_state(name)))
    objective = passion.create("passion", modalities=4, classes=4)
    volumes, target = golden_input()
    for subset in SUBSETS:
        present = torch.tensor([[bit == "1" for bit in subset]])
        batch = SimpleNamespace(volumes=volumes, present=present, target=target, cases=["golden"])
        with torch.no_grad():
            losses = objective.loss(net, batch)
        expected = {ours: figures[f"loss{subset}_{theirs}"] for ours, theirs in TERMS.items()}
        expected["preference"] = -figures[f"loss{subset}_rp_iter"]
        expected["total"] = figures[f"loss{subset}_total"]
        found = {**losses.terms, "total": losses.total}
        assert found.keys() == expected.keys()
        for term, value in expected.items():
            torch.testing.assert_close(
                found[term].double(),
                value,
                rtol=1e-4,
                atol=0,
                msg=lambda m, t=term, s=subset: f"{s} {t}: {m}",
            )
