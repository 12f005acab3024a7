"""HGA's own network: ``backbones.create("sharedunet", modalities=4, classes=4)``.

One U-Net for all modalities: each goes through the same convolutions by itself, with group norms of its own;
the logits for a subset are the mean of its modalities'. So the output for one modality alone is that of
`unimodal`. Source: facts of the released code (Jun-Jie-Shi/HGA, commit f20ef65), a 3-D form of U-Net
(Ronneberger et al., MICCAI 2015) with upsampling by interpolation.
"""

from math import gcd

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones.blocks import PaddedConv, PointConv, per_axis, upsample
from backbones.contract import Backbone, Features, Fused, packed, unpacked
from backbones.host import host
from bench_options import MethodOptions

DEPTH = 4  # poolings
GROUPS = 8  # of a norm; fewer where the channels are no multiple


class DoubleConv(nn.Module):
    """Twice a 3x3x3 convolution, a group norm of the modality's own, and ReLU."""

    def __init__(self, inputs: int, inner: int, outputs: int, modalities: int, spatial_dims: int):
        super().__init__()
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, after in ((inputs, inner), (inner, outputs)):
            self.convs.append(PaddedConv(before, after, 1, spatial_dims, mode="constant"))
            groups = gcd(GROUPS, after)
            self.norms.append(nn.ModuleList(nn.GroupNorm(groups, after) for _ in range(modalities)))

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space]; the first sizes[0] items are of modality 0, ..."""
        for conv, norms in zip(self.convs, self.norms, strict=True):
            assert isinstance(norms, nn.ModuleList)
            parts = zip(norms, conv(x).split(sizes), strict=True)
            x = F.relu(torch.cat([norm(part) for norm, part in parts if len(part)]))
        return x


class SharedUNet(Backbone):
    """HGA's U-Net shared by the modalities; no side outputs, as published.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].

    Volumes need a multiple of 16 voxels along each axis.
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level (16: as published, half of the usual U-Net's), even."""

        width: int = Field(16, ge=2, multiple_of=2)

    capturable = True

    def __init__(self, modalities: int, classes: int, options: Options, spatial_dims: int = 3):
        super().__init__(modalities, classes, spatial_dims)
        channels = [options.width * 2**level for level in range(DEPTH + 1)]
        shared = (modalities, spatial_dims)
        deepest = channels[-1] // 2
        outputs = [*channels[:-1], deepest]
        self.down = nn.ModuleList(
            DoubleConv(before, after, after, *shared)
            for before, after in zip([1, *outputs], outputs, strict=False)
        )
        self.up = nn.ModuleList(
            DoubleConv(2 * skip, skip, max(skip // 2, options.width), *shared) for skip in channels[-2::-1]
        )
        self.head = PointConv(options.width, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv3d):
                nn.init.kaiming_normal_(part.weight)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Run the U-Net on each available modality by itself; see `Backbone.encode`.

        Raises `ValueError` for volumes whose edges are no multiples of 16.
        """
        space = volumes.shape[2 : 2 + self.spatial_dims]
        if any(edge % 2**DEPTH for edge in space):
            raise ValueError(
                f"volumes of {tuple(volumes.shape[2:])} voxels: sharedunet takes multiples of {2**DEPTH}"
            )
        by_modality = host(available).t()
        if not by_modality.any():
            raise ValueError("no modality is available in the whole batch: every case needs at least one")
        x = packed(volumes.transpose(0, 1)[:, :, None], by_modality)
        maps = self._features(x, by_modality.sum(dim=1).tolist())
        level, logits = (unpacked(part, by_modality).transpose(0, 1) for part in (maps, self.head(maps)))
        return Features([level], available, {"logits": logits})

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Average the modalities of K subsets; see `Backbone.fuse`."""

        def mean(maps: Tensor) -> Tensor:
            chosen = maps if case is None else maps.index_select(0, case)
            shares = present.to(maps) / present.sum(dim=1, keepdim=True)
            return torch.einsum("km,km...->k...", shares, chosen)

        return Fused(mean(features.extra["logits"]), [], mean(features.levels[0]))

    def unimodal(self, features: Features) -> Tensor:
        """Return the logits of each available modality alone; see `Backbone.unimodal`."""
        return features.extra["logits"]

    def _features(self, x: Tensor, sizes: list[int]) -> Tensor:
        """[N, 1, *space] -> [N, width, *space]; `sizes`: how many items are of each modality."""
        skips: list[Tensor] = []
        for down in self.down:
            if skips:
                x = F.max_pool3d(x, per_axis(2, self.spatial_dims))
            x = down(x, sizes)
            skips.append(x)
        for up, skip in zip(self.up, skips[-2::-1], strict=True):
            x = up(torch.cat((skip, upsample(x, 2, self.spatial_dims)), dim=1), sizes)
        return x
