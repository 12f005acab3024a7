"""SFusion on RobustSeg's network: ``backbones.create("sfusion", modalities=4, classes=4, crop=128)``.

At each level the present modalities' maps are pooled to tokens, which attend to each other in a transformer;
what becomes of a modality's tokens, enlarged again, weights its map by a softmax over the modalities. Only
what is present takes part, so that no map stands for an absent modality. Encoders and decoders are those of
RobustSeg in the authors' form. Source: Liu et al., "SFusion: Self-attention Based N-to-One Multimodal Fusion
Block", MICCAI 2023, its SF_FDGF; facts of the authors' code (scut-cszcl/SFusion, TF_RMBTS).

What deviates: at crops other than multiples of 64 an axis has fewer than 8 tokens, as many as divide it; the
four heads are fewer where they do not divide the width; the layers of a transformer start from draws of their
own, not from equal ones; the objective supplies the segmentation loss.
"""

from math import gcd, prod

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones import noise
from backbones.blocks import per_axis
from backbones.contract import Features
from backbones.disentangled import LEVELS, STRIDE, Disentangled, Manner
from backbones.host import host, on_device
from bench_edges import Edges, space_of
from bench_errors import InputError
from bench_options import MethodOptions

TOKENS, LEAST_TOKENS = 8, 4  # per axis
DEPTH = 8
HEADS = 4
EXPANSION = 4  # of the channels within a layer's perceptron
RATE = 0.1  # of dropout within the transformers
MANNER = Manner(
    padding="constant",
    even_pad=2,
    interpolation="trilinear",
    slope=0.01,
    epsilon=1e-5,
    affine=False,
    image_slope=0.01,
    image_norms=True,
    correction=1,
    present_images=True,
)


class TokenLayer(nn.Module):
    """A transformer layer with norms after its residual sums: attention, then a two-layer perceptron."""

    def __init__(self, dim: int, label: str):
        super().__init__()
        self.heads = gcd(HEADS, dim)
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, EXPANSION * dim), nn.Linear(EXPANSION * dim, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        parts = ("attention", "attended", "hidden", "perceptron")
        self.dropouts = nn.ModuleList(noise.Dropout(RATE, f"{label} {part}") for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens [N, P, dim]."""
        drop_attention, drop_attended, drop_hidden, drop_last = self.dropouts
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        if self.training:
            scores = (query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5
            attended = drop_attention(scores.softmax(dim=-1)) @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value)
        x = self.norms[0](x + drop_attended(self.project(attended.transpose(1, 2).flatten(2))))
        hidden = drop_hidden(F.relu(self.widen(x)))
        return self.norms[1](x + drop_last(self.narrow(hidden)))


class TokenFusion(nn.Module):
    """Weights the present modalities' maps of a level by what their tokens make of each other.

    Args:
        modalities: number of modalities M.
        channels: of the level's maps, C.
        level: number of the level.
        grid: tokens per axis, P in all.
        scale: voxels per token and axis.
    """

    def __init__(
        self,
        modalities: int,
        channels: int,
        level: int,
        grid: tuple[int, int, int],
        scale: tuple[int, int, int],
    ):
        super().__init__()
        self.grid, self.scale = grid, scale
        self.dropout = noise.Dropout(RATE, f"level {level} tokens")
        self.layers = nn.Sequential(
            *(TokenLayer(channels, f"level {level} layer {layer}") for layer in range(DEPTH))
        )
        self.enlarge = nn.Linear(channels, channels * prod(scale), bias=False)
        self.positions: Tensor
        table = sinusoids(modalities * prod(grid), channels)
        self.register_buffer("positions", table, persistent=False)

    def forward(self, level: Tensor, present: Tensor, case: Tensor) -> Tensor:
        """Fuse a level [B, M, C, *space] for K subsets: [K, C, *space]; see `Disentangled`."""
        maps = level.flatten(0, 1)
        tokens = F.adaptive_avg_pool3d(maps, self.grid).flatten(2).transpose(1, 2)
        shown, items, device = host(present), host(case), maps.device
        numbers, groups, fused = shown.sum(dim=1), [], []
        for number in numbers.unique().tolist():
            group = (numbers == number).nonzero().squeeze(1)
            subsets, cases = shown.index_select(0, group), items.index_select(0, group)
            modality = subsets.nonzero()[:, 1].view(-1, number)
            pairs = on_device((cases[:, None] * level.shape[1] + modality).flatten(), device)
            chosen = maps.index_select(0, pairs).unflatten(0, (-1, number))
            if number > 1:  # the weight of a lone modality is 1
                with noise.rows(cases, [str(subset) for subset in subsets.tolist()]):
                    weights = self._weights(tokens.index_select(0, pairs).unflatten(0, (-1, number)))
                chosen = chosen * weights
            fused.append(chosen.sum(dim=1))
            groups.append(group)
        return torch.cat(fused).index_select(0, on_device(torch.cat(groups).argsort(), device))

    def _weights(self, tokens: Tensor) -> Tensor:
        """Tokens [N, n, P, C] of n modalities -> their weights [N, n, C, *space], which sum to 1."""
        rows, number = tokens.shape[:2]
        x = tokens.flatten(1, 2)
        x = self.layers(self.dropout(x + self.positions[: x.shape[1]]))
        x = self.enlarge(x).view(rows, number, *self.grid, *self.scale, -1)
        x = x.permute(0, 1, 8, 2, 5, 3, 6, 4, 7)  # each token becomes the voxels that it was pooled from
        space = [n * factor for n, factor in zip(self.grid, self.scale, strict=True)]
        return x.reshape(rows, number, -1, *space).softmax(dim=1)


def sinusoids(positions: int, channels: int) -> Tensor:
    """Return the positional encoding of Vaswani et al. (2017): float32 [positions, channels]."""
    position = torch.arange(positions, dtype=torch.float64)[:, None]
    channel = torch.arange(channels, dtype=torch.float64)
    angle = position / 10000 ** (2 * (channel // 2) / channels)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


def tokens_per_axis(crop: int) -> int:
    """Return into how many tokens an axis is cut: up to 8, as many as divide the deepest maps.

    Raises `InputError` where these are fewer than 4.
    """
    deepest = crop // STRIDE
    fitting = [n for n in range(LEAST_TOKENS, TOKENS + 1) if deepest and crop == STRIDE * deepest]
    fitting = [n for n in fitting if deepest % n == 0]
    if not fitting:
        edges = ", ".join(str(STRIDE * n) for n in range(LEAST_TOKENS, TOKENS + 1))
        raise InputError(f"crop {crop} does not fit sfusion: give a multiple of one of {edges}")
    return fitting[-1]


class SFusion(Disentangled):
    """SFusion; volumes have the size of the training crop. No side outputs.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        crop: edge or edges of the volumes in voxels.
        spatial_dims: 3, or 2 for volumes [B, M, crop, crop, 1].

    Raises `InputError` for a `crop` that cannot be cut into tokens.
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level (8: the authors' default).

        `dropout`: rate in the content encoders; that within the transformers is 0.1.
        """

        width: int = Field(8, ge=2, multiple_of=2)
        dropout: float = Field(0.3, ge=0, lt=1)

    def __init__(
        self, modalities: int, classes: int, options: Options, crop: Edges = 128, spatial_dims: int = 3
    ):
        width = options.width
        super().__init__(modalities, classes, width, 4 * width, options.dropout, MANNER, spatial_dims)
        self.space = x, y, z = space_of(crop, spatial_dims)
        grid = tokens_per_axis(x), tokens_per_axis(y), tokens_per_axis(z) if spatial_dims == 3 else 1
        for level in range(LEVELS):
            strides = per_axis(2**level, spatial_dims)
            i, j, k = (e // s // n for e, s, n in zip(self.space, strides, grid, strict=True))
            self.fusions.append(TokenFusion(modalities, width * 2**level, level, grid, (i, j, k)))
        if modalities == 1:
            self.fusions.requires_grad_(False)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode the content of each available modality: see the contract.

        Raises `ValueError` for another size than `crop`.
        """
        if tuple(volumes.shape[2:]) != self.space:
            raise ValueError(f"volumes of {tuple(volumes.shape[2:])} voxels: this sfusion takes {self.space}")
        return super().encode(volumes, available)
