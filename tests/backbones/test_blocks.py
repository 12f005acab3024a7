"""The shared parts against torch's own modules, where torch has them.

Sums in float32 are of small whole numbers: these are exact in any order, so on any processor and with any
number of threads. Whatever has norms is compared in float64.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from backbones import cpu
from backbones.blocks import (
    ConvBlock,
    ModalityEncoder,
    PaddedConv,
    PointConv,
    PointProduct,
    UnimodalDecoder,
    decode_packed,
    kaiming_init,
    norm_act,
    per_axis,
)
from backbones.m2ftrans_attention import GroupedConv


def whole(*shape: int) -> torch.Tensor:
    """Whole numbers from -4 to 4, as float32."""
    return torch.randint(-4, 5, shape).float()


def of_whole_numbers(module: nn.Module) -> nn.Module:
    """Give `module` whole numbers for parameters."""
    for parameter in module.parameters():
        parameter.data = whole(*parameter.shape)
    return module


def gradients(output: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """The gradients of a sum of `output` with whole numbers for weights, the same ones for each shape."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.randint(-4, 5, output.shape, generator=generator).to(output.dtype)
    return torch.autograd.grad((output * weights).sum(), inputs)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("space", [(8, 12, 10), (6, 8, 4), (40, 26, 18), (30, 20, 24), (6, 8, 5), (2, 2, 2)])
@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("channels", [(12, 6), (3, 8), (5, 20)])
@pytest.mark.parametrize("pairs", [True, False])
def test_padded_conv_is_torchs(
    monkeypatch: pytest.MonkeyPatch,
    pairs: bool,
    stride: int,
    spatial_dims: int,
    space: tuple[int, int, int],
    items: int,
    mode: str,
    channels: tuple[int, int],
) -> None:
    monkeypatch.setattr(cpu, "_wide", pairs)
    torch.manual_seed(0)
    space = space if spatial_dims == 3 else (*space[:2], 1)
    ours = of_whole_numbers(PaddedConv(*channels, stride, spatial_dims, mode))
    kernel, strides = per_axis(3, spatial_dims), per_axis(stride, spatial_dims)
    padding = (1, 1, spatial_dims - 2)
    padding_mode = "reflect" if mode == "reflect" else "zeros"
    theirs = nn.Conv3d(*channels, kernel, stride=strides, padding=padding, padding_mode=padding_mode)
    theirs.load_state_dict(ours.state_dict())
    x = whole(items, channels[0], *space).requires_grad_()
    expected = theirs(x)
    found = ours(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(
        gradients(found, (x, *ours.parameters())),
        gradients(expected, (x, *theirs.parameters())),
        rtol=0,
        atol=0,
    )


def test_point_conv_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = of_whole_numbers(PointConv(5, 3)), nn.Conv3d(5, 3, 1)
    theirs.load_state_dict(ours.state_dict())
    x = whole(2, 5, 4, 3, 2)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


@pytest.mark.parametrize("space", [(4, 3, 2), (8, 8, 8)])
def test_the_product_of_a_point_conv_on_a_gpu_is_torchs_with_its_gradients(space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    theirs, x = nn.Conv3d(5, 3, 1), whole(2, 5, *space).requires_grad_()
    of_whole_numbers(theirs)
    assert theirs.bias is not None
    expected = theirs(x)
    found = PointProduct.apply(x.flatten(2), theirs.weight.flatten(1), theirs.bias).view_as(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    wanted = x, theirs.weight, theirs.bias
    torch.testing.assert_close(gradients(found, wanted), gradients(expected, wanted), rtol=0, atol=0)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_depthwise_convolutions_add_up_to_a_grouped_one(spatial_dims: int) -> None:
    torch.manual_seed(0)
    grouped = GroupedConv(12, 12, per_axis(3, spatial_dims), padding="same", groups=3)
    of_whole_numbers(grouped)
    x = whole(2, 6, 5, 4, 12).movedim(-1, 1)
    torch.testing.assert_close(grouped.depthwise(x), grouped(x), rtol=0, atol=0)


@pytest.mark.parametrize("space", [(2, 2, 2), (2, 3, 4), (4, 2, 2), (3, 3, 3)])
def test_grouped_convolutions_of_tokens_have_their_gradients_in_bf16(space: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    grouped = GroupedConv(32, 32, 3, padding="same", groups=8)
    x = whole(2, *space, 32).movedim(-1, 1)
    expected = gradients(grouped(x), (grouped.weight,))
    with torch.autocast("cpu", torch.bfloat16):
        made = grouped(x)
    found = gradients(made, (grouped.weight,))
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=0)  # sums are exact, and rounded once


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_norm_act_is_instance_norm_and_leaky_relu(
    layout: torch.memory_format, dtype: torch.dtype, error: float
) -> None:
    torch.manual_seed(0)
    exact = (3 + 5 * torch.randn(2, 3, 4, 5, 6)).double().requires_grad_()
    x = exact.detach().to(dtype).contiguous(memory_format=layout).requires_grad_()
    expected, found = nn.LeakyReLU(0.2)(nn.InstanceNorm3d(3)(exact)), norm_act(x)
    torch.testing.assert_close(found.double(), expected, rtol=error, atol=error)
    ((own,), (change,)) = gradients(found, (x,)), gradients(expected, (exact,))
    torch.testing.assert_close(own.double(), change, rtol=error, atol=error)
    assert own.is_contiguous(memory_format=layout), "so that what made x can go on in its layout"


def test_a_norm_of_one_voxel_is_an_error() -> None:
    with pytest.raises(ValueError, match="one"):
        norm_act(torch.ones(2, 3, 1, 1, 1))


def test_a_map_that_cannot_be_reflected_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        PaddedConv(2, 2, 1, 3)(torch.ones(1, 2, 4, 1, 4))


def test_integers_are_an_error() -> None:
    with pytest.raises(RuntimeError):
        PaddedConv(2, 2, 1, 3)(torch.ones(1, 2, 4, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_takes_single_precision_alone_down(dtype: torch.dtype) -> None:
    conv, x = PaddedConv(2, 2, 1, 3).to(dtype), torch.ones(1, 2, 4, 4, 4, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == (torch.bfloat16 if dtype == torch.float32 else dtype)
        assert cpu.interpolate(x, (8, 8, 8)).dtype == dtype


def test_operations_are_counted_as_they_are_written() -> None:
    with cpu.plain(), FlopCounterMode(display=False) as counter:
        PaddedConv(8, 8, 1, 3)(torch.ones(1, 8, 16, 16, 16))
    assert counter.get_total_flops() == 2 * 27 * 8 * 8 * 16**3


def test_a_block_keeps_its_input_and_its_output_for_the_backward_pass() -> None:
    block, x = ConvBlock(8, 8), torch.randn(2, 8, 10, 10, 10, requires_grad=True)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = block(x)
    assert sum(size for size in kept.values() if size >= x.nbytes) == x.nbytes + y.nbytes


@pytest.mark.parametrize(
    ("space", "size"),
    [((5, 6, 7), (10, 12, 14)), ((5, 6, 1), (80, 12, 1)), ((1, 3, 2), (4, 3, 5)), ((4, 4, 4), (1, 8, 8))],
)
def test_interpolation_is_torchs(space: tuple[int, ...], size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *space, dtype=torch.float64)
    torch.testing.assert_close(
        cpu.interpolate(x, size), F.interpolate(x, size, mode="trilinear", align_corners=True)
    )


def test_order_decides_what_is_normalised() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6, 6, 6, dtype=torch.float64)
    after, before = ConvBlock(2, 3).double(), ConvBlock(2, 3, order="norm-act-conv").double()
    torch.testing.assert_close(after(7 * x + 5), after(x), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(before(7 * x + 5), before(x), atol=1e-3, rtol=1e-3)
    assert after(x).mean() > 0.2  # a leaky ReLU of a standard normal has mean 0.32
    assert before(x).std().item() != pytest.approx(0.6, abs=0.01)


def test_kernels_other_than_1_and_3_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or 3, not 5"):
        ConvBlock(1, 1, size=5)


def test_packed_decoding_is_decoding_one_at_a_time() -> None:
    torch.manual_seed(0)
    encoder, decoder = ModalityEncoder(3, 2).double(), UnimodalDecoder(3, 2, 4).double()
    kaiming_init(decoder)
    volumes = torch.randn(6, 1, 16, 16, 16, dtype=torch.float64)
    levels = [level.unflatten(0, (2, 3)) for level in encoder(volumes)]
    available = torch.tensor([[True, False, True], [False, True, False]])
    logits = decode_packed(decoder, levels, available)
    assert logits.shape == (2, 3, 4, 16, 16, 16)
    assert not logits[~available].any()
    for b, m in available.nonzero().tolist():
        alone = decoder([level[b : b + 1, m] for level in levels])[0]
        torch.testing.assert_close(logits[b, m], alone)
