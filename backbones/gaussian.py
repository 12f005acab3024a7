"""The floor: ``backbones.create("gaussian", modalities=4, classes=4)``, a classifier of single voxels.

Each class is one Gaussian of the intensities of the present modalities, fitted in closed form for every
subset on the cases that have all of it (quadratic discriminant analysis: Hastie, Tibshirani, Friedman, "The
Elements of Statistical Learning", section 4.3). It sees no neighbour of a voxel: what a network scores above
it is what context is worth. One epoch over whole cases, without augmentation, is the whole fit:

    {name: gaussian, with: {train: {epochs: 1, augment: false, crop: [80, 96, 80]}}}
"""

from typing import Any

import torch
from torch import Tensor, nn

from backbones.contract import Auxiliary, Backbone, Features, Fused, case_of_rows
from bench_options import MethodOptions

RIDGE = 1e-3
"""Added to variances (z-scored intensities have 1), so that a class of equal voxels has a density."""


class Gaussian(Backbone):
    """A Gaussian for each class and subset; no side outputs and no auxiliary decoder.

    What it learns is in buffers that training adds to, over any number of epochs: counts and sums of a
    class's intensities, and of their products. A subset that no case has takes each modality by itself, as if
    they were independent. `offset`, the one weight that gradients move, is added to the logarithm of the
    classes' frequencies. Voxels at which each present modality has the lowest value of the volume are air:
    they are left out of the fit, and are background. Processes that share a batch would each fit their own
    part of it: train on one device.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: none.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].
    """

    has_unimodal = False
    count: Tensor
    total: Tensor
    square: Tensor

    def __init__(self, modalities: int, classes: int, options: MethodOptions, spatial_dims: int = 3):
        super().__init__(modalities, classes, spatial_dims)
        subsets = 2**modalities
        self.offset = nn.Parameter(torch.zeros(classes))
        self.register_buffer("count", torch.zeros(subsets, classes, dtype=torch.float64))
        self.register_buffer("total", torch.zeros(subsets, classes, modalities, dtype=torch.float64))
        self.register_buffer(
            "square", torch.zeros(subsets, classes, modalities, modalities, dtype=torch.float64)
        )

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Keep the volumes of what is available as one level [B, M, 1, *space]."""
        there = available[:, :, None, None, None]
        return Features([torch.where(there, volumes, torch.zeros_like(volumes)).unsqueeze(2)], available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Return the log of each class's frequency and density, [K, classes, *space]; see the contract."""
        volumes = features.levels[0].squeeze(2)
        case = case_of_rows(features, present, case)
        logits = torch.stack([
            self._logits(volumes[item], row) for item, row in zip(case.tolist(), present, strict=True)
        ])  # fmt: skip
        there = present[:, :, None, None, None]
        return Fused(logits, [], torch.where(there, volumes[case], torch.zeros_like(volumes[case])))

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        """Add a batch to the fit while training; there is no loss in it."""
        if self.training:
            with torch.no_grad():
                volumes = features.levels[0].squeeze(2).double()
                for volume, available, target in zip(volumes, features.available, batch.target, strict=True):
                    self._add(volume, available, target)
        return {}

    def _add(self, volume: Tensor, available: Tensor, target: Tensor) -> None:
        """Add a case [M, *space], its classes [*space], to the fit of all subsets of what is available."""
        tissue = ~_air(volume[available])
        values, labels = volume[:, tissue], target[tissue]
        subsets = [code for code in range(1, len(self.count)) if not self._members(code)[~available].any()]
        for label in range(self.classes):
            x = values[:, labels == label]
            self.count[subsets, label] += x.shape[1]
            self.total[subsets, label] += x.sum(dim=1)
            self.square[subsets, label] += x @ x.T

    def _members(self, code: int) -> Tensor:
        """Return which modalities are in subset number `code`: bool [M]."""
        bits = [bool(code >> m & 1) for m in range(self.modalities)]
        return torch.tensor(bits, device=self.count.device)

    def _logits(self, volume: Tensor, present: Tensor) -> Tensor:
        """Return the logits [classes, *space] of a case [M, *space] for a subset bool [M]."""
        index = present.nonzero().squeeze(1)
        x = volume[index].flatten(1).double()
        frequency, mean, covariance = self._fit(index)
        factor = torch.linalg.cholesky(covariance)
        one = torch.eye(len(index), dtype=x.dtype, device=x.device).expand_as(factor)
        away = torch.linalg.solve_triangular(factor, one, upper=False) @ (x - mean.unsqueeze(2))
        height = frequency.log() - factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        density = height.unsqueeze(1) - 0.5 * away.square().sum(dim=1)
        background = torch.full_like(density, -100.0)
        background[0] = 0.0
        logits = torch.where(_air(x), background, density.clamp(min=-1e4)) + self.offset.double().unsqueeze(1)
        return logits.to(volume.dtype).unflatten(1, volume.shape[1:])

    def _fit(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return frequencies [C], means [C, S] and covariances [C, S, S] of a subset given by indices [S].

        A class of fewer than two voxels has those of N(0, 1). Where no case has the subset, each modality
        counts the voxels of its own cases.
        """
        code = int((2**index).sum())
        count = self.count[code]
        if count.any():
            each = count.clamp(min=1)[:, None, None]
            mean = self.total[code][:, index] / each[..., 0]
            second = self.square[code][:, index][:, :, index] / each
            covariance = second - mean.unsqueeze(2) * mean.unsqueeze(1)
            enough = (count > 1)[:, None, None]
        else:
            alone = self.count[2**index].T
            count, each = alone.sum(dim=1), alone.clamp(min=1)
            mean = self.total[2**index, :, index].T / each
            covariance = torch.diag_embed(self.square[2**index, :, index, index].T / each - mean.square())
            enough = (alone > 1).unsqueeze(2)
        one = torch.eye(len(index), dtype=torch.float64, device=index.device)
        covariance = torch.where(enough, covariance + RIDGE * one, one)
        return (count + 1) / (count.sum() + len(count)), mean, covariance


def _air(values: Tensor) -> Tensor:
    """Return where all channels of [S, *space] are at their lowest: bool [*space].

    Nowhere if a channel is constant, or if that is a single voxel, as where a window lies within the head.
    """
    flat = values.flatten(1)
    lowest, highest = flat.min(dim=1).values, flat.max(dim=1).values
    air = (flat == lowest.unsqueeze(1)).all(dim=0) & (lowest < highest).all()
    return (air & (air.sum() > 1)).view(values.shape[1:])
