"""PCGrad: conflicting gradients of the modalities are projected apart (Yu et al., NeurIPS 2020).

    objective = passion.create("pcgrad", modalities=4, classes=4)
    objective.backward(losses, list(backbone.parameters()))

The tasks are fuse + prm and the sep of each modality of the batch. With g_i the gradient of task i,
starting from g = g_i, for the other tasks j in random order:

    g <- g - (g . g_j) / |g_j|^2 g_j    where g . g_j < 0

and the network gets the sum of what became of all g_i (Yu et al., "Gradient Surgery for Multi-Task Learning",
NeurIPS 2020, algorithm 1). The order is drawn from torch's generator, which the training loop seeds per step.
"""

import torch
from torch import Tensor, nn

from passion.objective import Losses
from passion.rivals.weighting import TaskWeighting, task_gradient


class PCGrad(TaskWeighting):
    """Gradient surgery over the fused task and those of the modalities. Terms: `fuse`, `prm`, `sep`."""

    capturable = False  # the order of projections is drawn on the CPU

    def backward(self, losses: Losses, parameters: list[nn.Parameter]) -> None:
        """Add the projected gradients to those of `parameters`."""
        assert losses.tasks is not None
        tasks = [losses.tasks.own[m] for m in losses.tasks.cases.nonzero().squeeze(1).tolist()]
        if losses.tasks.shared.requires_grad:
            tasks.append(losses.tasks.shared)
        gradients = []
        for i, task in enumerate(tasks, start=1):
            parts = task_gradient(task, parameters, keep_graph=i < len(tasks))
            gradients.append(torch.cat([g.flatten() for g in parts]))
        surgery = project(torch.stack(gradients))
        for parameter, gradient in zip(
            parameters, surgery.split([p.numel() for p in parameters]), strict=True
        ):
            added = gradient.view_as(parameter)
            parameter.grad = added if parameter.grad is None else parameter.grad + added


def project(gradients: Tensor) -> Tensor:
    """Sum of the gradients [T, N] after each was projected against the others, in random order: [N]."""
    squares = gradients.square().sum(dim=1)
    total = torch.zeros_like(gradients[0])
    for i, gradient in enumerate(gradients):
        for j in torch.randperm(len(gradients)).tolist():
            if j != i:
                dot = gradient @ gradients[j]
                projected = gradient - dot / squares[j] * gradients[j]
                gradient = torch.where(dot < 0, projected, gradient)
        total += gradient
    return total
