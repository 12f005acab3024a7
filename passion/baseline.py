"""The task losses alone: what PASSION is compared with, and what its rivals build on.

    objective = passion.create("baseline", modalities=4, classes=4)

fuse + prm + sum over modalities of sep; during the warm-up only that sum (released code of PASSION, arXiv
2407.14796).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backbones.contract import Backbone, Features, Fused
from backbones.host import on_device
from passion.losses import CaseLabels, deep_supervision, output_loss
from passion.objective import (
    Batch,
    Losses,
    Objective,
    Tasks,
    corners_of,
    labels_of,
    unimodal_losses,
    unweighted,
    weighted_sum,
)


@dataclass
class Further:
    """What a rival adds, summed over the batch: its share of the total, and its terms, scalar or [M]."""

    total: Tensor
    terms: dict[str, Tensor]


class Baseline(Objective):
    """Task losses of the fused, the side and the uni-modal outputs. Terms: `fuse`, `prm`, `sep`.

    A rival overrides `weigh`, what becomes of the modalities' own losses, or `observe` and `further`, which
    add terms of its own after the warm-up; their names stand in `scalar_terms` and `modality_terms`.
    """

    capturable = True
    scalar_terms: tuple[str, ...] = ()
    modality_terms: tuple[str, ...] = ()

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        """Return the losses of `batch`."""
        taught = self.taught(batch)
        device = batch.volumes.device
        features = backbone.encode_at(batch.volumes, on_device(taught, device), corners_of(batch))
        logits = self.unimodal_logits(backbone, features, taught)
        fused = None if self.warming_up else backbone.fuse(features, batch.present)
        observed = None if self.warming_up else self.observe(backbone, features, batch, taught, logits)
        auxiliary = {} if fused is None else backbone.auxiliary(features, fused, batch)
        with torch.autocast(device.type, enabled=False):
            labels = labels_of(batch, backbone)
            sep = torch.stack(unimodal_losses(logits, taught, labels)).sum(dim=0)
            fuse, prm = sep.new_zeros(()), sep.new_zeros(())
            further = self._nothing(sep)
            if fused is not None:
                size = batch.target.shape[1:]
                for b, case_labels in enumerate(labels):
                    fuse = fuse + output_loss(fused.logits[b : b + 1], case_labels).sum()
                    sides = [side[b : b + 1] for side in fused.side_logits]
                    prm = prm + deep_supervision(sides, case_labels, size).sum()
                further = self.further(further, fused, observed, labels, size)
            shared = fuse + prm + further.total + weighted_sum(auxiliary)
            total = shared + self.weigh(sep, taught)
        terms = {"fuse": fuse, "prm": prm, "sep": sep, **further.terms, **unweighted(auxiliary)}
        tasks = Tasks(shared, sep, taught.sum(dim=0))
        return Losses(total, {name: value.detach() for name, value in terms.items()}, tasks)

    def weigh(self, sep: Tensor, taught: Tensor) -> Tensor:
        """Return the share of the total, a scalar, of the modalities' own losses.

        `sep` [M] summed over the batch, `taught` bool [B, M] on the CPU.
        """
        return sep.sum()

    def observe(
        self, backbone: Backbone, features: Features, batch: Batch, taught: Tensor, logits: Tensor | None
    ) -> Any:
        """Run what `further` needs of networks, in the precision of the training step.

        `logits`: from `unimodal_logits`.
        """
        return None

    def further(
        self, nothing: Further, fused: Fused, observed: Any, labels: list[CaseLabels], size: torch.Size
    ) -> Further:
        """Return the terms that a rival adds.

        Args:
            nothing: a total and terms of 0, to add to.
            fused: the outputs for the batch's subsets, B rows.
            observed: from `observe`.
            labels: of the B cases.
            size: the target's space.
        """
        return nothing

    def _nothing(self, like: Tensor) -> Further:
        terms = {name: like.new_zeros(()) for name in self.scalar_terms}
        terms |= {name: torch.zeros_like(like) for name in self.modality_terms}
        return Further(like.new_zeros(()), terms)
