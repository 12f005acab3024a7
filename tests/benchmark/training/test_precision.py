"""Networks in half precision: losses close to those in fp32, and a clear refusal where it cannot be."""

import pytest
import torch

import backbones
import passion
from backbones import BACKBONES
from bench_errors import InputError
from benchmark.training.precision import autocast, check_precision, scaler
from datasets.batches.loader import LoadedBatch
from tests.tiny_networks import tiny

CPU = torch.device("cpu")


def batch():
    torch.manual_seed(1)
    present = torch.tensor([[True, False, True, True]])
    target = torch.randint(0, 4, (1, 2, 2, 2)).repeat_interleave(16, 1)
    target = target.repeat_interleave(16, 2).repeat_interleave(16, 3)
    return LoadedBatch(torch.randn(1, 4, 32, 32, 32), present, present, target, ["case"])


def leave_nan_in_freed_memory():
    """So that a step that reads what it never wrote shows it."""
    for power in range(8, 24):
        torch.full((2**power,), float("nan"))


@pytest.mark.parametrize(
    "name",
    [n if n == "uhemis" else pytest.param(n, marks=pytest.mark.long) for n in BACKBONES if n != "gaussian"],
)
def test_bf16_trains_close_to_fp32(name):
    terms = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        network = backbones.create(name, modalities=4, classes=4, crop=32, **tiny(name, 4)).eval()
        objective = passion.create("passion", modalities=4, classes=4)
        leave_nan_in_freed_memory()
        with autocast(precision, CPU):
            losses = objective.loss(network, batch())
        leave_nan_in_freed_memory()
        losses.total.backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert gradients
        assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients)
        assert losses.total.dtype == torch.float32
        terms[precision] = torch.stack([losses.terms["fuse"], losses.terms["prm"]])
    assert not terms["fp32"].equal(terms["bf16"])
    torch.testing.assert_close(terms["bf16"], terms["fp32"], rtol=0.02, atol=0)


def test_fp16_needs_cuda():
    check_precision("bf16", CPU)
    with pytest.raises(InputError, match="fp16 needs CUDA, found device cpu"):
        check_precision("fp16", CPU)


def test_only_fp16_scales_the_loss():
    assert not scaler("bf16", CPU).is_enabled()
    assert scaler("fp16", CPU).is_enabled()
