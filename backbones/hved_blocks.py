"""The convolutional parts of U-HVED and U-HeMIS: one modality's encoder, the decoder, their layers.

    encoders = nn.ModuleList(Encoder(width, halved=True, spatial_dims=3) for _ in range(modalities))
    decoder = Decoder([width, 2 * width, 4 * width, 8 * width], width, outputs=classes, spatial_dims=3)
    x = decoder.features(levels)
    logits = decoder.head(x)

Convolutions have no bias and continue the image by zeros; norms scale and shift each channel. Source: Dorent
et al., "Hetero-Modal Variational Encoder-Decoder for Joint Modality Completion and Segmentation", MICCAI
2019; facts of their code and of NiftyNet 0.5.0, whose layers it is made of.
"""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.blocks import PaddedConv, per_axis

LEVELS = 4
SLOPE = 0.02  # of the leaky ReLU: twice the 0.01 that NiftyNet names half_alpha
EPSILON = 1e-6  # of the norms


class PreNormConv(nn.Module):
    """Instance norm, leaky ReLU and a 3x3x3 convolution."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int):
        super().__init__()
        self.norm = nn.GroupNorm(inputs, inputs, EPSILON)  # a group of one channel: several times as fast
        self.conv = PaddedConv(inputs, outputs, 1, spatial_dims, mode="constant", bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space]."""
        return self.conv(F.leaky_relu(self.norm(x), SLOPE))


class Encoder(nn.Module):
    """One modality's encoder: four levels, each half the size, by max-pooling.

    Args:
        width: channels of the finest level; the others have 2, 4 and 8 times as many.
        halved: let each level end with half its channels.
        spatial_dims: 3, or 2.
    """

    def __init__(self, width: int, halved: bool, spatial_dims: int):
        super().__init__()
        self.pool = per_axis(2, spatial_dims)
        self.entry = nn.Conv3d(1, width, 1, bias=False)
        self.levels = nn.ModuleList()
        inputs = width
        for level in range(LEVELS):
            inner = width * 2**level
            outputs = inner // 2 if halved else inner
            layers = PreNormConv(inputs, inner, spatial_dims), PreNormConv(inner, outputs, spatial_dims)
            self.levels.append(nn.Sequential(*layers))
            inputs = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, 1, *space] -> the levels, finest first, each [N, C_l, *space / 2^l]."""
        x = F.leaky_relu(self.entry(x), SLOPE)
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(F.max_pool3d(x, self.pool) if maps else x)
            maps.append(x)
        return maps


class Decoder(nn.Module):
    """From four levels to an output at full size.

    Args:
        channels: of the levels, finest first.
        width: of the encoders; the finest features here have half as many channels.
        outputs: channels of the output.
        spatial_dims: 3, or 2.
    """

    def __init__(self, channels: list[int], width: int, outputs: int, spatial_dims: int):
        super().__init__()
        self.axes = range(2, 2 + spatial_dims)
        self.stages = nn.ModuleList()  # from the deepest
        inputs = channels[-1]
        for level in reversed(range(LEVELS - 1)):
            inner = width * 2**level
            first = PreNormConv(inputs + channels[level], inner, spatial_dims)
            self.stages.append(nn.Sequential(first, PreNormConv(inner, inner // 2, spatial_dims)))
            inputs = inner // 2
        self.head = nn.Conv3d(inputs, outputs, 1, bias=False)

    def features(self, levels: list[Tensor]) -> Tensor:
        """Levels, finest first, each [N, C_l, *space / 2^l] -> [N, width / 2, *space]."""
        x = levels[-1]
        for stage, skip in zip(self.stages, reversed(levels[:-1]), strict=True):
            for axis in self.axes:
                x = doubled(x, axis)
            x = stage(torch.cat((x, skip), dim=1))
        return x

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Levels, finest first, each [N, C_l, *space / 2^l] -> [N, outputs, *space]."""
        return self.head(self.features(levels))


def doubled(x: Tensor, axis: int) -> Tensor:
    """Double the length of an axis: each value, then its mean with the next one, the last repeated.

    So does TensorFlow's linear interpolation without aligned corners, in its first version.
    """
    following = torch.cat((x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, -1, 1)), dim=axis)
    return torch.stack((x, (x + following) / 2), dim=axis + 1).flatten(axis, axis + 1)


def truncated_init(network: nn.Module) -> None:
    """Redraw every convolution's weight: normal, of variance 2 / inputs, within 2 deviations; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            deviation = (2 / prod(module.weight.shape[1:])) ** 0.5
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
