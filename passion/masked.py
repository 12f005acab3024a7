"""A masked autoencoder: what M3AE's network is trained by before it segments (Liu et al., AAAI 2023).

    objective = passion.create("mae", modalities=4, classes=4)

Of each case some modalities are dropped, from none to all but one, and of the others a few patches are shown,
an eighth of what the case has; the network rebuilds the volumes. It is trained by nothing else and segments
nothing. So a run of this objective is not tested; another one starts from its weights:

    base: {backbone: m3ae, pretrain: {objective: mae, train: {epochs: 600, augment: false}}}
"""

from contextlib import nullcontext
from math import prod

import torch
from pydantic import Field
from torch import Tensor

from backbones import noise
from backbones.contract import Backbone
from backbones.host import on_device
from passion.objective import Batch, Losses, Objective, corners_of, unweighted, weighted_sum
from passion.options import ObjectiveOptions


class MaskedAutoencoder(Objective):
    """Trains a network to rebuild volumes; for networks with `rebuild`, which names the terms."""

    class Options(ObjectiveOptions):
        """`masked`: share of the patches of a case that are hidden. `patch`: their edge in voxels."""

        masked: float = Field(0.875, gt=0, lt=1)
        patch: int = Field(16, ge=1)

        @property
        def segments(self) -> bool:
            """It trains no segmentation."""
            return False

    options: Options
    without_unimodal = ""

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        """Return the losses of `batch`, of what each case shows; in evaluation the masks are fixed."""
        taught = on_device(self.taught(batch), batch.volumes.device)
        step = nullcontext() if backbone.training else noise.step("evaluation", batch.cases)
        with step, noise.rows(torch.arange(len(taught)), ["mask"] * len(taught)):
            visible = self.visible(taught, batch.target.shape[1:])
        terms = backbone.rebuild(batch.volumes, visible, taught, corners_of(batch))
        total = weighted_sum(terms)
        assert isinstance(total, Tensor)
        return Losses(total, unweighted(terms))

    def visible(self, available: Tensor, space: torch.Size) -> Tensor:
        """Draw the voxels that are shown of each case, bool [B, M, *space], of what it has, bool [B, M]."""
        grid = [-(-edge // self.options.patch) for edge in space]
        left = noise.subsets(available, "dropped")
        drawn = noise.uniform(torch.empty(*available.shape, *grid, device=available.device), "patches")
        order = drawn.flatten(2).masked_fill(~left[..., None], 2.0).flatten(1).argsort(dim=1).argsort(dim=1)
        patches = available.sum(dim=1, keepdim=True) * prod(grid)
        number = ((1 - self.options.masked) * patches).round().clamp(min=1)
        visible = (order < number).unflatten(1, drawn.shape[1:]) & left[..., None, None, None]
        for axis, edge in enumerate(space, start=2):
            visible = visible.repeat_interleave(self.options.patch, dim=axis).narrow(axis, 0, edge)
        return visible
