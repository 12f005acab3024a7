"""The plain objective that PASSION is compared with: ``passion.create("baseline", modalities=4, classes=4)``.

fuse + prm + sum over modalities of sep; during the warm-up only that sum (released code of PASSION, arXiv
2407.14796). With the policy `idt_drop` it is the modality-dropout baseline.
"""

import torch

from backbones.contract import Backbone
from passion.losses import deep_supervision, probabilities, task_loss
from passion.objective import Batch, Losses, Objective, labels_of, unimodal_losses


class Baseline(Objective):
    """Task losses of the fused, the side and the uni-modal outputs. Terms: `fuse`, `prm`, `sep`."""

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        """Return the losses of `batch`."""
        taught = self.taught(batch)
        device = batch.volumes.device
        features = backbone.encode(batch.volumes, taught.to(device))
        unimodal = backbone.unimodal(features)
        fused = None if self.warming_up else backbone.fuse(features, batch.present)
        with torch.autocast(device.type, enabled=False):
            labels = labels_of(batch, self.classes)
            sep = torch.stack(unimodal_losses(unimodal, taught, labels)).sum(dim=0)
            fuse, prm = sep.new_zeros(()), sep.new_zeros(())
            if fused is not None:
                size = batch.target.shape[1:]
                for b, case_labels in enumerate(labels):
                    fuse = fuse + task_loss(probabilities(fused.logits[b : b + 1]), case_labels).sum()
                    sides = [side[b : b + 1] for side in fused.side_logits]
                    prm = prm + deep_supervision(sides, case_labels, size).sum()
            total = fuse + prm + sep.sum()
        terms = {"fuse": fuse, "prm": prm, "sep": sep}
        return Losses(total, {name: value.detach() for name, value in terms.items()})
