"""TransUNet in 3-D for any subset of modalities: ``backbones.create("transunet", modalities=4, classes=4)``.

A convolutional encoder per modality; at each of its levels the present modalities are fused; a vision
transformer reads the fused map of the deepest level in patches; a cascade of up-sampling steps with the fused
maps as skips leads back to full size. The modalities meet before the transformer, not in it. Source: Chen et
al., "TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation", arXiv 2102.04306, 2021.
From it: the hybrid encoder, one token for 16 voxels along each axis, 12 pre-norm layers with a perceptron of
4 times the tokens' width, learnt positions, the last normalisation, the cascade with skips. Ours: three
dimensions, an encoder per modality and their fusion (the paper has one image), instance norm and leaky ReLU
as in the other networks here, a token width that follows `width`, side outputs, the auxiliary decoder;
nothing is pre-trained.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.blocks import (
    ConvBlock,
    DecoderStage,
    ModalityEncoder,
    PointConv,
    UnimodalDecoder,
    decode_packed,
    kaiming_init,
    norm_act,
    per_axis,
    token_grid,
)
from backbones.contract import Backbone, Features, Fused, case_of_rows, encode_packed
from backbones.m2ftrans_attention import TokenLayer, TransformerOptions
from backbones.rfnet import modality_products, spread
from bench_edges import Edges

LEVELS = 4
PATCH = 2  # voxels of the deepest level per token and axis
STRIDE = PATCH * 2 ** (LEVELS - 1)  # voxels of the volume per token and axis
HEADS = 8
DEPTH = 12
EXPANSION = 4  # of the token width within a layer's perceptron
TOKEN_CHANNELS = 32  # per channel of the finest level


class LevelFusion(nn.Module):
    """Fuses the present modalities' maps of one level: 1-3 convolutions of their concatenation.

    The absent ones count as zero. So the first convolution is a sum over the present modalities of what each
    gives alone, which is computed once per case.
    """

    def __init__(self, modalities: int, channels: int, spatial_dims: int):
        super().__init__()
        self.first = PointConv(modalities * channels, channels)
        self.second = ConvBlock(channels, channels, 3, spatial_dims=spatial_dims)

    def forward(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Fuse the maps of K subsets.

        Args:
            maps: [B, M, C, *space].
            weights: [K, B * M], 1 where a modality of a case belongs to the row's subset.

        Returns [K, C, *space].
        """
        products = modality_products([self.first], maps.flatten(3))
        mixed = (weights @ products.flatten(0, 1).flatten(1)).view(len(weights), *products.shape[2:])
        mixed = mixed + cast(Tensor, self.first.bias).to(mixed.dtype)[:, None]
        return self.second(norm_act(mixed.unflatten(2, maps.shape[3:])))


class VisionTransformer(nn.Module):
    """A transformer on the patches of a map; positions start at 0 and are interpolated to other grids."""

    def __init__(
        self, channels: int, dim: int, grid: tuple[int, int, int], dropout: float, spatial_dims: int
    ):
        super().__init__()
        patch = per_axis(PATCH, spatial_dims)
        self.embed = nn.Conv3d(channels, dim, patch, stride=patch)
        self.position = nn.Parameter(torch.zeros(1, dim, *grid))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(TokenLayer(dim, HEADS, EXPANSION * dim, dropout) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[K, channels, *space] -> [K, dim, *space / 2]."""
        x = self.embed(x)
        grid, position = x.shape[2:], cast(Tensor, self.position)
        if position.shape[2:] != grid:
            position = F.interpolate(position, size=grid, mode="trilinear", align_corners=False)
        tokens = self.dropout(x + position).flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)[0]
        return self.norm(tokens).transpose(1, 2).unflatten(2, grid)


class TransUNet(Backbone):
    """TransUNet; 4 side outputs (scales 2, 4, 8, 16), finest first.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `TransformerOptions`; tokens have 32 times `width` channels.
        crop: edge or edges of the training volumes in voxels, multiples of 16; there is a position for each
            token of 16 voxels per axis. Volumes of other multiples of 16 voxels get interpolated positions.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].

    Raises `InputError` for a `crop` that has no whole token grid.
    """

    Options = TransformerOptions

    capturable = True

    def __init__(
        self,
        modalities: int,
        classes: int,
        options: TransformerOptions,
        crop: Edges = 80,
        spatial_dims: int = 3,
    ):
        super().__init__(modalities, classes, spatial_dims)
        grid = token_grid("transunet", crop, STRIDE, spatial_dims)
        channels = [options.width * 2**level for level in range(LEVELS)]
        dim = TOKEN_CHANNELS * options.width
        self.encoders = nn.ModuleList(
            ModalityEncoder(LEVELS, options.width, spatial_dims=spatial_dims) for _ in range(modalities)
        )
        self.fusions = nn.ModuleList(LevelFusion(modalities, c, spatial_dims) for c in channels)
        self.transformer = VisionTransformer(channels[-1], dim, grid, options.dropout, spatial_dims)
        self.reduce = PointConv(dim, 2 * channels[-1])
        self.stages = nn.ModuleList(DecoderStage(c, spatial_dims=spatial_dims) for c in channels)
        self.sides = nn.ModuleList(PointConv(2 * c, classes) for c in channels)
        self.head = PointConv(options.width, classes)
        self.unimodal_decoder = UnimodalDecoder(LEVELS, options.width, classes, spatial_dims=spatial_dims)
        kaiming_init(self)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality by itself: see the contract.

        Raises `ValueError` for volumes whose edges are not multiples of 16.
        """
        if any(edge % STRIDE for edge in volumes.shape[2 : 2 + self.spatial_dims]):
            raise ValueError(
                f"volumes of {tuple(volumes.shape[2:])} voxels: transunet takes multiples of {STRIDE}"
            )
        return Features(encode_packed(self.encoders, volumes, available), available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets: see the contract. Side outputs have the scales 2, 4, 8 and 16."""
        case = case_of_rows(features, present, case)
        member = F.one_hot(case, len(features.available)).to(features.levels[0].dtype)
        weights = spread(present.to(member.dtype), member)
        skips = [fusion(level, weights) for fusion, level in zip(self.fusions, features.levels, strict=True)]
        x = self.reduce(self.transformer(skips[-1]))
        sides: list[Tensor] = []
        for stage, side, skip in zip(
            reversed(self.stages), reversed(self.sides), reversed(skips), strict=True
        ):
            sides.insert(0, side(x))
            x = stage(x, skip)
        return Fused(self.head(x), sides, x)

    def unimodal(self, features: Features) -> Tensor:
        """Decode each available modality alone: see the contract."""
        return decode_packed(self.unimodal_decoder, features.levels, features.available)
