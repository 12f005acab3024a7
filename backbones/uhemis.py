"""U-HeMIS: ``backbones.create("uhemis", modalities=4, classes=4)``.

An encoder of four levels for each modality; the decoder gets the mean and the variance of the present
modalities' maps at each level. Source: Dorent et al., "Hetero-Modal Variational Encoder-Decoder for Joint
Modality Completion and Segmentation", MICCAI 2019, which puts the fusion of HeMIS (Havaei et al., MICCAI
2016) into a U-Net; facts of their code.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from backbones.contract import Backbone, Features, Fused, encode_packed
from backbones.hved_blocks import LEVELS, Decoder, Encoder, truncated_init
from bench_options import MethodOptions

STRIDE = 2 ** (LEVELS - 1)  # voxels of the volume per voxel of the deepest level and axis


class UHeMIS(Backbone):
    """U-HeMIS; no side outputs and no auxiliary decoder, as published.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].

    The network is fully convolutional: volumes need a multiple of 8 voxels, at least 16, along each axis.
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level before they are halved (8: as published), even."""

        width: int = Field(8, ge=2, multiple_of=2)

    has_unimodal = False

    capturable = True

    def __init__(self, modalities: int, classes: int, options: Options, spatial_dims: int = 3):
        super().__init__(modalities, classes, spatial_dims)
        width = options.width
        self.encoders = nn.ModuleList(
            Encoder(width, halved=True, spatial_dims=spatial_dims) for _ in range(modalities)
        )
        fused = [width * 2**level for level in range(LEVELS)]  # half of them means, half variances
        self.decoder = Decoder(fused, width, classes, spatial_dims)
        truncated_init(self)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality by itself; see `Backbone.encode`.

        Raises `ValueError` for volumes whose edges are not multiples of 8 from 16.
        """
        space = volumes.shape[2 : 2 + self.spatial_dims]
        if any(edge % STRIDE or edge < 2 * STRIDE for edge in space):
            raise ValueError(
                f"volumes of {tuple(volumes.shape[2:])} voxels: uhemis takes multiples of {STRIDE} "
                f"from {2 * STRIDE}"
            )
        return Features(encode_packed(self.encoders, volumes, available), available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets of what was encoded; see `Backbone.fuse`."""
        if case is None:
            case = torch.arange(len(features.available), device=present.device)
        if len(case) != len(present):
            raise ValueError(f"{len(present)} subsets for {len(case)} cases: give the case of each subset")
        x = self.decoder.features([mean_and_variance(level, present, case) for level in features.levels])
        return Fused(self.decoder.head(x), [], x)


def mean_and_variance(level: Tensor, present: Tensor, case: Tensor) -> Tensor:
    """Return the mean and the variance over each row's modalities: [K, 2 C, *space].

    Args:
        level: [B, M, C, *space].
        present: bool [K, M], at least one True in each row.
        case: int64 [K].
    """
    weights = present.to(level.dtype) / present.sum(dim=1, keepdim=True)
    weights = weights[(...,) + (None,) * (level.dim() - 2)]
    mean = variance = level.new_zeros(())
    # Modality by modality: those of all rows side by side would be several times the memory.
    for m, maps in enumerate(level.unbind(1)):
        mean = mean + weights[:, m] * maps.index_select(0, case)
    for m, maps in enumerate(level.unbind(1)):
        variance = variance + weights[:, m] * (maps.index_select(0, case) - mean) ** 2
    return torch.cat((mean, variance), dim=1)
