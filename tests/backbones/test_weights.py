"""Released checkpoints: what is accepted, and how the rest is refused."""

import json

import pytest
import torch
from released import GOLDEN, released_state
from torch import Tensor

import backbones
from backbones import BACKBONES
from backbones.weights import from_released
from bench_errors import InputError

PUBLISHED = [name for name in BACKBONES if (GOLDEN / f"shapes_{name}.json").exists()]


def empty_state(name: str) -> dict[str, Tensor]:
    """Return the released state of `name` without storage."""
    shapes = json.loads((GOLDEN / f"shapes_{name}.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_parameter_has_its_released_one(name: str) -> None:
    ours = from_released(name, empty_state(name))
    with torch.device("meta"):
        expected = backbones.create(name, modalities=4, classes=4).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in expected.items()}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return released_state("rfnet")


def test_checkpoint_and_prefix_make_no_difference(state: dict[str, Tensor]) -> None:
    plain = from_released("rfnet", state)
    prefixed = {f"module.{key}": value for key, value in state.items()}
    wrapped = from_released("rfnet", {"epoch": 299, "state_dict": prefixed})
    assert plain.keys() == wrapped.keys()
    assert all(torch.equal(plain[key], wrapped[key]) for key in plain)


def test_the_classes_weight_layers_are_stacked(state: dict[str, Tensor]) -> None:
    stacked = from_released("rfnet", state)["fused_decoder.levels.0.fusion.hidden.weight"]
    single = state["decoder_fuse.RFM1.modal_fusion.2.weight_layer.0.weight"]
    assert torch.equal(stacked[256:384], single)


def test_what_does_not_fit_is_listed(state: dict[str, Tensor]) -> None:
    wrong = dict(state)
    del wrong["decoder_sep.seg_layer.bias"]
    wrong["decoder_sep.seg_layer.weight"] = torch.zeros(3, 8, 1, 1, 1)
    wrong["extra.weight"] = torch.zeros(2)
    with pytest.raises(InputError) as error:
        from_released("rfnet", wrong)
    message = str(error.value)
    assert "1 missing (decoder_sep.seg_layer.bias)" in message
    assert "1 left over (extra.weight)" in message
    assert "decoder_sep.seg_layer.weight [3, 8, 1, 1, 1] instead of [4, 8, 1, 1, 1]" in message
    assert "\n" not in message


def test_another_networks_weights_are_refused_in_few_words(state: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match=r"287 missing \(.*, \.\.\.\)") as error:
        from_released("rfnet", dict(list(state.items())[:1]))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("checkpoint", [{"epoch": 3}, {"state_dict": [1, 2]}, {"state_dict": {"a": 1}}])
def test_a_checkpoint_without_weights_is_refused(checkpoint: dict[str, object]) -> None:
    with pytest.raises(InputError, match="without weights"):
        from_released("rfnet", checkpoint)


def test_an_unknown_backbone_is_named() -> None:
    with pytest.raises(InputError, match="did you mean rfnet"):
        from_released("rfnett", {})
