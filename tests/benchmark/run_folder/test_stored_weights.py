"""Weights in half the bytes: how far they may be from the tested ones, by the arithmetic of each form."""

import pytest
import torch
from safetensors.torch import load, save

from benchmark.run_folder.stored_weights import FORMS, STEP, pack, unpack


@pytest.fixture
def weights():
    random = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(6, 4, 3, 3, 3, generator=random)
        * torch.logspace(-6, 3, 6).view(-1, 1, 1, 1, 1),
        "norm.weight": torch.randn(7, generator=random),
        "zero.weight": torch.zeros(3, 2),
        "one.weight": torch.tensor(0.7),
        "none.weight": torch.zeros(0),
        "norm.num_batches_tracked": torch.tensor(12),
        "positions": torch.arange(5, dtype=torch.float64) / 3,
    }


def through_a_file(weights, form):
    return unpack(
        load(save({name: tensor.contiguous() for name, tensor in pack(weights, form).items()})), form
    )


@pytest.mark.parametrize("form", FORMS)
def test_names_shapes_and_types_stay(weights, form):
    found = through_a_file(weights, form)
    assert {name: (t.shape, t.dtype) for name, t in found.items()} == {
        name: (t.shape, t.dtype) for name, t in weights.items()
    }
    for name in ("norm.num_batches_tracked", "positions", "zero.weight", "none.weight"):
        assert torch.equal(found[name], weights[name])


def test_fp32_changes_nothing(weights):
    found = through_a_file(weights, "fp32")
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_bf16_keeps_eight_bits_of_each(weights):
    found = through_a_file(weights, "bf16")
    for name in ("conv.weight", "norm.weight", "one.weight"):
        assert ((found[name] - weights[name]).abs() <= 2**-8 * weights[name].abs()).all()
    assert not torch.equal(found["conv.weight"], weights["conv.weight"])


def test_int16_keeps_each_within_half_a_step_of_its_slice(weights):
    found = through_a_file(weights, "int16")
    for name in ("conv.weight", "norm.weight", "one.weight"):
        slices = (
            weights[name].reshape(len(weights[name]), -1)
            if weights[name].dim() > 1
            else weights[name].reshape(1, -1)
        )
        largest = slices.abs().amax(dim=1)
        away = (found[name] - weights[name]).abs().reshape(slices.shape).amax(dim=1)
        assert (away <= largest * 2**-16 * 1.01).all()
    # A slice of small weights is not rounded by the steps of one of large ones.
    assert (found["conv.weight"][0] != 0).any()


@pytest.mark.parametrize(("form", "bytes_each"), [("fp32", 4), ("bf16", 2), ("int16", 2)])
def test_the_bytes(form, bytes_each):
    many = {"weight": torch.randn(64, 64, 3, 3, 3)}
    stored = sum(t.numel() * t.element_size() for t in pack(many, form).values())
    assert stored == pytest.approx(bytes_each * many["weight"].numel(), rel=0.01)
    assert (f"weight{STEP}" in pack(many, form)) == (form == "int16")


def test_another_form_is_refused():
    with pytest.raises(ValueError, match="stored as 'int4', expected one of fp32, bf16, int16"):
        unpack({}, "int4")
