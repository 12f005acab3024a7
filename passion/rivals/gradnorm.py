"""GradNorm: weights that make the gradients of all modalities equally large (Chen et al., ICML 2018).

    objective = passion.create("gradnorm", modalities=4, classes=4, alpha=1.5)
    objective.backward(losses, list(backbone.parameters()))

With W the parameters that more than one modality moves, L_m the mean of sep_m over the batch's cases that
have m, G_m = |w_m grad_W L_m|, and r_m the inverse training rate, L_m / L_m(0) over its mean:

    L_grad = sum over m of |G_m - mean(G) r_m^alpha|,   mean(G) r_m^alpha taken as constant

The network gets the gradient of fuse + prm + sum of w sep, the weights that of L_grad; G is linear in w, so
that no second derivative is needed. Two things differ from the paper: w = M softmax(theta), which keeps the
weights positive and their sum at M instead of scaling them after each step; and means go over the
modalities of the batch, as not every case has all.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from backbones.host import on_device
from passion.objective import Losses
from passion.options import ObjectiveOptions
from passion.rivals.weighting import TaskWeighting, task_gradient


class GradNorm(TaskWeighting):
    """GradNorm. Terms: `fuse`, `prm`, `sep`; logs the `weight` of each modality.

    L_m(0) is the loss of the first step that shows m.
    """

    class Options(ObjectiveOptions):
        """`alpha`: how strongly slow modalities are favoured (0: equal gradients)."""

        alpha: float = Field(1.5, ge=0)

    options: Options

    def __init__(self, modalities: int, classes: int, options: Options, **facts: Any):
        super().__init__(modalities, classes, options, **facts)
        self.theta = nn.Parameter(torch.zeros(modalities))
        self.first = torch.zeros(modalities, dtype=torch.float64)  # 0: not seen yet

    @property
    def weight(self) -> Tensor:
        """The weights, [M], without gradient."""
        return self.modalities * torch.softmax(self.theta.detach(), dim=0)

    def parameters(self) -> list[nn.Parameter]:
        """Return theta, [M]."""
        return [self.theta]

    def weigh(self, sep: Tensor, taught: Tensor) -> Tensor:
        """Return the weighted sum of sep."""
        return (self.weight.to(sep) * sep).sum()

    def backward(self, losses: Losses, parameters: list[nn.Parameter]) -> None:
        """Give the network the gradient of the total, and theta that of L_grad."""
        assert losses.tasks is not None
        tasks, device = losses.tasks.own, losses.tasks.own.device
        squares = tasks.new_zeros((self.modalities, len(parameters)))
        for m in losses.tasks.cases.nonzero().squeeze(1).tolist():
            gradients = task_gradient(tasks[m], parameters, keep_graph=True)
            squares[m] = torch.stack([g.square().sum() for g in gradients]).to(squares)
        losses.total.backward()
        cases = on_device(losses.tasks.cases, device)
        shared = (squares > 0).sum(dim=0) > 1
        norms = (squares * shared).sum(dim=1).sqrt().double() / cases.clamp(min=1)
        loss = losses.terms["sep"].double() / cases.clamp(min=1)  # tasks may carry a scale
        self.first = self.first.to(device)
        self.first.copy_(torch.where((self.first == 0) & (cases > 0), loss, self.first))
        w = self.weight.double()
        slope = norm_slope(w, norms, loss / self.first.clamp(min=1e-12), cases > 0, self.options.alpha)
        # The chain rule through w = M softmax(theta).
        gradient = (w * (slope - (w * slope).sum() / self.modalities)).to(self.theta)
        self.theta.grad = gradient if self.theta.grad is None else self.theta.grad.copy_(gradient)

    def end_epoch(self) -> dict[str, list[float]] | None:
        """Return the weights, or None in the warm-up."""
        changed = None if self.warming_up else {"weight": self.weight.tolist()}
        super().end_epoch()
        return changed

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, theta and the first losses."""
        learnt = {"theta": self.theta.detach().clone(), "first": self.first.clone()}
        return {**super().state_dict(), **learnt}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; keeps the parameter that an optimiser may hold."""
        super().load_state_dict(state)
        self.theta.data.copy_(state["theta"])
        self.first.copy_(state["first"])


def norm_slope(weight: Tensor, norms: Tensor, ratio: Tensor, shown: Tensor, alpha: float) -> Tensor:
    """Gradient of L_grad with respect to the weights, [M]; 0 for modalities that are not shown.

    Args:
        weight: w, [M].
        norms: |grad_W L_m|, [M].
        ratio: L_m / L_m(0), [M].
        shown: bool [M], which modalities the batch has.
        alpha: how strongly slow modalities are to be favoured.
    """
    count = shown.sum().clamp(min=1)
    size = weight * norms * shown
    rate = ratio / ((ratio * shown).sum() / count).clamp(min=1e-12)
    target = size.sum() / count * rate**alpha
    return torch.sign(size - target) * norms * shown
