"""mmFormer, as PASSION uses it: ``backbones.create("mmformer", modalities=4, classes=4, crop=80)``.

Per modality a convolutional encoder of five levels and, on the tokens of the deepest, an intra-modal
transformer; an inter-modal transformer on the tokens of all modalities, the absent ones zero; a decoder that
starts from its output and fuses the modalities' maps at each other level by 1-3-1 convolutions. Source: Zhang
et al., "mmFormer: Multimodal Medical Transformer for Incomplete Multimodal Learning of Brain Tumor
Segmentation", MICCAI 2022; facts of the version released with PASSION.

`TokenNetwork` is what it shares with networks that fuse otherwise (IM-Fuse).
"""

from abc import abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from backbones.blocks import (
    Blocks,
    ConvBlock,
    DecoderStage,
    ModalityEncoder,
    Order,
    PaddedConv,
    PointConv,
    UnimodalDecoder,
    decode_packed,
    kaiming_init,
    norm_act,
    token_grid,
)
from backbones.contract import (
    Backbone,
    Features,
    Fused,
    case_of_rows,
    encode_packed,
    packed,
    pairs_of,
)
from backbones.host import host, on_device
from backbones.m2ftrans_attention import TokenLayer, TransformerOptions
from backbones.weights import RELEASED_MODALITIES, shared_released_name
from bench_edges import Edges, space_of

LEVELS = 5
STRIDE = 2 ** (LEVELS - 1)  # voxels per token and axis
HEADS = 8
EXPANSION = 8  # of the token dimension within a transformer layer's perceptron
ORDER: Order = "norm-act-conv"


class FusionTail(Blocks):
    """The second and third of the 1-3-1 convolutions, at `channels` throughout.

    Here, and nowhere else in the network, the image is continued by zeros instead of being reflected.
    """

    def __init__(self, channels: int, spatial_dims: int):
        middle = ConvBlock(channels, channels, 3, order=ORDER, spatial_dims=spatial_dims)
        middle.conv = PaddedConv(channels, channels, 1, spatial_dims, mode="constant")
        super().__init__(middle, ConvBlock(channels, channels, 1, order=ORDER))


class TokenEncoder(ModalityEncoder):
    """One modality's encoder, with an intra-modal transformer layer on the tokens of its deepest level.

    The positional embedding starts at 0; the inter-modal transformer uses it too.
    """

    def __init__(self, width: int, dim: int, tokens: int, dropout: float, spatial_dims: int):
        super().__init__(LEVELS, width, ORDER, spatial_dims)
        self.embed = PointConv(width * STRIDE, dim)
        self.position = nn.Parameter(torch.zeros(1, tokens, dim))
        self.layer = TokenLayer(dim, HEADS, EXPANSION * dim, dropout)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, 1, *space] -> the levels, each [N, width * 2^l, *space / 2^l], then the tokens [N, P, dim]."""
        maps = super().forward(x)
        tokens = self.embed(maps[-1]).flatten(2).transpose(1, 2)
        return [*maps, self.layer(tokens + self.position)[0]]


class MaskedFusion(nn.Module):
    """1-3-1 convolutions on the concatenated maps of all modalities, the absent ones zero."""

    def __init__(self, modalities: int, channels: int, spatial_dims: int):
        super().__init__()
        self.first = PointConv(modalities * channels, channels)
        self.rest = FusionTail(channels, spatial_dims)

    def forward(self, maps: Tensor, available: Tensor, selection: Tensor) -> Tensor:
        """Fuse the maps of K subsets.

        Args:
            maps: [B, M, C, *space].
            available: bool [B, M], N of them True.
            selection: float [K, N], 1 where an available (item, modality) pair belongs to a row's subset.

        Returns [K, C, *space].
        """
        channels, space = maps.shape[2], maps.shape[3:]
        # A channel is normalised by itself, and a channel of zeros stays zero through norm and activation. So
        # the first convolution is a sum over modalities of what each gives alone, once for all subsets.
        modality = on_device(pairs_of(available) % available.shape[1], maps.device)
        own = norm_act(packed(maps, available)).flatten(2)
        kernels = self.first.weight.view(channels, -1, channels).transpose(0, 1)
        products = kernels.index_select(0, modality) @ own
        mixed = (selection @ products.flatten(1)).view(len(selection), channels, *space)
        bias = cast(Tensor, self.first.bias).to(mixed.dtype)
        return self.rest(mixed + bias.view(-1, 1, 1, 1))


class TokenNetwork(Backbone):
    """Encoders with intra-modal transformers, a decoder from tokens; 4 side outputs (2, 4, 8, 16).

    A subclass says how modalities are fused, by `level_fusion`, `fuse_levels` and `mix_tokens`.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `TransformerOptions`; tokens have 64 times `width` channels.
        crop: edge or edges of the volumes in voxels, multiples of 16 from 32; a token has 16 per axis.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].
        mixed: channels of what `mix_tokens` makes, in tokens.

    Raises `InputError` for a `crop` that has no whole token grid.
    """

    Options = TransformerOptions

    capturable = True
    compiled = ("encoders", "unimodal_decoder")

    def __init__(
        self,
        modalities: int,
        classes: int,
        options: TransformerOptions,
        crop: Edges,
        spatial_dims: int,
        mixed: int,
    ):
        super().__init__(modalities, classes, spatial_dims)
        self.options = options
        self.space = space_of(crop, spatial_dims)
        self.grid = token_grid(options.name, crop, STRIDE, spatial_dims, least=2)
        tokens = self.grid[0] * self.grid[1] * self.grid[2]
        channels = [options.width * 2**level for level in range(LEVELS)]
        deepest, dim = channels[-1], 64 * options.width
        self.encoders = nn.ModuleList(
            TokenEncoder(options.width, dim, tokens, options.dropout, spatial_dims) for _ in range(modalities)
        )
        self.intermodal = TokenLayer(dim, HEADS, EXPANSION * dim, options.dropout)
        self.reduce = PointConv(mixed * dim, modalities * deepest)
        self.bottom = Blocks(
            ConvBlock(modalities * deepest, deepest, 1, order=ORDER), *FusionTail(deepest, spatial_dims)
        )
        self.fusions = nn.ModuleList(self.level_fusion(level, c) for level, c in enumerate(channels[:-1]))
        self.stages = nn.ModuleList(DecoderStage(c, ORDER, spatial_dims) for c in channels[:-1])
        self.sides = nn.ModuleList(PointConv(c, classes) for c in channels[1:])
        self.head = PointConv(options.width, classes)
        self.unimodal_decoder = UnimodalDecoder(LEVELS, options.width, classes, ORDER, spatial_dims)

    @abstractmethod
    def level_fusion(self, level: int, channels: int) -> nn.Module:
        """Return the part that fuses the modalities' maps of `channels` channels; level 0 is the finest."""

    @abstractmethod
    def fuse_levels(self, features: Features, present: Tensor, case: Tensor) -> list[Tensor]:
        """Fuse all levels but the deepest, finest first: each [K, C_l, *space_l]; see `Backbone.fuse`."""

    @abstractmethod
    def mix_tokens(self, tokens: Tensor, present: Tensor, case: Tensor) -> Tensor:
        """Fuse the tokens [B, M, P, dim] of K subsets: [K, P, mixed * dim]; see `Backbone.fuse`."""

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality, its intra-modal transformer included: see the contract.

        `extra` holds `tokens` [B, M, P, 64 width], P the number of tokens. Raises `ValueError` for another
        size than `crop`.
        """
        if tuple(volumes.shape[2:]) != self.space:
            raise ValueError(
                f"volumes of {tuple(volumes.shape[2:])} voxels: this {self.options.name} takes {self.space}"
            )
        *levels, tokens = encode_packed(self.encoders, volumes, available)
        return Features(levels, available, {"tokens": tokens})

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets: see the contract. Side outputs have the scales 2, 4, 8 and 16."""
        case = case_of_rows(features, present, case)
        mixed = self.mix_tokens(features.extra["tokens"], present, case)
        x = self.bottom(self.reduce(mixed.transpose(1, 2).unflatten(2, self.grid)))
        sides = [self.sides[-1](x)]
        levels = self.fuse_levels(features, present, case)
        for level in reversed(range(LEVELS - 1)):
            stage = cast(DecoderStage, self.stages[level])
            x = stage.join(levels[level], stage.rise(x))
            if level > 0:
                sides.append(self.sides[level - 1](x))
        return Fused(self.head(x), sides[::-1], x)

    def unimodal(self, features: Features) -> Tensor:
        """Decode each available modality alone, from its encoder's maps: see the contract."""
        return decode_packed(self.unimodal_decoder, features.levels, features.available)


class MMFormer(TokenNetwork):
    """mmFormer: intra-modal and inter-modal transformers at the bottleneck; see `TokenNetwork`."""

    def __init__(
        self,
        modalities: int,
        classes: int,
        options: TransformerOptions,
        crop: Edges = 80,
        spatial_dims: int = 3,
    ):
        super().__init__(modalities, classes, options, crop, spatial_dims, mixed=modalities)
        kaiming_init(self)

    def level_fusion(self, level: int, channels: int) -> nn.Module:
        """Return 1-3-1 convolutions of the concatenated maps."""
        return MaskedFusion(self.modalities, channels, self.spatial_dims)

    def fuse_levels(self, features: Features, present: Tensor, case: Tensor) -> list[Tensor]:
        """Fuse all levels but the deepest; see `TokenNetwork.fuse_levels`."""
        device, pairs = present.device, host(features.available).nonzero(as_tuple=True)
        item, modality = (on_device(each, device) for each in pairs)
        chosen = present.index_select(1, modality) & (case[:, None] == item)
        selection = chosen.to(features.levels[0].dtype)
        return [
            fusion(maps, features.available, selection)
            for fusion, maps in zip(self.fusions, features.levels, strict=False)
        ]

    def mix_tokens(self, tokens: Tensor, present: Tensor, case: Tensor) -> Tensor:
        """Run the inter-modal transformer; see `TokenNetwork.mix_tokens`."""
        own = tokens.index_select(0, case).masked_fill(~present[:, :, None, None], 0)
        positions = torch.cat([cast(TokenEncoder, e).position for e in self.encoders], dim=1)
        mixed = self.intermodal(own.flatten(1, 2) + positions)[0]
        # Tokens lie modality by modality and are read as if voxel by voxel, in mmFormer as published too, so
        # a voxel's M * dim channels are not its own M tokens. Published weights depend on it.
        return mixed.reshape(len(case), tokens.shape[2], -1)

    def released_names(self, name: str) -> list[str]:
        """Return the released name of the parameter `name`; see `backbones.weights`."""
        decoder = "decoder_fuse"
        match name.split("."):
            case ["encoders", m, "position"]:
                return [f"{RELEASED_MODALITIES[int(m)]}_pos"]
            case ["encoders", m, "embed", end]:
                return [f"{RELEASED_MODALITIES[int(m)]}_encode_conv.{end}"]
            case ["encoders", m, "layer", *parts]:
                return [f"{RELEASED_MODALITIES[int(m)]}_transformer.{_released_layer_part(parts)}"]
            case ["encoders" | "unimodal_decoder", *_]:
                return [shared_released_name(name)]
            case ["intermodal", *parts]:
                return [f"multimodal_transformer.{_released_layer_part(parts)}"]
            case ["reduce", end]:
                return [f"multimodal_decode_conv.{end}"]
            case ["bottom", i, *ends]:
                return [f"{decoder}.RFM{LEVELS}.fusion_layer.{i}.{'.'.join(ends)}"]
            case ["fusions", level, "first", end]:
                return [f"{decoder}.RFM{int(level) + 1}.fusion_layer.0.conv.{end}"]
            case ["fusions", level, _, i, *ends]:
                return [f"{decoder}.RFM{int(level) + 1}.fusion_layer.{int(i) + 1}.{'.'.join(ends)}"]
            case ["sides", level, end]:
                return [f"{decoder}.seg_d{int(level) + 1}.{end}"]
            case ["head", end]:
                return [f"{decoder}.seg_layer.{end}"]
        return [f"{decoder}.{shared_released_name(name)}"]


def _released_layer_part(parts: list[str]) -> str:
    """Return the released name of what is in a `TokenLayer`: [part, (index,) end]."""
    *block, end = parts
    if block[0] == "perceptron":
        part = {"0": "norm", "1": "fn.net.0", "4": "fn.net.3"}[block[1]]
        return f"cross_ffn_list.0.fn.{part}.{end}"
    part = {"norm": "norm", "qkv": "fn.qkv", "project": "fn.proj"}[block[0]]
    return f"cross_attention_list.0.fn.{part}.{end}"
