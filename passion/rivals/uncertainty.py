"""Uncertainty weighting: a variance is learnt for each modality's loss (Kendall et al., CVPR 2018).

    objective = passion.create("uncertainty", modalities=4, classes=4)

For a classification task m with s_m = log sigma_m^2, the paper's exp(-s_m) L_m + log sigma_m:

    total = fuse + prm + sum over cases and their modalities of exp(-s_m) sep_m + s_m / 2

s starts at 0 (weights of 1) and is stepped by the network's optimiser.
"""

from typing import Any

import torch
from torch import Tensor, nn

from backbones.host import on_device
from passion.options import ObjectiveOptions
from passion.rivals.weighting import TaskWeighting


class Uncertainty(TaskWeighting):
    """Uncertainty weighting. Terms: `fuse`, `prm`, `sep`; logs the `weight` exp(-s) of each modality."""

    def __init__(self, modalities: int, classes: int, options: ObjectiveOptions, **facts: Any):
        super().__init__(modalities, classes, options, **facts)
        self.log_variance = nn.Parameter(torch.zeros(modalities))

    def parameters(self) -> list[nn.Parameter]:
        """Return s, [M]."""
        return [self.log_variance]

    def weigh(self, sep: Tensor, taught: Tensor) -> Tensor:
        """Return the sum of exp(-s) sep + s / 2 over the cases and their modalities."""
        s, cases = self.log_variance.to(sep), on_device(taught.sum(dim=0), sep.device)
        return (torch.exp(-s) * sep + cases.to(sep) * s / 2).sum()

    def end_epoch(self) -> dict[str, list[float]] | None:
        """Return the weights, or None in the warm-up."""
        weight = None if self.warming_up else {"weight": torch.exp(-self.log_variance.detach()).tolist()}
        super().end_epoch()
        return weight

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and s."""
        return {**super().state_dict(), "log_variance": self.log_variance.detach().clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; keeps the parameter that an optimiser may hold."""
        super().load_state_dict(state)
        self.log_variance.data.copy_(state["log_variance"])
