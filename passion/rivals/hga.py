"""HGA: subsets in turn, and self-distillation within each (hierarchical gradient alignment, Shi et al.).

    objective = passion.create("hga", modalities=4, classes=4, epochs=300)

From the released code (Jun-Jie-Shi/HGA, commit f20ef65, its training of mmFormer). Each step shows a subset,
of cases that can show it; a round is all subsets once. As a round begins, Reptile (Nichol et al., 2018) takes
back part of what the last one did to the weights, from p0 to p:

    p = p0 + e (p - p0),   e = 0.1 + 0.9 epoch / epochs

The loss of a case, over the modalities m of its subset:

    total = fuse + prm + sum of sep + lambda1 sum of beta_m kl_m + lambda2 sum of [RP_m < 0] proto_m
    proto = -mean log(clamp(p(y), 0.005, 1)) + 0.001 mean |f - c_y|,   RP_m = score_m / mean score - 1

f are the finest decoder features with m alone, c_k their mean over class k, y the class of a voxel, p the
softmax over the case's classes of -|f - c_k|, and score the mean of p(y): a modality lags where it is low.
kl is PASSION's, against the output for the subset. After an epoch beta -= eta RP, of the epoch's mean scores.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from backbones.contract import Backbone, Features, Fused
from backbones.heads import full_precision
from backbones.host import on_device
from passion.baseline import Baseline, Further
from passion.distillation import pixel_distillation
from passion.losses import CaseLabels
from passion.objective import Batch, fuse_alone, per_modality
from passion.options import ObjectiveOptions, Policy
from passion.preference import GradientBalance, relative_preference
from passion.rivals.pmr import prototype_scores

PULL = 0.001
"""Weight of the distance to the prototype within `proto`."""
FIRST_STEP = 0.1
"""Of Reptile; it grows by equal parts to nearly 1."""

Order = Literal["random", "fixed", "group_fixed_order", "group_sequential"]


class _Observed(NamedTuple):
    """Outputs of each modality alone (R rows), each row's case and modality, and what is taught [B, M]."""

    alone: Fused
    case: Tensor
    modality: Tensor
    taught: Tensor


class HGA(Baseline):
    """HGA. Terms: `fuse`, `prm`, and per modality `sep`, `kl`, `proto` and `score`."""

    class Options(ObjectiveOptions):
        """`policy` is no option here: a case shows the subset of its step.

        `order`: of the subsets in a round: `random`, drawn anew for each; `fixed`, always the same;
        `group_fixed_order`, fewest modalities first, subsets of one size shuffled; `group_sequential`, size
        by size, the sizes shuffled too (names as released).

        `lambda1`: weight of kl. `lambda2`: weight of proto. `tau`: temperature of kl. `eta`: step of beta
        after an epoch.
        """

        policy: ClassVar[Policy] = "idt"  # type: ignore[misc]
        order: Order = "random"
        lambda1: float = Field(0.5, ge=0)
        lambda2: float = Field(0.02, ge=0)
        tau: float = Field(4.0, gt=0)
        eta: float = Field(0.01, ge=0)

    options: Options
    summed = ("distance", "seen")
    modality_terms = ("kl", "proto", "score")

    def __init__(self, modalities: int, classes: int, options: Options, **facts: Any):
        super().__init__(modalities, classes, options, **facts)
        self.balance = GradientBalance(modalities, options.eta, options.warmup_epochs, of_scores=True)
        self.steps = 0
        self.start: list[Tensor] = []

    def subset(self, seed: int, step: int) -> tuple[bool, ...]:
        """Return the subset of a step, in the order of its round."""
        turn, place = divmod(step, len(self.subsets))
        return round_order(self.subsets, self.options.order, np.random.default_rng([seed, turn]))[place]

    def outer_step(self, weights: list[nn.Parameter]) -> None:
        """Take back part of the last round as the next begins, and note where that starts."""
        if self.steps % len(self.subsets) == 0:
            step = FIRST_STEP + (1 - FIRST_STEP) * self.epoch / self.epochs
            for weight, start in zip(weights, self.start, strict=bool(self.start)):
                weight.copy_(start + step * (weight - start))
            self.start = [weight.detach().clone() for weight in weights]
        self.steps += 1

    def observe(
        self, backbone: Backbone, features: Features, batch: Batch, taught: Tensor, logits: Tensor | None
    ) -> _Observed:
        """Run the network on each modality alone."""
        return _Observed(*fuse_alone(backbone, features, taught), taught)

    def further(
        self,
        nothing: Further,
        fused: Fused,
        observed: _Observed,
        labels: list[CaseLabels],
        size: torch.Size,
    ) -> Further:
        """Return what a modality alone learns from the subset and from its prototypes; count the scores."""
        total, terms = nothing.total, nothing.terms
        self.balance.to(total.device)
        beta = self.balance.beta.to(total)
        for b, case_labels in enumerate(labels):
            rows = (observed.case == b).nonzero().squeeze(1)
            where = observed.modality[rows]
            taught = on_device(observed.taught[b], total.device)
            alone, teacher = observed.alone.select(rows), fused.select(torch.tensor([b]))
            kl = pixel_distillation(alone.outputs, teacher.outputs, self.options.tau, size, case_labels.heads)
            maps = full_precision(alone.decoder_features).flatten(2)
            entropy, score, pull = prototype_scores(maps, case_labels, learn_prototypes=True)
            found = {"kl": kl, "proto": entropy + PULL * pull, "score": score}
            each = {name: per_modality(value, where, self.modalities) for name, value in found.items()}
            lags = relative_preference(each["score"], taught) > 0
            total = total + self.options.lambda1 * (beta * each["kl"]).sum()
            total = total + self.options.lambda2 * (lags * each["proto"]).sum()
            terms = {name: terms[name] + value for name, value in each.items()}
            if torch.is_grad_enabled():
                self.balance.add(each["score"], taught)
        return Further(total, terms)

    def end_epoch(self) -> dict[str, list[float]] | None:
        """Move beta; return it and the `preference` of the epoch."""
        changed = self.balance.end_epoch(self.epoch)
        super().end_epoch()
        return changed and {name: changed[name] for name in ("preference", "beta")}

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, beta and its sums, the steps so far, and the weights as the round began."""
        state = {**super().state_dict(), **self.balance.state_dict()}
        return {**state, "steps": self.steps, "start": self.start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.balance.load_state_dict(state)
        self.steps, self.start = state["steps"], list(state["start"])


def round_order(
    subsets: Sequence[tuple[bool, ...]], order: Order, random: np.random.Generator
) -> list[tuple[bool, ...]]:
    """Return the subsets, fewest modalities first, in the order of a round."""
    if order == "fixed":
        return list(subsets)
    shuffled = [subsets[i] for i in random.permutation(len(subsets))]
    if order == "random":
        return shuffled
    sizes = len(subsets[0]) + 1
    ranks = range(sizes) if order == "group_fixed_order" else random.permutation(sizes)
    return sorted(shuffled, key=lambda subset: ranks[sum(subset)])
