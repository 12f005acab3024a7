"""ShaSpec: features that the modalities share, and specific ones (Wang et al., CVPR 2023, arXiv 2307.14126).

    net = backbones.create("shaspec", modalities=4, classes=4, regions=((1, 2, 3), (1, 3), (3,)))

One encoder sees every modality, and each has an encoder of its own. A modality's composed features are the
shared ones plus a convolution of both. An absent modality takes the shared features of a present one: the
first in evaluation, in training one drawn at random (as published). The decoder reads all modalities'
composed features, and for skips what the shared encoder makes of each, of an absent one what it makes of
zeros. Channels are regions. Beside the segmentation, the shared features of neighbouring modalities are drawn
together, and a classifier tells the modalities apart by their specific features.

Deviations:
- No gradient passes through the encodings of zeros: see `standardised.ResidualEncoder`. The published code
  lets it, and trains on complete cases before it drops modalities.
- BCE is the mean over regions, as the objective has it; the published loss sums it.
- Neighbours, and the first present modality, are those of the study's order.
- Crops whose edges are no multiples of 32 (16 along the third axis) work too: maps are cut to their skips.
- Numbers without effect on any output are not kept: see `standardised.DilatedPyramid`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones import noise
from backbones.blocks import per_axis
from backbones.contract import (
    Auxiliary,
    Backbone,
    Features,
    Fused,
    case_of_rows,
    encode_packed,
    packed,
    unpacked,
)
from backbones.heads import full_precision
from backbones.host import host, on_device
from backbones.rfnet import spread
from backbones.standardised import ResidualEncoder, StandardisedConv, Unit, basic_block
from bench_options import MethodOptions

SHARED_WEIGHT = 0.1
DOMAIN_WEIGHT = 0.02
DEEP = 4  # channels of an encoder's deepest map, times `width`
STEPS = ((4, 16), (2, 8), (1, 4), (0.5, 1))
"""Channels that each step of the decoder makes, deepest first, and those of its skip; times `width`."""


class SpecificEncoder(ResidualEncoder):
    """An encoder of which the deepest map and the mean are read."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, 1, *space] -> [N, 4 width, *deepest] and [N, 4 width, 1, 1, 1]."""
        return super().forward(x)[-2:]


class DecoderStep(nn.Module):
    """One step up: a transposed convolution, plus the fused skip, and a residual block."""

    def __init__(self, inputs: int, outputs: int, modalities: int, skips: int, spatial_dims: int):
        super().__init__()
        factor = per_axis(2, spatial_dims)
        self.rise = nn.ConvTranspose3d(inputs, outputs, factor, factor, bias=False)
        self.skip = Unit(modalities * skips, outputs, 1)
        self.block = basic_block(outputs, spatial_dims)

    def forward(self, x: Tensor, mixed: Tensor) -> Tensor:
        """[K, inputs, *space / 2], and `mix` of the skips -> [K, outputs, *space]."""
        length, height, depth = mixed.shape[2:]
        return self.block(self.rise(x)[:, :, :length, :height, :depth] + self.skip.finish(mixed))

    def mix(self, level: Tensor, blank: Tensor | None, present: Tensor, member: Tensor) -> Tensor:
        """Convolve the concatenated skips of K subsets, as a sum of one product for each modality.

        Args:
            level: [B, M, C, *space].
            blank: [1, C, *space], the skip of what is absent; None: nothing is.
            present: float [K, M].
            member: float [K, B], one-hot.

        Returns [K, outputs, *space].
        """
        modalities, channels = level.shape[1:3]
        weight = self.skip.conv.standardised().view(-1, modalities, channels).transpose(0, 1)
        weight = weight.to(level.dtype)
        products = weight @ level.flatten(3)
        mixed = spread(present, member) @ products.flatten(0, 1).flatten(1)
        if blank is not None:
            mixed = mixed + (1 - present) @ (weight @ blank.flatten(2)).flatten(1)
        return mixed.view(len(present), -1, *level.shape[3:])


class ShaSpec(Backbone):
    """ShaSpec, without side outputs and auxiliary decoder.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        spatial_dims: 3, or 2 for volumes [B, M, X, Y, 1].
        regions: the classes of each region.

    The network is fully convolutional: volumes need an even number of voxels along the first two axes. Along
    these the first convolution halves them and along the third it does not: the published network is for
    160 x 160 x 80 voxels.
    """

    class Options(MethodOptions):
        """`width`: channels of the first convolution (64: as published), even."""

        width: int = Field(64, ge=2, multiple_of=2)

    has_unimodal = False

    def __init__(
        self,
        modalities: int,
        classes: int,
        options: Options,
        spatial_dims: int = 3,
        regions: tuple[tuple[int, ...], ...] = (),
    ):
        super().__init__(modalities, classes, spatial_dims, regions)
        width = options.width
        deep = DEEP * width
        self.shared = ResidualEncoder(width, spatial_dims)
        self.specific = nn.ModuleList(SpecificEncoder(width, spatial_dims) for _ in range(modalities))
        self.compose = StandardisedConv(2 * deep, deep, 3, spatial_dims=spatial_dims)
        self.domain = nn.Linear(deep, modalities)
        self.steps = nn.ModuleList()
        inputs = modalities * deep
        for outputs, skips in STEPS:
            made = int(outputs * width)
            self.steps.append(DecoderStep(inputs, made, modalities, skips * width, spatial_dims))
            inputs = made
        self.head = nn.Conv3d(inputs, self.heads.channels, 1, bias=False)
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality by itself: see the contract.

        The levels are the skips and the composed features; `extra` has the `shared` features, and the mean of
        each modality's `specific` ones. Raises `ValueError` for an odd number of voxels.
        """
        if any(edge % 2 for edge in volumes.shape[2:4]):
            raise ValueError(
                f"volumes of {tuple(volumes.shape[2:])} voxels: shaspec takes even numbers along the first "
                "two axes"
            )
        maps = self.shared(packed(volumes.unsqueeze(2), available))
        *skips, shared, _ = (unpacked(each, available) for each in maps)
        specific, mean = encode_packed(self.specific, volumes, available)
        both = torch.cat((shared, specific), dim=2).flatten(0, 1)
        composed = shared + self.compose(both).unflatten(0, available.shape)
        return Features([*skips, composed], available, {"shared": shared, "specific": mean})

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets: see the contract. `extra` has the `shared` features of all M modalities."""
        case = case_of_rows(features, present, case)
        *skips, composed = features.levels
        blanks: list[Tensor | None] = [None] * len(skips)
        shared = features.extra["shared"].index_select(0, case)
        shown = present[:, :, None, None, None, None]
        x = composed.index_select(0, case)
        if not host(present).all():
            *levels, blank, _ = _of_zeros(self.shared, features)
            blanks = [*levels]
            donor = shared[on_device(range(len(present)), present.device), self._donors(present, case)]
            x = torch.where(shown, x, donor.unsqueeze(1))
            shared = torch.where(shown, shared, blank.unsqueeze(1))
        member = F.one_hot(case, len(features.available)).to(composed.dtype)
        weights = present.to(composed.dtype)
        x = x.flatten(1, 2)
        for step, level, empty in zip(self.steps, reversed(skips), reversed(blanks), strict=True):
            assert isinstance(step, DecoderStep)
            x = step(x, step.mix(level, empty, weights, member))
        return Fused(self._enlarge(self.head(x)), [], self._enlarge(x), {"shared": shared})

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        """Return `shared`, how far neighbours' shared features lie apart, and `domain`, a cross entropy.

        `shared` is the sum over the ring of neighbours of the mean absolute difference, `domain` the mean
        over the modalities. Absent ones count with what the encoders make of zeros, as published.
        """
        shared = full_precision(fused.extra["shared"])
        apart = (shared - shared.roll(-1, dims=1)).abs().flatten(2).mean(dim=2).sum()
        logits = full_precision(self.domain(self._specific(features, batch.present).flatten(2)))
        of_all = torch.arange(self.modalities, device=logits.device).expand(len(logits), -1)
        domain = F.cross_entropy(logits.transpose(1, 2), of_all, reduction="sum") / self.modalities
        return {"shared": Auxiliary(apart, SHARED_WEIGHT), "domain": Auxiliary(domain, DOMAIN_WEIGHT)}

    def _specific(self, features: Features, present: Tensor) -> Tensor:
        """The mean of each modality's specific features [B, M, C, 1, 1, 1], where absent of zeros."""
        specific = features.extra["specific"]
        columns = list(specific.unbind(dim=1))
        for m in (~host(present)).any(dim=0).nonzero().squeeze(1).tolist():
            _, blank = _of_zeros(self.specific[m], features)
            columns[m] = torch.where(present[:, m, None, None, None, None], columns[m], blank)
        return torch.stack(columns, dim=1)

    def _donors(self, present: Tensor, case: Tensor) -> Tensor:
        """The modality that lends each row its shared features, int64 [K]."""
        order = -torch.arange(self.modalities, device=present.device, dtype=torch.float32)
        order = order.expand(len(present), -1)
        if self.training:
            with noise.rows(case, [str(row) for row in host(present).tolist()]):
                order = noise.normal(order, "donor")
        return order.masked_fill(~present, -torch.inf).argmax(dim=1)

    def _enlarge(self, x: Tensor) -> Tensor:
        """[K, C, X/2, Y/2, Z] -> [K, C, X, Y, Z]."""
        return F.interpolate(x, scale_factor=(2.0, 2.0, 1.0), mode="trilinear", align_corners=False)


@torch.no_grad()
def _of_zeros(encoder: nn.Module, features: Features) -> list[Tensor]:
    """Return the maps, [1, C_l, *space_l], of a volume of zeros of the size of what was encoded."""
    stem = features.levels[0]
    length, height, depth = stem.shape[3:]
    maps: list[Tensor] = encoder(stem.new_zeros(1, 1, 2 * length, 2 * height, depth))
    return maps
