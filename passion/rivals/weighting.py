"""What GradNorm, DWA, uncertainty weighting, PCGrad and GSS share: a task for each modality.

The task of modality m is its own output's loss, `sep`. Where a network has no auxiliary decoder, it is the
loss of the fused output with m alone. fuse and prm belong to no modality and keep the weight 1, as in the
comparison by the authors of PASSION (HGA, Jun-Jie-Shi/HGA).
"""

import torch
from torch import Tensor, nn

from backbones.contract import Backbone, Features
from backbones.host import on_device
from passion.baseline import Baseline
from passion.objective import fuse_alone


class TaskWeighting(Baseline):
    """A baseline whose modalities are the tasks of multi-task learning. Terms: `fuse`, `prm`, `sep`."""

    without_unimodal = (
        "sep is the fused output's with one modality alone: the network has no auxiliary decoder"
    )

    def unimodal_logits(self, backbone: Backbone, features: Features, taught: Tensor) -> Tensor:
        """Return each taught modality's own output [B, M, classes, *space], zeros elsewhere."""
        if backbone.has_unimodal:
            return backbone.unimodal(features)
        fused, case, modality = fuse_alone(backbone, features, taught)
        empty = fused.logits.new_zeros((*taught.shape, *fused.logits.shape[1:]))
        places = tuple(on_device(where, empty.device) for where in (case, modality))
        return empty.index_put(places, fused.logits)


def task_gradient(task: Tensor, parameters: list[nn.Parameter], keep_graph: bool) -> list[Tensor]:
    """Gradient of a scalar `task` with respect to each of `parameters`, zeros where it has none."""
    gradients = torch.autograd.grad(task, parameters, retain_graph=keep_graph, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]
