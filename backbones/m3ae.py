"""M3AE: an early-fusion U-Net that sees a learnt image in the place of an absent modality.

    net = backbones.create("m3ae", modalities=4, classes=4, regions=((1, 2, 3), (1, 3), (3,)))

The image is one of a whole case: what stands in for a modality is the part of it where the crop lies, so
`encode_at` wants the crop's corners. It is learnt by a masked autoencoder (`rebuild`, which the objective
`mae` trains) and stays as it is in the fine-tuning that follows. Beside the segmentation, the network then
learns to make the same bottleneck of two subsets of a case.

Source: Liu et al., "M3AE: Multimodal Representation Learning for Brain Tumor Segmentation with Missing
Modalities", AAAI 2023.
"""

from math import gcd
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones import noise
from backbones.blocks import PaddedConv, PointConv, per_axis
from backbones.contract import Auxiliary, Backbone, Features, Fused, Stage
from backbones.early_fusion import rows_of, shown
from backbones.heads import full_precision
from backbones.host import on_device
from bench_options import MethodOptions

GROUPS = 8
BLOCKS = (1, 2, 2, 4)
"""Residual blocks of each level of the encoder, the finest first."""
CONSISTENCY = 0.1
"""Weight of the difference between the bottlenecks of two subsets."""
PENALTY = 0.005
"""Weight of the norm of the image without its mean."""


class ResidualBlock(nn.Module):
    """Group norm, ReLU and a 3x3x3 convolution, twice, with a residual sum."""

    def __init__(self, channels: int, spatial_dims: int):
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            norm = nn.GroupNorm(gcd(GROUPS, channels), channels)
            layers += [norm, nn.ReLU(inplace=True), _conv(channels, channels, 1, spatial_dims)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, *space] -> the same shape."""
        return x + self.layers(x)


class Encoder(nn.Module):
    """Four levels of residual blocks behind a convolution, which below the first has a stride of 2."""

    def __init__(self, inputs: int, width: int, spatial_dims: int):
        super().__init__()
        self.levels = nn.ModuleList()
        for level, blocks in enumerate(BLOCKS):
            outputs = width * 2**level
            entry = _conv(inputs, outputs, 2 if level else 1, spatial_dims)
            residual = (ResidualBlock(outputs, spatial_dims) for _ in range(blocks))
            self.levels.append(nn.Sequential(entry, *residual))
            inputs = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, inputs, *space] -> the levels, finest first, each [N, width * 2^l, *space / 2^l]."""
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


class Decoder(nn.Module):
    """From the bottleneck upwards: fewer channels, nearest neighbours, the skip added, a residual block."""

    def __init__(self, width: int, spatial_dims: int):
        super().__init__()
        self.factor = tuple(float(n) for n in per_axis(2, spatial_dims))
        widths = [width * 2**level for level in range(len(BLOCKS) - 1)]
        self.narrow = nn.ModuleList(PointConv(2 * channels, channels) for channels in widths)
        self.blocks = nn.ModuleList(ResidualBlock(channels, spatial_dims) for channels in widths)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Levels of the encoder -> those of the decoder but the bottleneck, finest first, of equal shapes."""
        x, *skips = reversed(levels)
        maps: list[Tensor] = []
        for narrow, block, skip in zip(reversed(self.narrow), reversed(self.blocks), skips, strict=True):
            x = block(F.interpolate(narrow(x), scale_factor=self.factor) + skip)
            maps.insert(0, x)
        return maps


class Decoded(NamedTuple):
    """Maps of the decoder, finest first, and the bottleneck [K, 8 width, *space / 8]."""

    maps: list[Tensor]
    bottleneck: Tensor


class M3AE(Backbone):
    """M3AE, with side outputs at the scales 2 and 4, and without auxiliary decoder.

    Attributes:
        image: what stands in for absent modalities [M, *image], `image` voxels of a whole case. Beyond its
            border a crop sees the voxels of the border.
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level. `image`: voxels of the learnt image along each axis."""

        width: int = Field(16, ge=1)
        image: Annotated[
            tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]],
            Field(strict=False),
        ] = (240, 240, 155)

    has_unimodal = False
    rates: ClassVar[dict[str, float]] = {"image": 5e-3 / 3e-4}

    def __init__(
        self,
        modalities: int,
        classes: int,
        options: Options,
        spatial_dims: int = 3,
        regions: tuple[tuple[int, ...], ...] = (),
    ):
        super().__init__(modalities, classes, spatial_dims, regions)
        width, channels = options.width, self.heads.channels
        self.encoder = Encoder(modalities, width, spatial_dims)
        self.decoder = Decoder(width, spatial_dims)
        self.head = PointConv(width, channels)
        self.sides = nn.ModuleList(PointConv(width * 2**level, channels) for level in (1, 2))
        self.image = nn.Parameter(torch.randn(modalities, *options.image))
        self.rebuilt = PointConv(width, modalities).requires_grad_(False)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Keep the volumes as one level [B, M, 1, *space], as crops at the first corner of their cases."""
        return self.encode_at(volumes, available, None)

    def encode_at(self, volumes: Tensor, available: Tensor, corners: Tensor | None) -> Features:
        """Keep the volumes as one level [B, M, 1, *space], and beside them the image where they lie."""
        level = shown(volumes, available).unsqueeze(2)
        return Features([level], available, {"image": self._image_at(volumes, corners)})

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Run the network on K subsets: see the contract."""
        maps, bottleneck = self._decoded(self._seen(features, present, case))
        sides = [side(level) for side, level in zip(self.sides, maps[1:], strict=True)]
        return Fused(self.head(maps[0]), sides, maps[0], {"bottleneck": bottleneck})

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        """Return the mean squared difference of each case's bottleneck from that of a second subset.

        The second subset is drawn from what was encoded; in evaluation, it is all of that.
        """
        other = features.available
        if self.training:
            with noise.rows(torch.arange(len(other)), ["second subset"] * len(other)):
                other = noise.subsets(other, "dropped")
        bottleneck = self.encoder(self._seen(features, other, None))[-1]
        difference = full_precision(fused.extra["bottleneck"]) - full_precision(bottleneck)
        return {"consistency": Auxiliary(_sum_of_means(difference.square()), CONSISTENCY)}

    def rebuild(
        self, volumes: Tensor, visible: Tensor, available: Tensor, corners: Tensor | None
    ) -> dict[str, Auxiliary]:
        """Return the mean squared error of the rebuilt volumes, and the norm of the image without its mean.

        What is not visible is seen as in the image. The norm counts for each case.
        """
        seen = torch.where(visible, volumes, self._image_at(volumes, corners))
        error = full_precision(self.rebuilt(self._decoded(seen).maps[0])) - shown(volumes, available)
        of_modality = error.square().flatten(2).mean(dim=2).where(available, 0)
        norm = (self.image - self.image.mean(dim=(1, 2, 3), keepdim=True)).norm()
        return {
            "rebuilt": Auxiliary((of_modality.sum(dim=1) / available.sum(dim=1)).sum(), 1.0),
            "image": Auxiliary(len(volumes) * norm, PENALTY),
        }

    def begin(self, stage: Stage) -> None:
        """Let the image, and the convolution that rebuilds the volumes, learn in the pre-training alone."""
        for parameter in (self.image, *self.rebuilt.parameters()):
            parameter.requires_grad_(stage == "pretraining")

    def _seen(self, features: Features, present: Tensor, case: Tensor | None) -> Tensor:
        """[K, M, *space]: the volumes of what is present, the image of what is not."""
        volumes = rows_of(features.levels[0].squeeze(2), present, case)
        image = rows_of(features.extra["image"], present, case)
        return torch.where(present[(...,) + (None,) * (volumes.dim() - 2)], volumes, image)

    def _decoded(self, x: Tensor) -> Decoded:
        levels = self.encoder(x)
        return Decoded(self.decoder(levels), levels[-1])

    def _image_at(self, volumes: Tensor, corners: Tensor | None) -> Tensor:
        """The part of the image where each of the crops lies, of the shape of `volumes` [B, M, *space]."""
        space = volumes.shape[2:]
        if corners is None:
            first = torch.zeros(3, dtype=torch.int64)
            corners = torch.stack([first, torch.tensor(space) - 1]).expand(len(volumes), -1, -1)
        parts: list[Tensor] = []
        for first, last in on_device(corners, volumes.device):
            part: Tensor = self.image
            for axis, length in enumerate(space):
                steps = torch.arange(length, device=volumes.device)
                along = first[axis] + steps * (last[axis] - first[axis]).sign()
                part = part.index_select(axis + 1, along.clamp(0, self.image.shape[axis + 1] - 1))
            parts.append(part)
        return torch.stack(parts).to(volumes.dtype)


def _conv(inputs: int, outputs: int, stride: int, spatial_dims: int) -> PaddedConv:
    return PaddedConv(inputs, outputs, stride, spatial_dims, "constant")


def _sum_of_means(values: Tensor) -> Tensor:
    """The sum over the cases of the mean of each case's values [B, ...]."""
    return values.flatten(1).mean(dim=1).sum()
