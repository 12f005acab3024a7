"""The two kinds of attention of M2FTrans: between tokens, with learnable fusion tokens, and between channels.

    transformer = FusionTransformer(modalities=4, tokens=125, dim=128, depth=3, heads=8, dropout=0.1)
    own = transformer.encode_alone(tokens, modality)             # each modality alone, once
    fusion, shares = transformer.fuse(own.keys, own.values, present)   # any subsets
    cross = CrossAttention(modalities=4, channels=128, dropout=0.1, spatial_dims=3)
    x = cross(x, maps, present)

A modality's tokens attend to themselves only, and the fusion tokens to themselves and to the present
modalities. So all that a modality contributes (its tokens, and keys and values for each layer) is independent
of the subset: `encode_alone` makes it once, and `fuse` runs the fusion tokens only. Facts: M2FTrans
(JBHI 2024) as PASSION uses it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones.blocks import PointConv, per_axis
from backbones.contract import packed, unpacked
from backbones.host import host, on_device
from bench_options import MethodOptions

CROSS_LAYERS = 2
EXPANSION = 4  # of the channels within a cross-attention layer's feed-forward


class TransformerOptions(MethodOptions):
    """The options of every network with transformers.

    `width`: channels of the finest level (8: as published by mmFormer and M2FTrans). `dropout`: rate within
    the transformers.
    """

    width: int = Field(8, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1, exclude_if=lambda rate: rate == 0.1)  # not in earlier records


@dataclass
class ModalityTokens:
    """What `FusionTransformer.encode_alone` made of N token sets of P tokens.

    Attributes:
        tokens: [N, P, dim], after the last layer.
        keys: [N, depth, heads, P, dim / heads], which the fusion tokens look up in each layer.
        values: the same shape.
    """

    tokens: Tensor
    keys: Tensor
    values: Tensor


class TokenLayer(nn.Module):
    """A pre-norm transformer layer: attention, then a two-layer perceptron, each with a residual sum."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(
        self,
        x: Tensor,
        others: tuple[Tensor, Tensor] | None = None,
        visible: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Update tokens x [N, P, dim] from what their queries find in themselves and in others.

        Args:
            x: [N, P, dim].
            others: keys and values [N, heads, Q, dim / heads] of other tokens, put before x's own.
            visible: bool [N, Q + P], which keys may be looked up; None: all.

        Returns the new tokens [N, P, dim], the attention [N, heads, P, Q + P] with its dropout, and x's own
        keys and values [N, heads, P, dim / heads].
        """
        parts = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        all_keys = key if others is None else torch.cat((others[0], key), dim=2)
        all_values = value if others is None else torch.cat((others[1], value), dim=2)
        scores = (query @ all_keys.transpose(-2, -1)) * query.shape[-1] ** -0.5
        if visible is not None:
            scores = scores.masked_fill(~visible[:, None, None, :], float("-inf"))
        attention = self.dropout(scores.softmax(dim=-1))
        found = self.project((attention @ all_values).transpose(1, 2).flatten(2))
        x = x + self.dropout(self.dropout(found))  # twice, as published: 0.19 of the values at a rate of 0.1
        return x + self.perceptron(x), attention, key, value


class FusionTransformer(nn.Module):
    """Gathers what the present modalities hold into learnable fusion tokens, one for each place of the grid.

    Positional embeddings start at 0, fusion tokens at N(0, 1).
    """

    def __init__(self, modalities: int, tokens: int, dim: int, depth: int, heads: int, dropout: float):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, (modalities + 1) * tokens, dim))
        self.fusion = nn.Parameter(torch.randn(1, tokens, dim))
        self.layers = nn.ModuleList(TokenLayer(dim, heads, 32 * dim, dropout) for _ in range(depth))

    def positions(self) -> Tensor:
        """Return the positional embeddings [M + 1, P, dim]: of each modality, then of the fusion tokens."""
        return self.position.unflatten(1, (-1, self.fusion.shape[1])).squeeze(0)

    def encode_alone(self, tokens: Tensor, modality: Tensor) -> ModalityTokens:
        """Run N sets of tokens [N, P, dim], each of one modality (int64 [N]), through all layers."""
        x = tokens + self.positions().index_select(0, modality)
        keys, values = [], []
        for layer in self.layers:
            x, _, key, value = layer(x)
            keys.append(key)
            values.append(value)
        return ModalityTokens(x, torch.stack(keys, dim=1), torch.stack(values, dim=1))

    def fuse(self, keys: Tensor, values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Run the fusion tokens of K subsets.

        Args:
            keys: [K, M, depth, heads, P, dim / heads]; those of modalities not in the subset are ignored.
            values: the same shape.
            present: bool [K, M].

        Returns the fusion tokens [K, P, dim] and the shares [K, M, P]: the attention that each token of a
        modality gets in the first layer, summed over heads and fusion tokens; 0 where absent, no gradient.
        """
        rows, modalities = present.shape
        tokens = self.fusion.shape[1]
        x = (self.fusion + self.positions()[-1]).expand(rows, -1, -1)
        visible = F.pad(present, (0, 1), value=True).repeat_interleave(tokens, dim=1)
        shares: Tensor | None = None
        for depth, layer in enumerate(self.layers):
            key = keys[:, :, depth].transpose(1, 2).flatten(2, 3)
            value = values[:, :, depth].transpose(1, 2).flatten(2, 3)
            x, attention, _, _ = layer(x, (key, value), visible)
            if shares is None:
                received = attention.detach().sum(dim=(1, 2)).unflatten(1, (modalities + 1, tokens))
                shares = received[:, :modalities]
        if shares is None:
            raise ValueError("the fusion transformer needs at least one layer")
        return x, shares


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each voxel of [N, C, *space]."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return x normalised."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class GroupedConv(nn.Conv3d):
    """A grouped convolution, on a GPU as the sum of depthwise ones, one for each of a group's inputs.

    There a convolution whose groups have several inputs is run group by group: 128 small kernels for one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space]."""
        if x.device.type != "cpu":
            return self.depthwise(x)
        # Of channels last with an extent of 2, torch 2.13's bf16 gradient of the weights is memory's garbage.
        return super().forward(x.contiguous() if 2 in x.shape[2:] else x)

    def depthwise(self, x: Tensor) -> Tensor:
        """Return the same, of depthwise convolutions."""
        inputs = self.weight.shape[1]
        x = x.contiguous()  # channels last, as tokens come, goes to cuDNN: group by group again
        parts = [self._conv_forward(x[:, i::inputs], self.weight[:, i : i + 1], None) for i in range(inputs)]
        total = sum(parts[1:], start=parts[0])
        return total if self.bias is None else total + self.bias.view(-1, 1, 1, 1).to(total.dtype)


def separable(channels: int, expansion: int, spatial_dims: int) -> nn.Sequential:
    """Return 1x1x1, grouped 3x3x3 and 1x1x1 convolutions with channel norms: [N, C, *] -> [N, C, *].

    In between there are `expansion` times as many channels, in `channels` groups.
    """
    inner = expansion * channels
    return nn.Sequential(
        PointConv(channels, inner),
        ChannelNorm(inner),
        nn.GELU(),
        GroupedConv(inner, inner, per_axis(3, spatial_dims), padding="same", groups=channels),
        ChannelNorm(inner),
        nn.GELU(),
        PointConv(inner, channels),
        ChannelNorm(channels),
    )


def each_modality(modules: nn.ModuleList, maps: Tensor, present: Tensor) -> Tensor:
    """Run module m on the rows that have modality m: [K, M, C, *] -> [K, M, C, *], zeros where absent."""
    columns, shown = [], host(present)
    for m, module in enumerate(modules):
        rows = on_device(shown[:, m].nonzero().squeeze(1), maps.device)
        made = module(maps[:, m].index_select(0, rows))
        columns.append(made.new_zeros((len(maps), *made.shape[1:])).index_copy(0, rows, made))
    return torch.stack(columns, dim=1)


class CrossLayer(nn.Module):
    """Spatial-weight cross attention: the decoder's channels look up those of the present modalities.

    A channel's query, key or value is its whole map, so the attention is [C, M C], whatever the size.
    """

    def __init__(self, modalities: int, channels: int, dropout: float, spatial_dims: int, last: bool):
        super().__init__()
        self.query = separable(channels, 1, spatial_dims)
        self.keys = nn.ModuleList(separable(channels, 1, spatial_dims) for _ in range(modalities))
        self.values = nn.ModuleList(separable(channels, 1, spatial_dims) for _ in range(modalities))
        self.project = separable(channels, 1, spatial_dims)
        self.dropout = nn.Dropout(dropout)
        self.forward_query = separable(channels, EXPANSION, spatial_dims)
        self.forward_maps = None if last else separable(channels, EXPANSION, spatial_dims)

    def forward(self, x: Tensor, maps: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Update the decoder's x [K, C, *] and the maps [K, M, C, *] of subsets `present` [K, M]."""
        found = F.scaled_dot_product_attention(
            self.query(x).flatten(2),
            each_modality(self.keys, maps, present).flatten(3).flatten(1, 2),
            each_modality(self.values, maps, present).flatten(3).flatten(1, 2),
            attn_mask=present.repeat_interleave(x.shape[1], dim=1).unsqueeze(1),
        )
        x = x + self.dropout(self.project(found.view_as(x)))
        x = F.gelu(x + self.forward_query(x))
        if self.forward_maps is not None:
            own = packed(maps, present)
            maps = unpacked(F.gelu(own + self.forward_maps(own)), present)
        return x, maps


class CrossAttention(nn.Module):
    """Layers of spatial-weight cross attention, refining the modalities' maps between them."""

    def __init__(self, modalities: int, channels: int, dropout: float, spatial_dims: int):
        super().__init__()
        self.layers = nn.ModuleList(
            CrossLayer(modalities, channels, dropout, spatial_dims, last=i == CROSS_LAYERS - 1)
            for i in range(CROSS_LAYERS)
        )

    def forward(self, x: Tensor, maps: Tensor, present: Tensor) -> Tensor:
        """Fuse the present modalities' maps [K, M, C, *] into the decoder's x [K, C, *] -> [K, C, *]."""
        for layer in self.layers:
            x, maps = layer(x, maps, present)
        return x
