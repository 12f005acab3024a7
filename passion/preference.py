"""Relative preference: which modalities lag behind the others, per case and over an epoch.

    rp = relative_preference(distance, taking_part)     # < 0: the modality lags
    balance = GradientBalance(modalities=4, eta=0.01, warmup_epochs=0)
    balance.add(distance, taking_part)                  # each training case
    changed = balance.end_epoch(epoch)                  # moves balance.beta

Formulas: PASSION (arXiv 2407.14796), task-wise and gradient-wise regularisation; constants from its released
code.
"""

from typing import Any

import torch
from torch import Tensor

BETA_RANGE = (0.1, 4.0)
ETA_GROWTH = 1.5
ETA_PERIOD = 100


def relative_preference(distance: Tensor, taking_part: Tensor) -> Tensor:
    """RP_m = 1 - distance_m / mean distance, over the modalities that take part; 0 elsewhere: [M].

    `distance` float [M], `taking_part` bool [M]. Where the mean is 0 (a lone modality), RP is 0, never NaN.
    """
    kept = torch.where(taking_part, distance, 0)
    mean = kept.sum() / taking_part.sum().clamp(min=1)
    defined = taking_part & (mean > 0)
    return torch.where(defined, 1 - kept / torch.where(mean > 0, mean, 1), 0)


def scheduled_eta(eta: float, epoch: int, warmup_epochs: int) -> float:
    """Step size of beta after `epoch`: times 1.5 at those of the epochs 0, 100, ... not in the warm-up."""
    first = -(-warmup_epochs // ETA_PERIOD)
    return float(eta * ETA_GROWTH ** (epoch // ETA_PERIOD - first + 1))


class GradientBalance:
    """Beta, the weight of each modality's gradient, moved after each epoch by its relative preference.

    Its tensors are changed in place, so that a step that was recorded goes on with them.

    Attributes:
        beta: float64 [M], 1 at first; within [0.1, 4] before it is scaled to the L2 norm sqrt(M).
        distance: float64 [M], sum over the epoch so far.
        seen: float64 [M], how often each modality took part in the epoch so far.
    """

    def __init__(self, modalities: int, eta: float, warmup_epochs: int, of_scores: bool = False):
        """Begin with equal weights.

        `of_scores`: what is added is high where a modality does well, no distance; the preference is turned
        round.
        """
        self.sign = -1 if of_scores else 1
        self.eta = eta
        self.warmup_epochs = warmup_epochs
        self.beta = torch.ones(modalities, dtype=torch.float64)
        self.distance = torch.zeros_like(self.beta)
        self.seen = torch.zeros_like(self.beta)

    def add(self, distance: Tensor, taking_part: Tensor) -> None:
        """Count one case: `distance` [M] of the modalities in `taking_part`, bool [M], on the device."""
        self.distance += torch.where(taking_part, distance, 0).double()
        self.seen += taking_part

    def to(self, device: torch.device) -> None:
        """Keep everything on `device`."""
        self.beta, self.distance, self.seen = (
            each.to(device) for each in (self.beta, self.distance, self.seen)
        )

    def end_epoch(self, epoch: int) -> dict[str, list[float]] | None:
        """Move beta and start a new epoch; say what changed, per modality, or None in the warm-up.

        Modalities that never occurred have preference 0 and do not count in the mean.
        """
        total, seen = self.distance.cpu().clone(), self.seen.cpu().clone()
        self.distance.zero_()
        self.seen.zero_()
        if epoch < self.warmup_epochs:
            return None
        mean = total / seen.clamp(min=1)
        preference = self.sign * relative_preference(mean, seen > 0)
        beta = self.beta.cpu() - scheduled_eta(self.eta, epoch, self.warmup_epochs) * preference
        beta = beta.clamp(*BETA_RANGE)
        beta = beta * len(beta) ** 0.5 / beta.norm()
        self.beta.copy_(beta)
        return {"preference": preference.tolist(), "beta": beta.tolist(), "distance": mean.tolist()}

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the tensors that training changes."""
        parts = {"beta": self.beta, "distance": self.distance, "seen": self.seen}
        return {name: part.clone() for name, part in parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name, part in (("beta", self.beta), ("distance", self.distance), ("seen", self.seen)):
            part.copy_(state[name])
