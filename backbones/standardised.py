"""ShaSpec's encoder: a 3-D ResNet-50 of standardised convolutions with a pyramid of dilated ones behind it.

    encoder = ResidualEncoder(width=64, spatial_dims=3)
    stem, first, second, third, deepest, mean = encoder(volume)         # volume [N, 1, *space]

Facts: ResNet-50 (He et al., CVPR 2016), its last stage narrowed to 5/8; weight standardisation (Qiao et al.,
arXiv 1903.10520); atrous spatial pyramid pooling (Chen et al., arXiv 1706.05587).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import cpu
from backbones.blocks import AffineNorm, autocasted, per_axis
from backbones.host import may_look

SLOPE = 0.01  # of the leaky ReLU
STAGES = ((1, 3), (2, 4), (4, 6), (5, 3))
"""Of each stage of the ResNet, the inner channels (times `width`) and the number of blocks."""
EXPANSION = 4
DILATIONS = (2, 4, 8)


class StandardisedConv(nn.Conv3d):
    """A convolution without bias; zeros continue the image. An output's weights have mean 0, deviation 1."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: tuple[int, int, int] = (1, 1, 1),
        dilation: int = 1,
        spatial_dims: int = 3,
    ):
        kernel = per_axis(size, spatial_dims)
        length, height, depth = (n // 2 * dilation for n in kernel)
        super().__init__(inputs, outputs, kernel, stride, (length, height, depth), dilation, bias=False)

    def standardised(self) -> Tensor:
        """Return the weights that the convolution is computed with, of the shape of `weight`."""
        inputs = self.weight.shape[1:]
        unbiased = (inputs.numel() - 1) / inputs.numel()  # a layer norm divides by the number itself
        return F.layer_norm(self.weight, inputs, eps=1e-12 * unbiased) * unbiased**0.5

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        weight = self.standardised()
        if x.device.type != "cpu":
            return F.conv3d(x, weight, None, self.stride, self.padding, self.dilation)
        x, weight = autocasted(x, weight)
        pads = tuple(int(n) for n in self.padding)
        if max(pads) == 0:
            x = x[:, :, :: self.stride[0], :: self.stride[1], :: self.stride[2]]
            return (weight.flatten(1) @ x.flatten(2)).unflatten(2, x.shape[2:])
        if max(pads) == 1:
            no_bias = weight.new_zeros(len(weight))
            return cpu.PaddedConvolution.apply(x, weight, no_bias, self.stride, pads, "constant")
        # Padded in a step of its own for the reason that `blocks.PaddedConv` gives.
        both_ends = [n for n in reversed(pads) for _ in range(2)]
        return F.conv3d(F.pad(x, both_ends), weight, None, self.stride, 0, self.dilation)


class Unit(nn.Module):
    """A standardised convolution, instance norm and, if `activated`, leaky ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: tuple[int, int, int] = (1, 1, 1),
        dilation: int = 1,
        spatial_dims: int = 3,
        activated: bool = True,
    ):
        super().__init__()
        self.conv = StandardisedConv(inputs, outputs, size, stride, dilation, spatial_dims)
        self.norm = AffineNorm(outputs)
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        return self.finish(self.conv(x))

    def finish(self, convolved: Tensor) -> Tensor:
        """Norm and activation of what the convolution made."""
        y = self.norm(convolved)
        return F.leaky_relu_(y, SLOPE) if self.activated else y


class ResidualBlock(nn.Module):
    """The sum of a path of units and a shortcut, then leaky ReLU."""

    def __init__(self, *path: Unit, shortcut: Unit | None = None):
        super().__init__()
        self.path = nn.Sequential(*path)
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *space] -> as the path has it."""
        return F.leaky_relu_(self.path(x) + self.shortcut(x), SLOPE)


def basic_block(channels: int, spatial_dims: int) -> ResidualBlock:
    """Return two 3x3x3 units with a residual sum."""
    return ResidualBlock(
        Unit(channels, channels, 3, spatial_dims=spatial_dims),
        Unit(channels, channels, 3, spatial_dims=spatial_dims, activated=False),
    )


def _bottleneck(inputs: int, inner: int, stride: int, projected: bool, spatial_dims: int) -> ResidualBlock:
    """1x1x1, 3x3x3 and 1x1x1 units; `projected`: with a 1x1x1 unit in the shortcut."""
    outputs, strides = EXPANSION * inner, per_axis(stride, spatial_dims)
    return ResidualBlock(
        Unit(inputs, inner, 1),
        Unit(inner, inner, 3, strides, spatial_dims=spatial_dims),
        Unit(inner, outputs, 1, activated=False),
        shortcut=Unit(inputs, outputs, 1, strides, activated=False) if projected else None,
    )


class DilatedPyramid(nn.Module):
    """Units of several dilations side by side, merged.

    The published branch of the global mean ends in an instance norm of one voxel, of which the shift alone is
    left. So it is a learnt `constant` here.
    """

    def __init__(self, channels: int, spatial_dims: int):
        super().__init__()
        self.branches = nn.ModuleList([Unit(channels, channels, 1)])
        self.branches.extend(
            Unit(channels, channels, 3, dilation=n, spatial_dims=spatial_dims) for n in DILATIONS
        )
        self.constant = nn.Parameter(torch.zeros(channels))
        self.merge = Unit((len(self.branches) + 1) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, *space] -> the same shape."""
        maps = [branch(x) for branch in self.branches]
        constant = F.leaky_relu(self.constant, SLOPE).to(maps[0].dtype).view(1, -1, 1, 1, 1)
        return self.merge(torch.cat((*maps, constant.expand_as(maps[0])), dim=1))


class ResidualEncoder(nn.Module):
    """The encoder of one channel; the first convolution halves two axes, every step behind it all three."""

    def __init__(self, width: int, spatial_dims: int):
        super().__init__()
        kernel = per_axis(3, spatial_dims)
        self.pool = nn.MaxPool3d(kernel, per_axis(2, spatial_dims), tuple(n // 2 for n in kernel))
        self.stem = Unit(1, width, 7, (2, 2, 1), spatial_dims=spatial_dims)
        self.stages = nn.ModuleList()
        channels = width
        for stage, (inner, blocks) in enumerate(STAGES):
            layers = []
            for block in range(blocks):
                first = block == 0
                stride = 2 if first and stage > 0 else 1
                layers.append(_bottleneck(channels, inner * width, stride, first, spatial_dims))
                channels = EXPANSION * inner * width
            self.stages.append(nn.Sequential(*layers))
        self.reduce = Unit(channels, EXPANSION * width, 1)
        self.pyramid = DilatedPyramid(EXPANSION * width, spatial_dims)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode [N, 1, X, Y, Z].

        Returns the stem [N, width, X/2, Y/2, Z]; three stages of 4, 8 and 16 times `width` channels, each
        half the size of the one before; the pyramid [N, 4 width, X/32, Y/32, Z/16], lengths rounded up; and
        the mean over space of what it reads, [N, 4 width, 1, 1, 1]. No gradient passes through the maps of a
        volume of zeros: with fresh weights they are 0 too, of which every norm multiplies a gradient by 316
        (1 / sqrt(1e-5)), so that it overflows.
        """
        empty = ~x.flatten(1).any(dim=1)
        maps = [self.stem(x)]
        x = self.pool(maps[0])
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        x = self.reduce(maps.pop())
        maps += [self.pyramid(x), x.mean(dim=(2, 3, 4), keepdim=True)]
        # Only a CPU is asked: a GPU would have to be waited for.
        if not may_look(x.device) or empty.any():
            maps = [torch.where(empty.view(-1, 1, 1, 1, 1), m.detach(), m) for m in maps]
        return maps
