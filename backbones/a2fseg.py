"""A2FSeg: an nnU-Net per modality, whose features are averaged, then weighed (Wang and Hong, MICCAI 2023).

    net = backbones.create("a2fseg", modalities=4, classes=4, crop=128, regions=((1, 2, 3), (1, 3), (3,)))

Each modality has a U-Net of its own, encoder and decoder. A further decoder reads the mean over the present
modalities of what these made at each level. Modality by modality, two convolutions of its finest features and
this decoder's score each channel of each voxel; a softmax over the present modalities weighs them; a last
convolution sees the weighted sum beside the decoder's features. Channels are regions. This is the network of
the released code; the paper's has no decoder of the means.

Deviations:
- Uni-modal outputs are trained on at full size; the published loss asks for their coarser levels too.
- The objective weighs side outputs by 1/2, 1/4, ...; the published weights are twice these.
- Maps whose edges do not halve are cut to their skips, so that any crop works.
- Numbers without effect on any output are not kept: the published decoder of the means has an idle encoder.
The published training alternates epochs of all modalities and of random subsets of 1 to 3; the objective
`moddrop` is nearest to that.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones.blocks import AffineNorm, PaddedConv, per_axis
from backbones.contract import Backbone, Features, Fused, case_of_rows, encode_packed
from backbones.host import host, on_device
from backbones.rfnet import spread
from bench_edges import Edges, space_of
from bench_options import MethodOptions

SLOPE = 0.01  # of the leaky ReLU
MOST_CHANNELS = 320
MOST_HALVINGS = 5
COARSEST_EDGE = 4  # voxels that nnU-Net leaves of a crop's edge, at least


class Unit(nn.Module):
    """A 3x3x3 convolution, zeros around the image, instance norm and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int, stride: int = 1):
        super().__init__()
        self.conv = PaddedConv(inputs, outputs, stride, spatial_dims, "constant")
        self.norm = AffineNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        return F.leaky_relu_(self.norm(self.conv(x)), SLOPE)


def _units(inputs: int, outputs: int, spatial_dims: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(Unit(inputs, outputs, spatial_dims, stride), Unit(outputs, outputs, spatial_dims))


class Decoder(nn.Module):
    """The decoder of nnU-Net: transposed convolutions, concatenated skips, two units at each level."""

    def __init__(self, channels: list[int], spatial_dims: int):
        super().__init__()
        factor = per_axis(2, spatial_dims)
        self.rises = nn.ModuleList(
            nn.ConvTranspose3d(deeper, own, factor, factor, bias=False) for own, deeper in pairwise(channels)
        )
        self.joins = nn.ModuleList(_units(2 * own, own, spatial_dims) for own in channels[:-1])

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Levels, finest first, [N, C_l, *space_l] -> as many but the deepest, of equal shapes."""
        x, *skips = reversed(levels)
        maps: list[Tensor] = []
        for rise, join, skip in zip(reversed(self.rises), reversed(self.joins), skips, strict=True):
            length, height, depth = skip.shape[2:]
            x = join(torch.cat((rise(x)[:, :, :length, :height, :depth], skip), dim=1))
            maps.insert(0, x)
        return maps


class UNet(nn.Module):
    """One modality's network, without its heads."""

    def __init__(self, channels: list[int], spatial_dims: int):
        super().__init__()
        self.stages = nn.ModuleList(
            _units(inputs, outputs, spatial_dims, 2 if level else 1)
            for level, (inputs, outputs) in enumerate(pairwise([1, *channels]))
        )
        self.decoder = Decoder(channels, spatial_dims)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, 1, *space] -> the decoder's levels, finest first, and the encoder's deepest."""
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [*self.decoder(maps), x]


class A2FSeg(Backbone):
    """A2FSeg; side outputs of all levels of the decoder of the means but the coarsest, finest first.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        crop: edge or edges of the training volumes in voxels; all are halved while 4 voxels are left of the
            shortest, at most 5 times.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].
        regions: the classes of each region.
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level (32: as published); no level has more than 320."""

        width: int = Field(32, ge=2)

    capturable = True

    def __init__(
        self,
        modalities: int,
        classes: int,
        options: Options,
        crop: Edges = 128,
        spatial_dims: int = 3,
        regions: tuple[tuple[int, ...], ...] = (),
    ):
        super().__init__(modalities, classes, spatial_dims, regions)
        width = options.width
        shortest = min(space_of(crop, spatial_dims)[:spatial_dims])
        halvings = min(max((shortest // COARSEST_EDGE).bit_length() - 1, 1), MOST_HALVINGS)
        channels = [min(width * 2**level, MOST_CHANNELS) for level in range(halvings + 1)]
        self.unets = nn.ModuleList(UNet(channels, spatial_dims) for _ in range(modalities))
        self.unimodal_heads = nn.ModuleList(self._head(width) for _ in range(modalities))
        self.means = Decoder(channels, spatial_dims)
        self.sides = nn.ModuleList(self._head(own) for own in channels[: max(halvings - 1, 1)])
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.scores = nn.ModuleList(
            nn.Sequential(
                Unit(2 * width, width, spatial_dims),
                PaddedConv(width, width, 1, spatial_dims, "constant"),
                nn.LeakyReLU(SLOPE),
            )
            for _ in range(modalities)
        )
        self.last = Unit(2 * width, width, spatial_dims)
        self.head = self._head(width)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Run each available modality's U-Net; see `Backbone.encode`."""
        return Features(encode_packed(self.unets, volumes, available), available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets of what was encoded; see `Backbone.fuse`."""
        case = case_of_rows(features, present, case)
        finest = features.levels[0]
        shares = present.to(finest.dtype) / present.sum(dim=1, keepdim=True)
        weights = spread(shares, F.one_hot(case, len(finest)).to(finest.dtype))
        means = [
            (weights @ level.flatten(0, 1).flatten(1)).view(len(present), *level.shape[2:])
            for level in features.levels
        ]
        maps = self.means(means)
        sides = [side(level) for side, level in zip(self.sides, maps, strict=False)]
        weighted = self._weighted(finest.index_select(0, case), maps[0], present)
        x = self.last(torch.cat((weighted, maps[0]), dim=1))
        return Fused(self.head(x), sides, x)

    def unimodal(self, features: Features) -> Tensor:
        """Return the logits of each available modality's own U-Net; see `Backbone.unimodal`."""
        columns = features.levels[0].unbind(dim=1)
        return torch.stack([head(x) for head, x in zip(self.unimodal_heads, columns, strict=True)], dim=1)

    def _weighted(self, finest: Tensor, mean: Tensor, present: Tensor) -> Tensor:
        """Sum the modalities' features [K, M, C, *space], weighed by a softmax over the present ones.

        `mean`: the features of the decoder of the means, [K, C, *space].
        """
        scores, shown = [], host(present)
        for m, score in enumerate(self.scores):
            rows = on_device(shown[:, m].nonzero().squeeze(1), present.device)
            column = torch.full_like(mean, -torch.inf)
            if len(rows):
                seen = torch.cat((finest[:, m].index_select(0, rows), mean.index_select(0, rows)), dim=1)
                column = column.index_copy(0, rows, score(seen).to(mean.dtype))
            scores.append(column)
        return (torch.stack(scores, dim=1).softmax(dim=1) * finest).sum(dim=1)

    def _head(self, inputs: int) -> nn.Conv3d:
        return nn.Conv3d(inputs, self.heads.channels, 1, bias=False)
