"""Whole networks by the kernels, in Triton's interpreter, against the same networks by torch; in float64."""

import pytest
import torch
import triton_interpreter
from torch import Tensor
from triton_interpreter import weighted

import backbones
from backbones import cpu, kernels
from backbones.blocks import ConvBlock, EncoderLevel
from backbones.contract import Backbone
from backbones.kernels.chain import chain
from backbones.rfnet import RFNet
from bench_errors import InputError

NAMES = {"rfnet": (16, 16, 1), "mmformer": (32, 32, 1), "m2ftrans": (32, 32, 1)}


@pytest.fixture(autouse=True)
def _whole_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    triton_interpreter.whole_maps(monkeypatch)


def results(module: torch.nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    """What a network makes of noise, and the gradients of its parameters, by their names."""
    module.zero_grad()
    if isinstance(module, Backbone):
        features = module.encode(*inputs)
        fused = module.fuse(features, inputs[1])
        outputs = [fused.logits, *fused.side_logits, fused.decoder_features]
        outputs += [module.unimodal(features)] if isinstance(module, RFNet) else []  # all networks' alike
    else:
        outputs = [module(*inputs)]
    weighted(outputs).backward()
    gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return {**{str(i): output.detach() for i, output in enumerate(outputs)}, **gradients}


def assert_the_same(monkeypatch: pytest.MonkeyPatch, module: torch.nn.Module, *inputs: Tensor) -> None:
    """Fail where the kernels give anything else than torch."""
    expected = results(module, *inputs)
    chains: list[int] = []
    monkeypatch.setattr("backbones.kernels.chain.chain", lambda *a, **k: chains.append(1) or chain(*a, **k))
    monkeypatch.setenv(kernels.SWITCH, "1")
    found = results(module, *inputs)
    assert chains, "the kernels were not asked"
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        scale = values.abs().max().item()
        torch.testing.assert_close(found[name], values, rtol=1e-8, atol=1e-9 * max(scale, 1), msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    crop = {} if name == "rfnet" else {"crop": NAMES[name][:2]}
    net = backbones.create(name, 2, 3, spatial_dims=2, width=2, **crop).double().eval()
    volumes = torch.randn(1, 2, *NAMES[name], dtype=torch.float64)
    assert_the_same(monkeypatch, net, volumes, torch.tensor([[True, False]]))


def test_a_level_of_volumes_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    level = EncoderLevel(2, 3, 2, "conv-norm-act", 3).double()
    assert_the_same(monkeypatch, level, torch.randn(1, 2, 4, 6, 5, dtype=torch.float64))


def test_operations_are_counted_by_torch_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.SWITCH, "1")
    monkeypatch.setattr("backbones.kernels.chain.chain", None)
    with cpu.plain():
        ConvBlock(2, 2)(torch.ones(1, 2, 4, 4, 4))
    with pytest.raises(TypeError):
        ConvBlock(2, 2)(torch.ones(1, 2, 4, 4, 4))


def test_another_word_than_1_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernels.SWITCH, "yes")
    with pytest.raises(InputError, match="PASSION_BENCH_KERNELS is 'yes': set it to 1"):
        kernels.on()
