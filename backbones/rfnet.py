"""RFNet: region-aware fusion of modalities (Ding et al., ICCV 2021), as PASSION (arXiv 2407.14796) uses it.

    net = backbones.create("rfnet", modalities=4, classes=4)
    logits = net(volumes, present)

At each level a map of class probabilities, predicted from the present modalities, divides the features into
regions; each region weights the modalities by its own mean features; the fused regions and a shortcut make
the level's fused features. A decoder takes them from the deepest level to the finest.

K subsets are fused at once, and what does not depend on the subset is computed once per case: a 1x1
convolution of concatenated modalities is a sum of one product per modality, and region means and weighted
sums over modalities are matrix products with the features.
"""

from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones.blocks import (
    SLOPE,
    Blocks,
    ConvBlock,
    DecoderStage,
    ModalityEncoder,
    PointConv,
    UnimodalDecoder,
    decode_packed,
    kaiming_init,
    norm_act,
)
from backbones.contract import Backbone, Features, Fused, case_of_rows, encode_packed
from backbones.heads import full_precision
from backbones.weights import shared_released_name
from bench_options import MethodOptions

DEPTH = 4
REGION_CHANNELS = 16  # before a level's class logits
WEIGHT_CHANNELS = 128  # hidden, where a region's means become its modality weights

# The released names of a RegionLevel's parts: its two blocks, the two weight layers of each class, and the
# sequence of layers that each other part belongs to, with the part's first place in it.
_RELEASED_BLOCKS = {"map": "prm_generator", "fusion": "RFM"}
_WEIGHT_LAYERS = {"hidden": 0, "weights": 2}
_RELEASED_SEQUENCES = {
    ("map", "modalities"): ("embedding_layer", 0),
    ("map", "embedding"): ("embedding_layer", 1),
    ("map", "logits"): ("prm_layer", 0),
    ("fusion", "modalities"): ("short_cut", 0),
    ("fusion", "shortcut"): ("short_cut", 1),
    ("fusion", "regions"): ("region_fusion.fusion_layer", 0),
}


def spread(weights: Tensor, member: Tensor) -> Tensor:
    """Place each row's weights of modalities [K, ..., M] at its case: [K, ..., B * M], zero elsewhere.

    `member` [K, B] is one-hot. Times features [B * M, n] this sums over the modalities of the row's own case.
    """
    return torch.einsum("k...m,kb->k...bm", weights, member).flatten(-2)


def modality_products(layers: list[PointConv], features: Tensor) -> Tensor:
    """Multiply each modality of [B, M, C, V] with its share of 1x1 convolutions of M * C channels.

    Returns [B, M, O, V], O being the output channels of all `layers`; their sum over modalities is the
    convolution without its bias.
    """
    modalities, channels = features.shape[1:3]
    weight = torch.cat([layer.weight for layer in layers]).view(-1, modalities, channels)
    return torch.matmul(weight.transpose(0, 1), features)


def region_means(features: Tensor, regions: Tensor, present: Tensor, member: Tensor) -> Tensor:
    """Return the means of the row's modalities over each region, and its size: [K, classes, M * C + 1].

    Absent modalities have means of 0. Arguments: see `RegionFusion.modality_weights`.
    """
    batch, modalities, channels, voxels = features.shape
    rows, classes, _ = regions.shape
    sums = torch.matmul(regions.flatten(0, 1), features.reshape(-1, voxels).T)
    sums = sums.view(rows, classes, batch, modalities, channels)
    own = torch.einsum("krbmc,kb,km->krmc", sums, member, present)
    size = regions.mean(dim=2, keepdim=True) + 1e-7
    return torch.cat((own.flatten(2) / (voxels * size), size), dim=2)


class RegionMap(nn.Module):
    """Predicts the classes at one level, from the modalities and, above the deepest level, the decoder."""

    def __init__(self, modalities: int, channels: int, classes: int, deepest: bool, spatial_dims: int):
        super().__init__()
        narrow = max(1, channels // 4)
        self.modalities = PointConv(modalities * channels, narrow)
        self.embedding = Blocks(
            ConvBlock(narrow, narrow, 3, spatial_dims=spatial_dims), ConvBlock(narrow, channels, 1)
        )
        self.logits = nn.Sequential(
            ConvBlock(channels if deepest else 2 * channels, REGION_CHANNELS, 1),
            PointConv(REGION_CHANNELS, classes),
        )

    def forward(self, mixed: Tensor, decoded: Tensor | None) -> Tensor:
        """Return logits [K, classes, *space].

        Args:
            mixed: [K, channels / 4, *space], the first convolution's output.
            decoded: [K, channels, *space] from the deeper level; None at the deepest.
        """
        embedded = self.embedding(norm_act(mixed))
        return self.logits(embedded if decoded is None else torch.cat((decoded, embedded), dim=1))


class RegionFusion(nn.Module):
    """Fuses the modalities of one level region by region, with a shortcut beside it."""

    def __init__(self, modalities: int, channels: int, classes: int, spatial_dims: int):
        super().__init__()
        half = channels // 2
        self.modalities = PointConv(modalities * channels, channels)
        self.shortcut = Blocks(
            ConvBlock(channels, channels, 3, spatial_dims=spatial_dims), ConvBlock(channels, half, 1)
        )
        # One group of channels per class: each region has its own weight layers.
        inputs = classes * (modalities * channels + 1)
        self.hidden = nn.Conv3d(inputs, classes * WEIGHT_CHANNELS, 1, groups=classes)
        self.weights = nn.Conv3d(classes * WEIGHT_CHANNELS, classes * modalities, 1, groups=classes)
        self.regions = Blocks(
            ConvBlock(classes * channels, channels, 1),
            ConvBlock(channels, channels, 3, spatial_dims=spatial_dims),
            ConvBlock(channels, half, 1),
        )

    def modality_weights(self, features: Tensor, regions: Tensor, present: Tensor, member: Tensor) -> Tensor:
        """Weigh each modality in each region by the means over it: [K, classes, M] in (0, 1), 0 where absent.

        Args:
            features: [B, M, C, V].
            regions: class probabilities [K, classes, V].
            present: float [K, M].
            member: float [K, B], one-hot.
        """
        rows, classes, _ = regions.shape
        given = features, regions, present, member
        if features.dtype == torch.float16:  # ends at 65,504, less than what sums over voxels come to
            with torch.autocast(features.device.type, enabled=False):
                means = region_means(*(full_precision(each) for each in given))
        else:
            means = region_means(*given)
        hidden = self.hidden(means.reshape(rows, -1, 1, 1, 1))
        weights = self.weights(F.leaky_relu(hidden, SLOPE)).view(rows, classes, -1)
        return torch.sigmoid(weights) * present[:, None]

    def forward(
        self, features: Tensor, regions: Tensor, mixed: Tensor, present: Tensor, member: Tensor
    ) -> Tensor:
        """Return the fused features [K, channels, *space]; the regions' half of the channels comes first.

        Args:
            features: [B, M, channels, V].
            regions: class probabilities [K, classes, *space].
            mixed: [K, channels, *space], the shortcut's first convolution's output.
            present: float [K, M].
            member: float [K, B], one-hot.
        """
        space = regions.shape[2:]
        regions = regions.flatten(2)
        weights = self.modality_weights(features, regions, present, member)
        summed = spread(weights, member).flatten(0, 1) @ features.flatten(0, 1).flatten(1)
        gated = summed.view(*regions.shape[:2], *features.shape[2:]) * regions[:, :, None]
        fused = self.regions(gated.flatten(1, 2).unflatten(2, space))
        return torch.cat((fused, self.shortcut(norm_act(mixed))), dim=1)


class RegionLevel(nn.Module):
    """One level of the fused decoder: predicts the classes, then fuses the modalities region by region."""

    def __init__(self, modalities: int, channels: int, classes: int, deepest: bool, spatial_dims: int):
        super().__init__()
        self.map = RegionMap(modalities, channels, classes, deepest, spatial_dims)
        self.fusion = RegionFusion(modalities, channels, classes, spatial_dims)

    def forward(
        self, level: Tensor, decoded: Tensor | None, present: Tensor, member: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the class logits [K, classes, *space] and the fused features [K, channels, *space].

        Args:
            level: [B, M, channels, *space].
            decoded: [K, channels, *space] from the deeper level; None at the deepest.
            present: float [K, M].
            member: float [K, B], one-hot.
        """
        space = level.shape[3:]
        features = level.flatten(3)
        first = [self.map.modalities, self.fusion.modalities]
        sizes = [layer.out_channels for layer in first]
        bias = torch.cat([cast(Tensor, layer.bias) for layer in first])
        products = modality_products(first, features)
        mixed = spread(present, member) @ products.flatten(0, 1).flatten(1)
        mixed = mixed.view(len(present), *products.shape[2:]) + bias.to(mixed.dtype)[:, None]
        for_map, for_shortcut = mixed.unflatten(2, space).split(sizes, dim=1)
        logits = self.map(for_map, decoded)
        wide = torch.promote_types(logits.dtype, torch.float32)  # half precision is too coarse for a softmax
        regions = logits.detach().softmax(dim=1, dtype=wide).to(level.dtype)
        return logits, self.fusion(features, regions, for_shortcut, present, member)


class RegionDecoder(nn.Module):
    """The decoder of the fused output: region-aware fusion at each level, from the deepest to the finest."""

    def __init__(self, modalities: int, classes: int, width: int, spatial_dims: int):
        super().__init__()
        channels = [width * 2**level for level in range(DEPTH)]
        self.levels = nn.ModuleList(
            RegionLevel(modalities, c, classes, c == channels[-1], spatial_dims) for c in channels
        )
        self.stages = nn.ModuleList(DecoderStage(c, spatial_dims=spatial_dims) for c in channels[:-1])
        self.head = PointConv(width, classes)

    def forward(self, levels: list[Tensor], present: Tensor, case: Tensor) -> Fused:
        """Fuse K subsets of levels, each [B, M, C_l, *space_l]; present is bool [K, M], case int64 [K]."""
        member = F.one_hot(case, len(levels[0])).to(levels[0].dtype)
        weights = present.to(levels[0].dtype)
        logits, decoded = self.levels[-1](levels[-1], None, weights, member)
        side_logits = [logits]
        for index in reversed(range(DEPTH - 1)):
            stage = cast(DecoderStage, self.stages[index])
            decoded = stage.rise(decoded)
            logits, fused = self.levels[index](levels[index], decoded, weights, member)
            decoded = stage.join(fused, decoded)
            side_logits.insert(0, logits)
        return Fused(self.head(decoded), side_logits, decoded)


class RFNet(Backbone):
    """RFNet; 4 side outputs (scales 1, 2, 4, 8), finest first.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].

    The network is fully convolutional: volumes need a multiple of 8 voxels, at least 16, along each axis.
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level (8: as released), even."""

        width: int = Field(8, ge=2, multiple_of=2)

    capturable = True
    compiled = ("encoders", "unimodal_decoder")

    def __init__(self, modalities: int, classes: int, options: Options, spatial_dims: int = 3):
        super().__init__(modalities, classes, spatial_dims)
        width = options.width
        self.encoders = nn.ModuleList(
            ModalityEncoder(DEPTH, width, spatial_dims=spatial_dims) for _ in range(modalities)
        )
        self.fused_decoder = RegionDecoder(modalities, classes, width, spatial_dims)
        self.unimodal_decoder = UnimodalDecoder(DEPTH, width, classes, spatial_dims=spatial_dims)
        kaiming_init(self)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality by itself; see `Backbone.encode`."""
        return Features(encode_packed(self.encoders, volumes, available), available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets of what was encoded; see `Backbone.fuse`."""
        case = case_of_rows(features, present, case)
        return self.fused_decoder(features.levels, present, case)

    def unimodal(self, features: Features) -> Tensor:
        """Decode each available modality alone; see `Backbone.unimodal`."""
        return decode_packed(self.unimodal_decoder, features.levels, features.available)

    def released_names(self, name: str) -> list[str]:
        """Return the released name(s) of the parameter `name`; see `backbones.weights`."""
        kind, *parts = shared_released_name(name).split(".")
        if kind != "decoder_fuse" or parts[0] != "levels":
            return [".".join((kind, *parts))]
        level, block, part, *rest = parts[1:]
        prefix = f"decoder_fuse.{_RELEASED_BLOCKS[block]}{int(level) + 1}"
        if part in _WEIGHT_LAYERS:
            layer = _WEIGHT_LAYERS[part]
            return [f"{prefix}.modal_fusion.{c}.weight_layer.{layer}.{rest[0]}" for c in range(self.classes)]
        sequence, offset = _RELEASED_SEQUENCES[block, part]
        place = ("0", "conv") if part == "modalities" else (str(int(rest.pop(0)) + offset),)
        return [".".join((prefix, sequence, *place, *rest))]
