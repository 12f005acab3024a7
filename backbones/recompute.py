"""Training in a fraction of the memory: ``losses = objective.loss(Recomputed(backbone), batch)``.

Feature maps inside the network are not kept for the backward pass but computed again in it, one subset and
one modality at a time (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). Costs another
forward pass. The numbers are the same up to rounding; where a network has dropout, the second pass draws what
the first drew, but subsets one at a time draw other masks than all at once.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from backbones.contract import Auxiliary, Backbone, Features, Fused
from backbones.host import host, on_device


class Recomputed(Backbone):
    """Any backbone, with the same outputs; its parameters are those of `backbone`."""

    def __init__(self, backbone: Backbone):
        super().__init__(backbone.modalities, backbone.classes, backbone.spatial_dims, backbone.heads.regions)
        self.backbone = backbone
        self.has_unimodal = backbone.has_unimodal

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality by itself; see `Backbone.encode`."""
        return checkpoint(self.backbone.encode, volumes, available, use_reentrant=False)

    def encode_at(self, volumes: Tensor, available: Tensor, corners: Tensor | None) -> Features:
        """Encode crops of known position; see `Backbone.encode_at`."""
        return checkpoint(self.backbone.encode_at, volumes, available, corners, use_reentrant=False)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets, one after the other; see `Backbone.fuse`."""
        device = present.device
        shown, items = host(present), torch.arange(len(present)) if case is None else host(case)
        rows = [
            checkpoint(
                self.backbone.fuse,
                features,
                on_device(shown[k : k + 1], device),
                on_device(items[k : k + 1], device),
                use_reentrant=False,
            )
            for k in range(len(present))
        ]
        sides = zip(*(row.side_logits for row in rows), strict=True)
        return Fused(
            torch.cat([row.logits for row in rows]),
            [torch.cat(side) for side in sides],
            torch.cat([row.decoder_features for row in rows]),
            {name: torch.cat([row.extra[name] for row in rows]) for name in rows[0].extra},
        )

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        """Return the network's own losses; see `Backbone.auxiliary`."""
        return checkpoint(self.backbone.auxiliary, features, fused, batch, use_reentrant=False)

    def rebuild(
        self, volumes: Tensor, visible: Tensor, available: Tensor, corners: Tensor | None
    ) -> dict[str, Auxiliary]:
        """Rebuild volumes; see `Backbone.rebuild`."""
        parts = volumes, visible, available, corners
        return checkpoint(self.backbone.rebuild, *parts, use_reentrant=False)

    def unimodal(self, features: Features) -> Tensor:
        """Decode each available modality alone, one after the other; see `Backbone.unimodal`."""
        columns: dict[int, Tensor] = {}
        available = host(features.available)
        for m in available.any(dim=0).nonzero().squeeze(1).tolist():
            alone = torch.zeros_like(available)
            alone[:, m] = available[:, m]
            chosen = replace(features, available=on_device(alone, features.available.device))
            columns[m] = checkpoint(self.backbone.unimodal, chosen, use_reentrant=False)[:, m]
        empty = torch.zeros_like(next(iter(columns.values())))
        return torch.stack([columns.get(m, empty) for m in range(self.modalities)], dim=1)
