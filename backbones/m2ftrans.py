"""M2FTrans, as PASSION uses it: ``backbones.create("m2ftrans", modalities=4, classes=4, crop=80)``.

Per modality a convolutional encoder of five levels and a transformer on the tokens of the deepest; a masked
fusion transformer, whose fusion tokens start the decoder and whose attention re-weights the encoders' maps;
a decoder that takes these in by spatial-weight cross attention at the two deepest levels and by 1-3-1
convolutions above. Source: Shi et al., "M2FTrans: Modality-Masked Fusion Transformer for Incomplete
Multi-Modality Brain Tumor Segmentation", JBHI 2024; facts of the version released with PASSION.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.blocks import (
    Blocks,
    ConvBlock,
    DecoderStage,
    ModalityEncoder,
    PointConv,
    UnimodalDecoder,
    decode_packed,
    kaiming_init,
    norm_act,
    token_grid,
)
from backbones.contract import Backbone, Features, Fused, encode_packed, has_dropout, packed, unpacked
from backbones.host import host, on_device
from backbones.m2ftrans_attention import CrossAttention, FusionTransformer, TransformerOptions
from backbones.weights import RELEASED_MODALITIES, shared_released_name
from bench_edges import Edges, space_of

LEVELS = 5
DEEP_LEVELS = 2  # those fused by cross attention
STRIDE = 2 ** (LEVELS - 1)  # voxels per token and axis
HEADS = 8
DEPTH = 3
SIDE_CHANNELS = 16


class ShareFusion(nn.Module):
    """1-3-1 convolutions on the present modalities' maps, each weighted by its share of the attention."""

    def __init__(self, modalities: int, channels: int, spatial_dims: int):
        super().__init__()
        self.first = PointConv(modalities * channels, channels)
        self.rest = Blocks(
            ConvBlock(channels, channels, 3, spatial_dims=spatial_dims), ConvBlock(channels, channels, 1)
        )

    def forward(self, maps: Tensor, shares: Tensor, case: Tensor) -> Tensor:
        """Fuse the maps of K subsets.

        Args:
            maps: [B, M, C, *space].
            shares: [K, M, *grid], 0 where absent; the grid divides the space.
            case: int64 [K], the batch item of each row.

        Returns [K, C, *space].
        """
        batch, modalities, channels, *space = maps.shape
        blocks = [size for g, s in zip(shares.shape[2:], space, strict=True) for size in (g, s // g)]
        # The first convolution of a weighted concatenation is a weighted sum over modalities of what each
        # gives by itself, so each is convolved once per case, however many subsets there are.
        kernel = self.first.weight.view(channels, modalities, channels).transpose(0, 1)
        own = (kernel @ maps.flatten(3)).view(batch, modalities, channels, *blocks)
        mixed = own.new_empty((len(case), channels, *space))
        items = host(case)
        for item in items.unique().tolist():
            rows = on_device((items == item).nonzero().squeeze(1), case.device)
            part = torch.einsum("kmxyz,mcxaybzd->kcxaybzd", shares.index_select(0, rows), own[item])
            mixed.index_copy_(0, rows, part.reshape(len(rows), channels, *space))
        bias = cast(Tensor, self.first.bias).to(mixed.dtype)
        return self.rest(norm_act(mixed + bias.view(-1, 1, 1, 1)))


class M2FTrans(Backbone):
    """M2FTrans: masked fusion transformer, attention-weighted maps, cross attention.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `TransformerOptions`; tokens have 16 times `width` channels.
        crop: edge or edges of the volumes in voxels, multiples of 16 from 32; a token has 16 per axis.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].

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
        crop: Edges = 80,
        spatial_dims: int = 3,
    ):
        super().__init__(modalities, classes, spatial_dims)
        self.space = space_of(crop, spatial_dims)
        self.grid = token_grid("m2ftrans", crop, STRIDE, spatial_dims, least=2)
        tokens = self.grid[0] * self.grid[1] * self.grid[2]
        channels = [options.width * 2**level for level in range(LEVELS)]
        shallow = LEVELS - DEEP_LEVELS
        self.encoders = nn.ModuleList(
            ModalityEncoder(LEVELS, options.width, spatial_dims=spatial_dims) for _ in range(modalities)
        )
        self.transformer = FusionTransformer(modalities, tokens, channels[-1], DEPTH, HEADS, options.dropout)
        self.fusions = nn.ModuleList(ShareFusion(modalities, c, spatial_dims) for c in channels[:shallow])
        self.crosses = nn.ModuleList(
            CrossAttention(modalities, c, options.dropout, spatial_dims) for c in channels[shallow:]
        )
        self.bottom = Blocks(
            ConvBlock(2 * channels[-1], channels[-1], 3, spatial_dims=spatial_dims),
            ConvBlock(channels[-1], channels[-1], 1),
        )
        self.stages = nn.ModuleList(DecoderStage(c, spatial_dims=spatial_dims) for c in channels[:-1])
        self.sides = nn.ModuleList(
            nn.Sequential(ConvBlock(c, SIDE_CHANNELS, 1), PointConv(SIDE_CHANNELS, classes)) for c in channels
        )
        self.head = PointConv(options.width, classes)
        self.unimodal_decoder = UnimodalDecoder(LEVELS, options.width, classes, spatial_dims=spatial_dims)
        kaiming_init(self)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality, tokens included: see the contract.

        `extra` holds `tokens` [B, M, 16 width, *grid], and `keys` and `values`
        [B, M, depth, heads, P, 2 width], P the number of tokens. While dropout is on it holds nothing: `fuse`
        makes them for each row then, with draws of its own. Raises `ValueError` for another size than `crop`.
        """
        if tuple(volumes.shape[2:]) != self.space:
            raise ValueError(
                f"volumes of {tuple(volumes.shape[2:])} voxels: this m2ftrans takes {self.space}"
            )
        levels = encode_packed(self.encoders, volumes, available)
        return Features(levels, available, {} if has_dropout(self) else self._tokens(levels[-1], available))

    def _tokens(self, deepest: Tensor, available: Tensor) -> dict[str, Tensor]:
        """Run the tokens of each available modality, from its deepest map [B, M, C, *grid]: see `encode`."""
        modality = host(available).nonzero()[:, 1]
        sets = packed(deepest, available).flatten(2).transpose(1, 2)
        own = self.transformer.encode_alone(sets, on_device(modality, available.device))
        made = {
            "tokens": own.tokens.transpose(1, 2).unflatten(2, self.grid),
            "keys": own.keys,
            "values": own.values,
        }
        return {name: unpacked(x, available) for name, x in made.items()}

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets: see the contract. Side outputs have the scales 1, 2, 4, 8 and 16."""
        if case is None:
            case = on_device(range(len(present)), present.device)
        extra = {name: x.index_select(0, case) for name, x in features.extra.items()}
        if not extra:
            extra = self._tokens(features.levels[-1].index_select(0, case), present)
        fusion, flat_shares = self.transformer.fuse(extra["keys"], extra["values"], present)
        shares = flat_shares.unflatten(2, self.grid)

        x = fusion.transpose(1, 2).unflatten(2, self.grid)
        sides = [self.sides[-1](x)]
        gathered = self.crosses[-1](x, extra["tokens"] * shares.unsqueeze(2), present)
        x = self.bottom(torch.cat((gathered, x), dim=1))
        for level in reversed(range(LEVELS - 1)):
            stage = cast(DecoderStage, self.stages[level])
            x = stage.rise(x)
            sides.append(self.sides[level](x))
            x = stage.join(self._gather(level, x, features.levels[level], shares, present, case), x)
        return Fused(self.head(x), sides[::-1], x)

    def _gather(
        self, level: int, x: Tensor, maps: Tensor, shares: Tensor, present: Tensor, case: Tensor
    ) -> Tensor:
        """Fuse the re-weighted maps [B, M, C, *] of a level above the deepest; x is the decoder's there."""
        if level < len(self.fusions):
            return self.fusions[level](maps, shares, case)
        gate = F.interpolate(shares, size=maps.shape[3:]).unsqueeze(2)
        return self.crosses[level - len(self.fusions)](x, maps.index_select(0, case) * gate, present)

    def unimodal(self, features: Features) -> Tensor:
        """Decode each available modality alone: see the contract."""
        return decode_packed(self.unimodal_decoder, features.levels, features.available)

    def released_names(self, name: str) -> list[str]:
        """Return the released name of the parameter `name`; see `backbones.weights`."""
        bottleneck, decoder = "Bottleneck.trans_bottle", "decoder_fusion"
        match name.split("."):
            case ["encoders" | "unimodal_decoder", *_]:
                return [shared_released_name(name)]
            case ["transformer", "position" | "fusion" as part]:
                return ["pos" if part == "position" else part]
            case ["transformer", _, layer, "perceptron", i, end]:
                part = {"0": "norm", "1": "fn.net.0", "4": "fn.net.3"}[i]
                return [f"{bottleneck}.cross_ffn_list.{layer}.fn.{part}.{end}"]
            case ["transformer", _, layer, part, end]:
                part = {"norm": "norm", "qkv": "fn.qkv", "project": "fn.proj"}[part]
                return [f"{bottleneck}.cross_attention_list.{layer}.fn.{part}.{end}"]
            case ["fusions", level, "first", end]:
                return [f"{decoder}.RFM{int(level) + 1}.fusion_layer.0.conv.{end}"]
            case ["fusions", level, _, i, *ends]:
                return [f"{decoder}.RFM{int(level) + 1}.fusion_layer.{int(i) + 1}.{'.'.join(ends)}"]
            case ["crosses", level, _, layer, *ends]:
                level = str(int(level) + len(self.fusions) + 1)
                return [f"{decoder}.CT{level}.layers.{layer}.{_released_cross_part(ends)}"]
            case ["bottom", i, *ends]:
                return [f"{decoder}.d5_{('c2', 'out')[int(i)]}.{'.'.join(ends)}"]
            case ["sides", level, *ends]:
                return [f"{decoder}.prm_fusion{int(level) + 1}.prm_layer.{'.'.join(ends)}"]
            case ["head", end]:
                return [f"{decoder}.seg_layer.{end}"]
        return [f"{decoder}.{shared_released_name(name)}"]


def _released_cross_part(parts: list[str]) -> str:
    """Return the released name of what is in a layer of cross attention: [block, (modality,) index, end]."""
    *block, index, end = parts
    convolution = int(index) // 3 + 1
    norm = int(index) % 3 == 1
    if block[0].startswith("forward"):
        within = f"norm{convolution}" if norm else ("pwconv1", "dwconv", "pwconv2")[convolution - 1]
        return f"{'ffn1' if block[0] == 'forward_query' else 'ffn2'}.{within}.{end}"
    outer = {"query": "query_map", "project": "out_project", "keys": "key_map", "values": "value_map"}[
        block[0]
    ]
    modality = f"_{RELEASED_MODALITIES[int(block[1])]}" if len(block) > 1 else ""
    return f"cross_attn.{outer}{modality}.{'norm' if norm else 'conv'}{convolution}.{end}"
