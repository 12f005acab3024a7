"""PASSION: self-distillation weighted by relative preference (arXiv 2407.14796).

    objective = passion.create("passion", modalities=4, classes=4, counts=[183, 136, 90, 43], cases=219)

The network with the case's subset teaches the network with each modality alone, at the level of voxels (`kl`)
and of class prototypes (`proto`). Modalities that lag get more weight: within a case (delta) and over epochs
(beta).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backbones.contract import Backbone, Features, Fused
from bench_errors import InputError
from bench_registry import unknown
from passion.distillation import dice_distance, pixel_distillation, semantic_distillation
from passion.losses import CaseLabels, deep_supervision, output_loss
from passion.objective import Batch, Losses, Objective, labels_of, per_modality, unimodal_losses
from passion.preference import GradientBalance, relative_preference

VARIANTS = ("released", "paper")
PREFERENCES = ("prototype", "dice", "kl")
MEASURES = ("distance", "preference")


class Passion(Objective):
    """PASSION. Terms: `fuse`, `prm`, and per modality `sep`, `kl`, `proto`, `distance`, `preference`.

    total = fuse + prm + sum delta beta w sep + lambda1 sum beta w kl + lambda2 sum delta w proto, the sums
    over the modalities that are taught; w is 1 under `pdt`. In the warm-up only sum beta w sep. A student
    whose one modality is the whole subset is the teacher itself: its kl, proto and distance are 0, and
    nothing is computed.

    Its four parts can be switched off: `pixel` (kl), `semantic` (proto), `delta` (which then is 1
    throughout) and `beta` (which then stays 1). `preference` is the distance between a student and the
    teacher that relative preference goes by: `prototype`, the mean absolute difference of similarity maps;
    `dice`, of the fused outputs; or `kl`, the pixel-wise distillation loss. A part that is off
    has a term of 0; where no part needs a distance, there is no `distance` and no `preference`.

    `variant`: `released` follows the released code. `paper` differs in three things: delta does not gate sep;
    w is 1 / (1 - missing rate) whatever the batch size; cases in which a modality is its own teacher do not
    enter its mean distance of the epoch.

    A call with gradients enabled is a training step and counts in the epoch's mean distances; evaluate under
    `torch.no_grad()`, which counts nothing.
    """

    summed = ("distance", "seen")

    def __init__(
        self,
        modalities: int,
        classes: int,
        policy: str = "idt",
        variant: str = "released",
        lambda1: float = 0.5,
        lambda2: float = 0.1,
        tau: float = 4.0,
        eta: float = 0.01,
        pixel: bool = True,
        semantic: bool = True,
        delta: bool = True,
        beta: bool = True,
        preference: str = "prototype",
        warmup_epochs: int = 0,
        counts: Sequence[int] | None = None,
        cases: int | None = None,
        batch_size: int = 1,
    ):
        super().__init__(modalities, classes, policy, warmup_epochs, counts, cases, batch_size)
        if variant not in VARIANTS:
            raise InputError(unknown("variant", variant, list(VARIANTS)))
        if preference not in PREFERENCES:
            raise InputError(unknown("preference", preference, list(PREFERENCES)))
        self.variant = variant
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.tau = tau
        self.pixel = pixel
        self.semantic = semantic
        self.delta = delta
        self.preference = preference if delta or beta else None
        self.weights = self._modality_weights()
        fixed = counts if policy == "idt" and variant == "released" else None
        self.balance = GradientBalance(modalities, eta if beta else 0.0, warmup_epochs, fixed)

    @property
    def beta(self) -> Tensor:
        """The gradient weights of the modalities, float64 [M]."""
        return self.balance.beta

    @property
    def measured(self) -> bool:
        """Whether the distances of the students from the teacher are known."""
        return self.semantic or self.preference is not None

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        """Return the losses of `batch`, from one `encode`, one `unimodal` and one `fuse` of all rows."""
        device = batch.volumes.device
        taught = self.taught(batch)
        features = backbone.encode(batch.volumes, taught.to(device))
        labels = labels_of(batch, self.classes)
        if self.warming_up:
            return self._warmup(self._sep(backbone, features, taught, taught, labels).sum(dim=0))
        rows = plan_rows(batch.present.detach().cpu().bool(), taught)
        fused = backbone.fuse(features, rows.present.to(device), rows.case.to(device))
        cases = []
        with torch.autocast(device.type, enabled=False):
            for parts, students, case_taught, case_labels in zip(
                split_rows(fused, rows), rows.students, taught, labels, strict=True
            ):
                terms = self._case_terms(parts, students.to(device), case_labels, batch.target.shape[1:])
                terms["preference"] = relative_preference(terms["distance"], case_taught.to(device))
                cases.append(terms)
                if torch.is_grad_enabled():
                    self._count(terms["distance"], case_taught, students)
        terms = {name: torch.stack([case[name] for case in cases]) for name in cases[0]}
        weights = self.weights.to(terms["fuse"])
        delta = (terms["preference"] < 0).to(weights) if self.delta else torch.ones_like(terms["preference"])
        gate = delta if self.variant == "released" else torch.ones_like(delta)
        terms["sep"] = self._sep(backbone, features, taught, taught & gate.cpu().bool(), labels)
        names = [name for name in terms if self.measured or name not in MEASURES]
        return Losses(
            self._total(terms, delta, gate, weights),
            {name: terms[name].detach().sum(dim=0) for name in names},
        )

    def end_epoch(self) -> dict[str, list[float]] | None:
        """Move beta; return the `preference`, `beta` and `distance` of the epoch, if any."""
        changed = self.balance.end_epoch(self.epoch)
        super().end_epoch()
        return changed if self.measured else None

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, beta and the sums of the epoch so far."""
        return {**super().state_dict(), **self.balance.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.balance.load_state_dict(state)

    def _modality_weights(self) -> Tensor:
        """Return w [M]: steps of an epoch (released) or cases (paper) per case that has the modality."""
        if self.counts is None or self.cases is None or self.policy == "pdt":
            return torch.ones(self.modalities, dtype=torch.float64)
        steps = -(-self.cases // self.batch_size)
        share = steps if self.variant == "released" else self.cases
        return share / torch.tensor(self.counts, dtype=torch.float64).clamp(min=1)

    def _case_terms(
        self, parts: "CaseOutputs", students: Tensor, labels: CaseLabels, size: torch.Size
    ) -> dict[str, Tensor]:
        teacher = parts.teacher
        terms = {
            "fuse": output_loss(teacher.logits, labels).squeeze(0),
            "prm": deep_supervision(teacher.side_logits, labels, size).squeeze(0),
        }
        zeros = terms["fuse"].new_zeros(self.modalities)
        if len(students) == 0:
            return {**terms, "kl": zeros, "proto": zeros, "distance": zeros}
        student = parts.students
        placed = {}
        if self.pixel or self.preference == "kl":
            outputs = [student.logits, *student.side_logits], [teacher.logits, *teacher.side_logits]
            placed["kl"] = pixel_distillation(*outputs, self.tau, size)
        if self.semantic or self.preference == "prototype":
            maps = semantic_distillation(student.decoder_features, teacher.decoder_features, labels)
            placed["proto"], placed["distance"] = maps
        if self.preference == "dice":
            placed["distance"] = dice_distance(student.logits.detach(), teacher.logits.detach())
        elif self.preference == "kl":
            placed["distance"] = placed["kl"].detach().clamp(min=0)
        if not self.pixel:
            placed.pop("kl", None)
        if not self.semantic:
            placed.pop("proto", None)
        filled = {k: per_modality(v, students, self.modalities) for k, v in placed.items()}
        return {**terms, **{k: filled.get(k, zeros) for k in ("kl", "proto", "distance")}}

    def _sep(
        self,
        backbone: Backbone,
        features: Features,
        taught: Tensor,
        felt: Tensor,
        labels: list[CaseLabels],
    ) -> Tensor:
        """Task loss of each taught modality's own output [B, M], with gradients where `felt` bool [B, M].

        A loss whose weight is 0 is only recorded: its backward pass, most of a decoder's work, is left out.
        """
        device = features.available.device
        sep = torch.zeros(taught.shape, device=device, dtype=labels[0].count.dtype)
        for part, learning in ((felt, True), (taught & ~felt, False)):
            if not part.any():
                continue
            chosen = replace(features, available=part.to(device))
            with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
                own = self.own_logits(backbone, chosen, part)
                with torch.autocast(device.type, enabled=False):
                    values = torch.stack(unimodal_losses(own, part, labels))
            sep = sep + values
        return sep

    def _total(self, terms: dict[str, Tensor], delta: Tensor, gate: Tensor, weights: Tensor) -> Tensor:
        beta = self.beta.to(weights)
        return (
            (terms["fuse"] + terms["prm"]).sum()
            + (gate * beta * weights * terms["sep"]).sum()
            + self.lambda1 * (beta * weights * terms["kl"]).sum()
            + self.lambda2 * (delta * weights * terms["proto"]).sum()
        )

    def _warmup(self, sep: Tensor) -> Losses:
        total = (self.beta.to(sep) * self.weights.to(sep) * sep).sum()
        terms = {name: sep.new_zeros(()) for name in ("fuse", "prm")}
        names = ("kl", "proto", *(MEASURES if self.measured else ()))
        terms |= {name: torch.zeros_like(sep) for name in names}
        return Losses(total, {**terms, "sep": sep.detach()})

    def _count(self, distance: Tensor, taught: Tensor, students: Tensor) -> None:
        counted = taught
        if self.variant == "paper":
            counted = torch.zeros_like(taught).index_fill(0, students.cpu(), True)
        self.balance.add(distance.detach(), counted.to(distance.device))


@dataclass
class Rows:
    """The subsets to fuse for a batch: per case its teacher, then its students.

    Attributes:
        present: bool [K, M].
        case: int64 [K], which case each row belongs to.
        students: per case the modalities of its students, int64 [R].
    """

    present: Tensor
    case: Tensor
    students: list[Tensor]


@dataclass
class CaseOutputs:
    """The fused outputs of one case: of its teacher (one row) and its students (R rows, perhaps none)."""

    teacher: Fused
    students: Fused


def plan_rows(present: Tensor, taught: Tensor) -> Rows:
    """Return the rows of one batched `fuse`; a modality that is the whole subset needs no student of its own.

    `present` and `taught`: bool [B, M] on the CPU.
    """
    alone = torch.eye(present.shape[1], dtype=torch.bool)
    students = [
        torch.tensor(
            [m for m in mask.nonzero().squeeze(1).tolist() if not alone[m].equal(subset)], dtype=torch.int64
        )
        for subset, mask in zip(present, taught, strict=True)
    ]
    rows = [torch.cat((subset.unsqueeze(0), alone[s])) for subset, s in zip(present, students, strict=True)]
    case = torch.repeat_interleave(torch.tensor([len(r) for r in rows]))
    return Rows(torch.cat(rows), case, students)


def split_rows(fused: Fused, rows: Rows) -> list[CaseOutputs]:
    """Give each case its rows of the batched outputs."""
    sizes = [size for students in rows.students for size in (1, len(students))]
    logits, features = fused.logits.split(sizes), fused.decoder_features.split(sizes)
    sides = [side.split(sizes) for side in fused.side_logits]
    groups = [Fused(logits[i], [side[i] for side in sides], features[i]) for i in range(len(sizes))]
    return [CaseOutputs(*groups[i : i + 2]) for i in range(0, len(groups), 2)]
