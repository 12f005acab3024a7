"""What RobustSeg and SFusion share: modalities taken apart into content and style, images put together again.

    class RobustSeg(Disentangled):
        def __init__(self, modalities: int, classes: int, options: Options, spatial_dims: int = 3):
            super().__init__(modalities, classes, options.width, options.dropout, MANNER, spatial_dims)
            self.fusions = nn.ModuleList(...)        # one for each level, see `Disentangled`

A content encoder of each modality has four levels; `fusions` merge each level's maps of the present
modalities; a decoder segments the fused maps. In training, a style encoder of each modality reads its image
down to 8 numbers, and an image decoder rebuilds the image from these and the deepest fused map. Source of the
structure: Chen et al., MICCAI 2019 (see `backbones.robustseg`). SFusion's authors wrote the layers anew, a
little otherwise: `Manner` says in what.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import noise
from backbones.blocks import PaddedConv, PointConv, per_axis
from backbones.contract import Auxiliary, Backbone, Features, Fused, encode_packed
from backbones.cpu import PaddingMode
from backbones.heads import full_precision
from backbones.host import host, on_device

LEVELS = 4
STRIDE = 2 ** (LEVELS - 1)  # from the finest to the deepest level, per axis
STYLE = 8  # numbers that a style consists of
STYLE_CHANNELS = (1, 2, 4, 4, 4)  # of a style encoder's layers, times its width
ADAPTIVE_BLOCKS = 4
LEAST_VARIANCE = 1e-20  # of a style's deviation, for its logarithm


class Manner(NamedTuple):
    """In what the layers of the two networks differ.

    Attributes:
        padding: how convolutions continue an image.
        even_pad: by how many voxels those with kernels of 4 do.
        interpolation: of upsampling, between the middles of voxels: "nearest" or "trilinear".
        slope: of the leaky ReLU after an instance norm.
        epsilon: added to the variance by an instance norm.
        affine: whether an instance norm has weights.
        image_slope: of the activations in style encoders and image decoders; 0: ReLU.
        image_norms: whether each convolution of these is followed by an instance norm and a leaky ReLU, and
            an image is scaled by an instance norm; else it is scaled by a norm over all channels.
        correction: of the variance that adaptive instance norm divides by; 1: unbiased.
        present_images: rebuild the images of the present modalities only, not all that a case has.
    """

    padding: PaddingMode
    even_pad: int
    interpolation: str
    slope: float
    epsilon: float
    affine: bool
    image_slope: float
    image_norms: bool
    correction: int
    present_images: bool


class WideConv(nn.Conv3d):
    """A convolution of any kernel, with the padding as a step of its own (see `blocks.PaddedConv`)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int,
        pad: int,
        spatial_dims: int,
        mode: PaddingMode,
    ):
        super().__init__(inputs, outputs, per_axis(size, spatial_dims), stride=per_axis(stride, spatial_dims))
        self.mode = mode
        flat = [pad] * 4
        self.both_ends = [0, 0, *flat] if spatial_dims == 2 else [pad, pad, *flat]

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        return super().forward(F.pad(x, self.both_ends, mode=self.mode))


class Norm(nn.GroupNorm):
    """An instance norm of [N, C, *space], with or without weights, as a group norm: quick on a CPU."""

    def __init__(self, channels: int, manner: Manner):
        super().__init__(channels, channels, manner.epsilon, manner.affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel of x [N, C, *space] over more than one voxel."""
        if x.device.type == "cpu":
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)  # keeps half precision


class Unit(nn.Module):
    """A convolution, then what is asked for of dropout, instance norm and (leaky) ReLU, in this order."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        manner: Manner,
        spatial_dims: int,
        stride: int = 1,
        norm: bool = True,
        slope: float | None = None,
        dropout: noise.Dropout | None = None,
    ):
        super().__init__()
        self.conv: nn.Conv3d
        if size == 1:
            self.conv = PointConv(inputs, outputs)
        elif size == 3:
            self.conv = PaddedConv(inputs, outputs, stride, spatial_dims, manner.padding)
        else:
            pad = size // 2 if size % 2 else manner.even_pad
            self.conv = WideConv(inputs, outputs, size, stride, pad, spatial_dims, manner.padding)
        self.dropout = dropout
        self.norm = Norm(outputs, manner) if norm else None
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        x = self.conv(x)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.finish(x)

    def finish(self, x: Tensor) -> Tensor:
        """Normalise and activate what is convolved, [N, outputs, *space]."""
        if self.norm is not None:
            x = self.norm(x)
        return x if self.slope is None else F.leaky_relu(x, self.slope, inplace=True)


class ContentLevel(nn.Module):
    """An entry convolution (strided below the first level), then two with a residual sum."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        manner: Manner,
        spatial_dims: int,
        dropout: noise.Dropout,
    ):
        super().__init__()
        slope = manner.slope
        self.entry = Unit(inputs, outputs, 3, manner, spatial_dims, stride, slope=slope)
        self.residual = nn.Sequential(
            Unit(outputs, outputs, 3, manner, spatial_dims, slope=slope, dropout=dropout),
            Unit(outputs, outputs, 3, manner, spatial_dims, slope=slope),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, *space] -> [N, outputs, *space / stride]."""
        x = self.entry(x)
        return x + self.residual(x)


class ContentEncoder(nn.Module):
    """One modality's encoder: four levels of width, 2 width, 4 width and 8 width channels."""

    def __init__(self, width: int, dropout: float, manner: Manner, spatial_dims: int):
        super().__init__()
        channels = [1, *(width * 2**level for level in range(LEVELS))]
        self.levels = nn.ModuleList(
            ContentLevel(
                channels[i],
                channels[i + 1],
                1 if i == 0 else 2,
                manner,
                spatial_dims,
                noise.Dropout(dropout, f"content {i}"),
            )
            for i in range(LEVELS)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, 1, *space] -> the levels, finest first, each [N, width * 2^l, *space / 2^l]."""
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return maps


class StyleEncoder(nn.Sequential):
    """One modality's style: [N, 1, *space], at least 16 voxels an axis -> [N, 8, 1, 1, 1]."""

    def __init__(self, width: int, manner: Manner, spatial_dims: int):
        channels = [1, *(width * factor for factor in STYLE_CHANNELS)]
        sizes = [(7, 1), *[(4, 2)] * (len(STYLE_CHANNELS) - 1)]
        layers: list[nn.Module] = [
            Unit(
                channels[i],
                channels[i + 1],
                size,
                manner,
                spatial_dims,
                stride,
                norm=manner.image_norms,
                slope=manner.image_slope,
            )
            for i, (size, stride) in enumerate(sizes)
        ]
        super().__init__(*layers, nn.AdaptiveAvgPool3d(1), PointConv(channels[-1], STYLE))


class AdaptiveBlock(nn.Module):
    """Two convolutions in a residual sum, each followed by adaptive instance norm (Huang, Belongie 2017)."""

    def __init__(self, channels: int, manner: Manner, spatial_dims: int):
        super().__init__()
        self.manner = manner
        self.first, self.second = (
            Unit(
                channels,
                channels,
                3,
                manner,
                spatial_dims,
                norm=manner.image_norms,
                slope=manner.slope if manner.image_norms else None,
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """x [N, C, *space], scale and shift [N, C, 1, 1, 1]."""
        y = F.leaky_relu(self._adapt(self.first(x), scale, shift), self.manner.image_slope)
        return x + self._adapt(self.second(y), scale, shift)

    def _adapt(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        correction = self.manner.correction
        variance, mean = torch.var_mean(full_precision(x), (2, 3, 4), correction=correction, keepdim=True)
        return scale * ((x - mean) * (variance + 1e-5).rsqrt()) + shift


class ImageDecoder(nn.Module):
    """Rebuilds one modality's image from its style and the deepest fused map."""

    def __init__(self, channels: int, manner: Manner, spatial_dims: int):
        super().__init__()
        self.manner, self.spatial_dims = manner, spatial_dims
        norms, slope = manner.image_norms, manner.slope if manner.image_norms else None
        self.hidden = nn.ModuleList([nn.Linear(STYLE, channels), nn.Linear(channels, channels)])
        self.mean, self.deviation = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(
            AdaptiveBlock(channels, manner, spatial_dims) for _ in range(ADAPTIVE_BLOCKS)
        )
        halves = [channels // 2**i for i in range(LEVELS)]
        self.convolutions = nn.ModuleList(
            Unit(wide, narrow, 5, manner, spatial_dims, norm=norms, slope=slope)
            for wide, narrow in pairwise(halves)
        )
        self.norms = nn.ModuleList(
            Norm(c, manner) if norms else nn.GroupNorm(1, c, eps=1e-12) for c in halves[1:]
        )
        self.last = Unit(halves[-1], 1, 7, manner, spatial_dims, norm=norms, slope=slope)

    def forward(self, style: Tensor, content: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rebuild images.

        Args:
            style: [N, 8, 1, 1, 1].
            content: [N, C, *space / 8].

        Returns the images [N, 1, *space], and what scales and shifts the content, both [N, C].
        """
        slope = self.manner.image_slope
        hidden = style.flatten(1)
        for layer in self.hidden:
            hidden = F.leaky_relu(layer(hidden), slope)
        mean, deviation = self.mean(hidden), self.deviation(hidden)
        x = content
        for block in self.blocks:
            x = block(x, mean[..., None, None, None], deviation[..., None, None, None])
        for unit, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(unit(enlarged(x, self.manner, self.spatial_dims)))
            x = F.leaky_relu(x, slope, inplace=True)
        return self.last(x), mean, deviation


class MaskDecoder(nn.Module):
    """Decodes the fused maps, deepest first, to the finest features."""

    def __init__(self, width: int, manner: Manner, spatial_dims: int):
        super().__init__()
        self.manner, self.spatial_dims = manner, spatial_dims

        def unit(inputs: int, outputs: int, size: int) -> Unit:
            return Unit(inputs, outputs, size, manner, spatial_dims, slope=manner.slope)

        channels = [width * 2**level for level in range(LEVELS - 1)]
        self.rising = nn.ModuleList(unit(2 * c, c, 3) for c in channels)
        self.joining = nn.ModuleList(unit(2 * c, c, 3) for c in channels)
        self.mixing = nn.ModuleList(unit(c, c, 1) for c in channels)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels, finest first, each [N, width * 2^l, *space / 2^l] -> [N, width, *space]."""
        x = levels[-1]
        for i in reversed(range(LEVELS - 1)):
            risen = self.rising[i](enlarged(x, self.manner, self.spatial_dims))
            x = self.mixing[i](self.joining[i](torch.cat((risen, levels[i]), dim=1)))
        return x


def enlarged(x: Tensor, manner: Manner, spatial_dims: int) -> Tensor:
    """Double [N, C, *space] per axis, by `manner.interpolation`."""
    corners = None if manner.interpolation == "nearest" else False
    scale = tuple(float(f) for f in per_axis(2, spatial_dims))
    return F.interpolate(x, scale_factor=scale, mode=manner.interpolation, align_corners=corners)


class Disentangled(Backbone):
    """A network of these parts; its subclass gives `fusions`.

    Each of the four `fusions` maps a level [B, M, C, *space], the subsets bool [K, M] and the case int64 [K]
    of each to fused maps [K, C, *space].

    Auxiliary losses, summed over modalities as published, at a weight of 0.1 each: `reconstruction`, the mean
    absolute difference to the images, and `style_kl`, the KL divergence of N(mean, deviation^2) from N(0, 1),
    summed over the channels, where mean and deviation are what scales and shifts the content.
    """

    LOSS_WEIGHT: ClassVar[float] = 0.1
    has_unimodal = False

    def __init__(
        self,
        modalities: int,
        classes: int,
        width: int,
        style_width: int,
        dropout: float,
        manner: Manner,
        spatial_dims: int,
    ):
        super().__init__(modalities, classes, spatial_dims)
        self.manner = manner
        self.encoders, self.style_encoders, self.image_decoders = (
            nn.ModuleList(make() for _ in range(modalities))
            for make in (
                lambda: ContentEncoder(width, dropout, manner, spatial_dims),
                lambda: StyleEncoder(style_width, manner, spatial_dims),
                lambda: ImageDecoder(STRIDE * width, manner, spatial_dims),
            )
        )
        self.fusions = nn.ModuleList()
        self.decoder = MaskDecoder(width, manner, spatial_dims)
        self.head = PointConv(width, classes)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode the content of each available modality: see the contract.

        Raises `ValueError` for volumes of other than multiples of 8 voxels.
        """
        edges = volumes.shape[2 : 2 + self.spatial_dims]
        if any(n % STRIDE for n in edges):
            raise ValueError(f"volumes of {tuple(edges)} voxels: give multiples of {STRIDE}")
        return Features(encode_packed(self.encoders, volumes, available), available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets: see the contract. `extra` holds the deepest map, `content` [K, C, *space / 8]."""
        if case is None:
            case = on_device(range(len(features.available)), present.device)
        if len(case) != len(present):
            raise ValueError(f"{len(present)} subsets for {len(case)} cases: give the case of each subset")
        maps = [
            fusion(level, present, case) for fusion, level in zip(self.fusions, features.levels, strict=True)
        ]
        x = self.decoder(maps)
        return Fused(self.head(x), [], x, {"content": maps[-1]})

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        """Rebuild images from the fused content and the style of each: see the class and the contract."""
        shown = batch.present if self.manner.present_images else getattr(batch, "available", batch.present)
        there = host(shown)
        content = fused.extra["content"]
        image_loss = style_loss = full_precision(content).new_zeros(())
        for m in range(self.modalities):
            items = on_device(there[:, m].nonzero().squeeze(1), content.device)
            if len(items) == 0:
                continue
            volumes = batch.volumes.index_select(0, items)[:, m : m + 1]
            image, *style = self.image_decoders[m](
                self.style_encoders[m](volumes), content.index_select(0, items)
            )
            mean, deviation = map(full_precision, style)
            variance = deviation.square()
            divergence = mean.square() + variance - 1 - variance.clamp(min=LEAST_VARIANCE).log()
            style_loss = style_loss + 0.5 * divergence.sum()
            image_loss = image_loss + (image - volumes).abs().flatten(1).mean(dim=1).sum()
        return {
            "reconstruction": Auxiliary(image_loss, self.LOSS_WEIGHT),
            "style_kl": Auxiliary(style_loss, self.LOSS_WEIGHT),
        }
