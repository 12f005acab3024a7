"""The convolutional parts that all networks share: blocks, the modality encoder, the auxiliary decoder.

    encoders = nn.ModuleList([ModalityEncoder(4, width, order, spatial_dims) for _ in range(modalities)])
    decoder = UnimodalDecoder(4, width, classes, order, spatial_dims)
    kaiming_init(self)                                          # last line of a network's __init__
    levels = encode_packed(encoders, volumes, available)        # backbones.contract
    logits = decode_packed(decoder, levels, available)

Networks are 3-D throughout. A study treated slice by slice (`spatial_dims=2`) has volumes [B, M, H, W, 1],
and every kernel, stride and upsampling factor is 1 on the third axis (`per_axis`).
`order` is "conv-norm-act" (RFNet, M2FTrans) or "norm-act-conv" (mmFormer).
Source of the facts: the networks as PASSION (arXiv 2407.14796) uses them.
"""

from collections.abc import Iterable, Sequence
from math import gcd
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from backbones import cpu, kernels
from backbones.contract import packed, unpacked
from backbones.cpu import PaddingMode
from bench_edges import Edges, space_of
from bench_errors import InputError

Order = Literal["conv-norm-act", "norm-act-conv"]
SLOPE = 0.2  # of the leaky ReLU, everywhere
VOXEL_PARTS = 64  # into which a sum over voxels is cut on a GPU


def per_axis(n: int, spatial_dims: int) -> tuple[int, int, int]:
    """Return a kernel, stride or factor for the three axes: (n, n, n), or (n, n, 1) in 2-D."""
    return (n, n, n if spatial_dims == 3 else 1)


def token_grid(
    network: str, crop: Edges, stride: int, spatial_dims: int, least: int = 1
) -> tuple[int, int, int]:
    """Return how many tokens of `stride` voxels a crop has per axis (1 on the third in 2-D).

    Raises `InputError` naming `network` where they are not whole, or fewer than `least` on an axis.
    """
    edges = space_of(crop, spatial_dims)[:spatial_dims]
    if any(edge < least * stride or edge % stride for edge in edges):
        raise InputError(
            f"crop {crop} does not fit {network}: give a multiple of {stride} from {least * stride}"
        )
    x, y, *z = (edge // stride for edge in edges)
    return x, y, z[0] if z else 1


def autocasted(*tensors: Tensor) -> Sequence[Tensor]:
    """Return the tensors as autocast has a convolution take them: fp32 in its dtype where it is on."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    dtype = torch.get_autocast_dtype(kind)
    return [t.to(dtype) if t.is_floating_point() and t.dtype != torch.float64 else t for t in tensors]


class PointConv(nn.Conv3d):
    """A 1x1x1 convolution, computed as the matrix product it is: several times faster on a CPU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space]."""
        assert self.bias is not None
        if x.device.type == "cpu":
            weight = self.weight.flatten(1).expand(len(x), -1, -1)
            flat = torch.baddbmm(self.bias[:, None], weight, x.flatten(2))
        else:
            flat = PointProduct.apply(*autocasted(x.flatten(2), self.weight.flatten(1), self.bias))
        return flat.unflatten(2, x.shape[2:])


class PointProduct(torch.autograd.Function):
    """`bias + weight @ x` of x [N, inputs, V], with a gradient of the weights that a GPU is quick at.

    That is a product of few rows and columns over very many voxels, which cuBLAS gives to a handful of
    processors (an H100 took 3 to 6 ms for one); so it is summed up from parts of the voxels.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return [N, outputs, V]."""
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Return the gradients of x, the weights and the bias."""
        x, weight = ctx.saved_tensors
        own = weight.t().expand(len(x), -1, -1) @ change if ctx.needs_input_grad[0] else None
        parts = gcd(x.shape[2], VOXEL_PARTS)
        left, right = (t.unflatten(2, (parts, -1)).transpose(1, 2).flatten(0, 1) for t in (change, x))
        of_weight = (left @ right.transpose(1, 2)).sum(
            dim=0, dtype=torch.promote_types(weight.dtype, torch.float32)
        )
        return own, of_weight.to(weight.dtype), change.sum(dim=(0, 2))


class PaddedConv(nn.Conv3d):
    """A 3x3x3 (in 2-D 3x3x1) convolution of an image continued by `mode`: `reflect`, or `constant` for zeros.

    On a CPU the padding is a step of its own in both: with its own zeros, torch's convolution in bf16 was
    seen to read unwritten memory for maps of 2 voxels an edge.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        spatial_dims: int,
        mode: PaddingMode = "reflect",
        bias: bool = True,
    ):
        kernel, strides = per_axis(3, spatial_dims), per_axis(stride, spatial_dims)
        super().__init__(inputs, outputs, kernel, stride=strides, bias=bias)
        self.mode = mode
        self.pads = (1, 1, 1 if spatial_dims == 3 else 0)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        if x.device.type == "cpu":
            bias = self.weight.new_zeros(self.out_channels) if self.bias is None else self.bias
            tensors = autocasted(x, self.weight, bias)
            return cpu.PaddedConvolution.apply(*tensors, self.stride, self.pads, self.mode)
        if self.mode == "constant":
            return F.conv3d(x, self.weight, self.bias, self.stride, self.pads)
        both_ends = [pad for pad in reversed(self.pads) for _ in range(2)]
        return super().forward(F.pad(x, both_ends, mode=self.mode))


def pad_convolutions(network: nn.Module) -> None:
    """Give each plain 3x3x3 convolution padded with zeros in `network` as a `PaddedConv` of its parameters.

    On a CPU, torch's own takes up to 10 times as long for a lone small volume.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Conv3d and _is_plain(child):
                with torch.device("meta"):  # draws no random numbers
                    padded = PaddedConv(child.in_channels, child.out_channels, 1, 3, "constant", bias=False)
                padded.stride, padded.weight, padded.bias = child.stride, child.weight, child.bias
                setattr(parent, name, padded)


def _is_plain(conv: nn.Conv3d) -> bool:
    ones = (1, 1, 1)
    shape = conv.kernel_size, conv.padding, conv.dilation, conv.groups, conv.padding_mode
    return shape == ((3, 3, 3), ones, ones, 1, "zeros")


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, spatial_dims: int = 3) -> nn.Conv3d:
    """Return a convolution of `size` 1 or 3 with bias that keeps the size at stride 1; padding reflects."""
    if size == 1:
        return PointConv(inputs, outputs)
    if size != 3:
        raise ValueError(f"convolutions here have kernels of 1 or 3, not {size}")
    return PaddedConv(inputs, outputs, stride, spatial_dims)


def norm_act(x: Tensor) -> Tensor:
    """Instance norm without affine, then leaky ReLU, of [N, C, *space] (more than one voxel)."""
    if x.device.type == "cpu":
        return cpu.NormAct.apply(x, SLOPE)
    # Written as a batch norm, so that the activation can work in place on what is not yet a view.
    flat = x.reshape(1, -1, *x.shape[2:])
    return F.leaky_relu(F.batch_norm(flat, None, None, training=True), SLOPE, inplace=True).view(x.shape)


class AffineNorm(nn.Module):
    """Instance norm with a scale and a shift for each channel; of a map of one voxel, the shift is left."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, channels, *space]; the result may be changed in place."""
        if x.device.type != "cpu":
            with_cudnn = torch.backends.cudnn.enabled
            return torch.instance_norm(
                x, self.weight, self.bias, None, None, True, 0.0, cpu.EPSILON, with_cudnn
            )
        cases, channels = x.shape[:2]
        y, _, _ = torch.native_group_norm(
            x.contiguous(), self.weight, self.bias, cases, channels, x[0, 0].numel(), channels, cpu.EPSILON
        )
        return y


def upsample(x: Tensor, factor: int = 2, spatial_dims: int = 3) -> Tensor:
    """Enlarge [N, C, *space] by `factor` per axis, trilinear with aligned corners."""
    if x.device.type == "cpu":  # six times as fast in this layout, which the next convolution wants as well
        x = x.contiguous(memory_format=torch.channels_last_3d)
    scale = tuple(float(f) for f in per_axis(factor, spatial_dims))
    return F.interpolate(x, scale_factor=scale, mode="trilinear", align_corners=True)


class ConvBlock(nn.Module):
    """A convolution with instance norm and leaky ReLU after or before it."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        order: Order = "conv-norm-act",
        spatial_dims: int = 3,
    ):
        super().__init__()
        self.order = order
        self.conv = conv(inputs, outputs, size, stride, spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        return in_a_row((self,), x)


class Blocks(nn.Sequential):
    """Blocks of one order in a row."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs of the first, *space] -> [N, outputs of the last, *space / strides]."""
        return in_a_row(cast(Iterable[ConvBlock], self), x)


def in_a_row(blocks: Iterable[ConvBlock], x: Tensor) -> Tensor:
    """Run x [N, C, *space] through `blocks` of one order, by `kernels` where these are wanted."""
    if kernels.wanted(x) and not cpu.counted():
        return _by_kernels(list(blocks), x)
    for block in blocks:
        x = norm_act(block.conv(x)) if block.order == "conv-norm-act" else block.conv(norm_act(x))
    return x


def _by_kernels(blocks: list[ConvBlock], x: Tensor) -> Tensor:
    from backbones.kernels.chain import Link, chain  # here, for it needs triton
    from backbones.kernels.convolution import How

    convs = [block.conv for block in blocks]
    x, *parameters = autocasted(x, *(cast(Tensor, p) for c in convs for p in (c.weight, c.bias)))
    links = []
    for conv, weight, bias in zip(convs, parameters[::2], parameters[1::2], strict=True):
        mode = conv.mode if isinstance(conv, PaddedConv) else "constant"
        pads = tuple(edge // 2 for edge in conv.kernel_size)
        links.append(Link(weight, bias, How(conv.stride, pads, mode, SLOPE)))
    return chain(x, links, before=blocks[0].order == "norm-act-conv")


class EncoderLevel(nn.Module):
    """One level: an entry convolution (strided below the first level), then two with a residual sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, order: Order, spatial_dims: int):
        super().__init__()
        self.entry: nn.Module
        if stride == 1 and order == "norm-act-conv":
            self.entry = conv(inputs, outputs, 3, 1, spatial_dims)  # the raw image is not normalised again
        else:
            self.entry = ConvBlock(inputs, outputs, 3, stride, order, spatial_dims)
        self.residual = Blocks(
            ConvBlock(outputs, outputs, 3, 1, order, spatial_dims),
            ConvBlock(outputs, outputs, 3, 1, order, spatial_dims),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        x = self.entry(x)
        return x + self.residual(x)


class ModalityEncoder(nn.Module):
    """One modality's encoder: `depth` levels of width, 2 width, 4 width, ... channels, each half the size."""

    def __init__(self, depth: int, width: int, order: Order = "conv-norm-act", spatial_dims: int = 3):
        super().__init__()
        channels = [1, *(width * 2**level for level in range(depth))]
        self.levels = nn.ModuleList(
            EncoderLevel(channels[i], channels[i + 1], 1 if i == 0 else 2, order, spatial_dims)
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, 1, *space] -> the levels, finest first, each [N, width * 2^l, *space / 2^l]."""
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


class DecoderStage(nn.Module):
    """One step up: `rise` doubles the size and halves the channels, `join` merges two maps there."""

    def __init__(self, channels: int, order: Order = "conv-norm-act", spatial_dims: int = 3):
        super().__init__()
        self.spatial_dims = spatial_dims
        self.rising = ConvBlock(2 * channels, channels, 3, 1, order, spatial_dims)
        self.joining = ConvBlock(2 * channels, channels, 3, 1, order, spatial_dims)
        self.mixing = ConvBlock(channels, channels, 1, 1, order, spatial_dims)

    def rise(self, deeper: Tensor) -> Tensor:
        """[N, 2 channels, *space / 2] -> [N, channels, *space]."""
        return self.rising(upsample(deeper, 2, self.spatial_dims))

    def join(self, first: Tensor, second: Tensor) -> Tensor:
        """Merge two [N, channels, *space]; their order is that of the weights."""
        return in_a_row((self.joining, self.mixing), torch.cat((first, second), dim=1))

    def forward(self, deeper: Tensor, skip: Tensor) -> Tensor:
        """Rise from the deeper level and join with this level's encoder map."""
        return self.join(self.rise(deeper), skip)


class UnimodalDecoder(nn.Module):
    """The auxiliary decoder that all modalities share: the levels of one modality -> logits."""

    def __init__(
        self,
        depth: int,
        width: int,
        classes: int,
        order: Order = "conv-norm-act",
        spatial_dims: int = 3,
    ):
        super().__init__()
        self.stages = nn.ModuleList(
            DecoderStage(width * 2**level, order, spatial_dims) for level in range(depth - 1)
        )
        self.head = PointConv(width, classes)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Levels, finest first, each [N, width * 2^l, *space / 2^l] -> logits [N, classes, *space]."""
        x = levels[-1]
        for stage, skip in zip(reversed(self.stages), reversed(levels[:-1]), strict=True):
            x = stage(x, skip)
        return self.head(x)


def decode_packed(decoder: nn.Module, levels: list[Tensor], available: Tensor) -> Tensor:
    """Decode each available (item, modality) alone, all in one batch, and nothing else.

    Args:
        decoder: maps a list of levels [N, C_l, *space_l] to logits [N, classes, *space].
        levels: finest first, each [B, M, C_l, *space_l].
        available: bool [B, M], at least one True.

    Returns logits [B, M, classes, *space], zeros where absent.
    """
    return unpacked(decoder([packed(level, available) for level in levels]), available)


def kaiming_init(network: nn.Module) -> None:
    """Redraw every 3-D convolution's weight from Kaiming's normal distribution, in place; biases stay."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
