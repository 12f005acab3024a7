"""IM-Fuse: ``backbones.create("imfuse", modalities=4, classes=4, crop=128)``.

mmFormer's encoders, intra-modal transformers and decoder. At each of the five scales a learnt token for each
voxel stands behind that voxel's tokens of the modalities, the absent ones zero; a Mamba block runs along all
of them, and what becomes of the learnt tokens are the fused features. Those of the deepest scale go through
one more transformer. Source: Pipoli et al., "IM-Fuse: A Mamba-based Fusion Block for Brain Tumor Segmentation
with Incomplete Modalities", MICCAI 2025; facts of the released version with interleaved tokens.
"""

from math import prod

import torch
from pydantic import Field
from torch import Tensor, nn

from backbones.blocks import Blocks, ConvBlock, DecoderStage, in_a_row, kaiming_init, per_axis
from backbones.contract import Features
from backbones.heads import full_precision
from backbones.m2ftrans_attention import TransformerOptions
from backbones.mamba import Mamba
from backbones.mmformer import ORDER, FusionTail, TokenNetwork
from bench_edges import Edges

MOST_STATES = 256  # of a channel in a Mamba block, as published: the kernel of mamba_ssm holds no more


class InterleavedFusion(nn.Module):
    """Fuses the modalities' tokens of each voxel into a learnt one; these start at N(0, 1).

    Args:
        tokens: number of voxels P.
        channels: of a token, C.
    """

    def __init__(self, tokens: int, channels: int):
        super().__init__()
        self.learnt = nn.Parameter(torch.randn(1, tokens, channels))
        self.before = nn.LayerNorm(channels)
        self.mamba = Mamba(channels, min(channels, MOST_STATES))
        self.after = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, present: Tensor, case: Tensor) -> Tensor:
        """Fuse the tokens [B, M, P, C] of K subsets: [K, P, C]; see `Backbone.fuse`."""
        modalities = tokens.shape[1]
        # A scan adds up what thousands of positions leave: too much for half precision, as published.
        with torch.autocast(tokens.device.type, enabled=False):
            rows = full_precision(tokens).index_select(0, case).masked_fill(~present[:, :, None, None], 0)
            learnt = self.learnt.expand(len(rows), -1, -1).unsqueeze(1)
            sequence = torch.cat((rows, learnt), dim=1).transpose(1, 2).flatten(1, 2)
            sequence = sequence + self.mamba(self.before(sequence))
            fused = sequence[:, modalities :: modalities + 1]
            return fused + self.linear(self.after(fused))


class LevelFusion(nn.Module):
    """Fuses one level's maps: as tokens, then by 1-3-1 convolutions."""

    def __init__(self, voxels: int, channels: int, spatial_dims: int):
        super().__init__()
        self.tokens = InterleavedFusion(voxels, channels)
        self.convolutions = Blocks(
            ConvBlock(channels, channels, 1, order=ORDER), *FusionTail(channels, spatial_dims)
        )

    def forward(self, maps: Tensor, present: Tensor, case: Tensor) -> Tensor:
        """Fuse the maps [B, M, C, *space] of K subsets: [K, C, *space]."""
        fused = self.tokens(maps.flatten(3).transpose(2, 3), present, case)
        return self.convolutions(fused.transpose(1, 2).unflatten(2, maps.shape[3:]))


class PlainStage(DecoderStage):
    """The step up to the finest level where that has no skip connection."""

    def __init__(self, channels: int, spatial_dims: int):
        super().__init__(channels, ORDER, spatial_dims)
        self.joining = ConvBlock(channels, channels, 3, 1, ORDER, spatial_dims)

    def join(self, first: Tensor | None, second: Tensor) -> Tensor:
        """Return what becomes of `second` [N, channels, *space]; there is no first."""
        return in_a_row((self.joining, self.mixing), second)


class IMFuse(TokenNetwork):
    """IM-Fuse: Mamba over interleaved tokens at every scale; see `TokenNetwork`.

    The learnt tokens are of one crop, as the positions are: volumes have `crop` voxels an edge.
    """

    class Options(TransformerOptions):
        """`finest_skip`: whether there is a skip connection of the finest level.

        With it, the sequence has 5 tokens for each voxel of the volume. The command that the authors print
        for training goes without.
        """

        finest_skip: bool = Field(True)

    options: Options

    def __init__(
        self, modalities: int, classes: int, options: Options, crop: Edges = 128, spatial_dims: int = 3
    ):
        super().__init__(modalities, classes, options, crop, spatial_dims, mixed=1)
        if not options.finest_skip:
            self.stages[0] = PlainStage(options.width, spatial_dims)
        tokens, dim = prod(self.grid), self.reduce.in_channels
        self.position = nn.Parameter(torch.zeros(1, tokens, dim))
        self.token_fusion = InterleavedFusion(tokens, dim)
        kaiming_init(self)
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def level_fusion(self, level: int, channels: int) -> nn.Module:
        """Return a `LevelFusion`, or what does nothing where there is no skip connection."""
        if level == 0 and not self.options.finest_skip:
            return nn.Identity()
        stride = per_axis(2**level, self.spatial_dims)
        voxels = prod(edge // step for edge, step in zip(self.space, stride, strict=True))
        return LevelFusion(voxels, channels, self.spatial_dims)

    def fuse_levels(self, features: Features, present: Tensor, case: Tensor) -> list[Tensor]:
        """Fuse all levels but the deepest; see `TokenNetwork.fuse_levels`."""
        return [
            fusion(maps, present, case) if isinstance(fusion, LevelFusion) else maps
            for fusion, maps in zip(self.fusions, features.levels, strict=False)
        ]

    def mix_tokens(self, tokens: Tensor, present: Tensor, case: Tensor) -> Tensor:
        """Fuse the tokens, then run the transformer; see `TokenNetwork.mix_tokens`."""
        return self.intermodal(self.token_fusion(tokens, present, case) + self.position)[0]
