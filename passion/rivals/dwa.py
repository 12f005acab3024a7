"""Dynamic weight average: modalities whose loss falls slowly get more weight (Liu et al., CVPR 2019).

    objective = passion.create("dwa", modalities=4, classes=4, temperature=2.0)

With L_m(t) the mean of sep_m over the cases of epoch t that show m, r_m = L_m(t-1) / L_m(t-2), and M
modalities,

    w_m(t) = M exp(r_m / T) / sum_j exp(r_j / T)

total = fuse + prm + sum of w sep. The weights are 1 in the first two epochs, and as long as a modality was
not seen in two epochs; such a modality does not count among the M.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from backbones.host import on_device
from passion.options import ObjectiveOptions
from passion.rivals.weighting import TaskWeighting


class DynamicWeightAverage(TaskWeighting):
    """Dynamic weight average. Terms: `fuse`, `prm`, `sep`; logs the `weight` of each modality.

    A call of `loss` with gradients enabled is a training step and counts in the epoch's means.
    """

    class Options(ObjectiveOptions):
        """`temperature`: the higher, the more equal the weights."""

        temperature: float = Field(2.0, gt=0)

    options: Options
    summed = ("sums", "seen")

    def __init__(self, modalities: int, classes: int, options: Options, **facts: Any):
        super().__init__(modalities, classes, options, **facts)
        self.weight = torch.ones(modalities, dtype=torch.float64)
        self.means: list[Tensor] = []  # of the last two epochs, NaN where a modality was not seen
        self.sums = torch.zeros(modalities, dtype=torch.float64)
        self.seen = torch.zeros(modalities, dtype=torch.float64)

    def weigh(self, sep: Tensor, taught: Tensor) -> Tensor:
        """Return the weighted sum of sep, and count the step."""
        self.weight, self.sums, self.seen = (
            each.to(sep.device) for each in (self.weight, self.sums, self.seen)
        )
        if torch.is_grad_enabled():
            self.sums += sep.detach().double()
            self.seen += on_device(taught.sum(dim=0), sep.device)
        return (self.weight.to(sep) * sep).sum()

    def end_epoch(self) -> dict[str, list[float]] | None:
        """Return the epoch's weights, or None in the warm-up, and set the next epoch's."""
        changed = None if self.warming_up else {"weight": self.weight.tolist()}
        mean = self.sums.cpu() / self.seen.cpu()  # 0 / 0 is NaN
        self.means = [*self.means, mean][-2:]
        self.sums.zero_()
        self.seen.zero_()
        if len(self.means) == 2:
            rates = self.means[1] / self.means[0]
            self.weight.copy_(average_weights(rates, self.options.temperature))
        super().end_epoch()
        return changed

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the weights, the means of the last epochs and the sums of this one."""
        tensors = {"weight": self.weight, "sums": self.sums, "seen": self.seen}
        copies = {name: value.clone() for name, value in tensors.items()}
        return {**super().state_dict(), **copies, "means": [mean.clone() for mean in self.means]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        for name, part in (("weight", self.weight), ("sums", self.sums), ("seen", self.seen)):
            part.copy_(state[name])
        self.means = [mean.cpu().clone() for mean in state["means"]]


def average_weights(rate: Tensor, temperature: float) -> Tensor:
    """Weights from the rates of descent L(t-1) / L(t-2), [M]; 1 for those that are not finite."""
    finite = rate.isfinite()
    weight = torch.ones_like(rate)
    weight[finite] = finite.sum() * torch.softmax(rate[finite] / temperature, dim=0)
    return weight
