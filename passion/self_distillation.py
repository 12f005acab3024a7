"""PASSION: self-distillation weighted by relative preference (arXiv 2407.14796).

    objective = passion.create("passion", modalities=4, classes=4, counts=[183, 136, 90, 43], cases=219)

The network that sees a case's subset of modalities teaches the network that sees one of them alone, its
student: at the level of voxels (`kl`) and of class prototypes (`proto`). Modalities that lag get more weight:
within a case (delta) and over epochs (beta).
"""

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from backbones.contract import Auxiliary, Backbone, Features, Fused, has_dropout
from backbones.host import host, may_look, on_device
from bench_errors import InputError
from bench_schema import refuse
from passion.distillation import dice_distance, pixel_distillation, semantic_distillation
from passion.losses import CaseLabels, deep_supervision, output_loss
from passion.objective import (
    Batch,
    Losses,
    Objective,
    corners_of,
    labels_of,
    per_modality,
    unimodal_losses,
    unweighted,
    weighted_sum,
)
from passion.options import ObjectiveOptions
from passion.preference import GradientBalance, relative_preference
from passion.teacher_and_students import CaseOutputs, plan_rows, split_rows


class Passion(Objective):
    """PASSION. Terms: `fuse`, `prm`, and per modality `sep`, `kl`, `proto`, `distance`, `preference`.

    total = fuse + prm + sum delta beta w sep + lambda1 sum beta w kl + lambda2 sum delta w proto, the sums
    over the modalities that are taught; w is 1 under `pdt`. In the warm-up only sum beta w sep. A student
    whose one modality is the whole subset is the teacher itself: its kl, proto and distance are 0, and
    nothing is computed. Where dropout tells the two apart, as released, it is a student like the others.

    A part that is off has a term of 0; where no part needs a distance, there is no `distance` and no
    `preference`. A call with gradients enabled is a training step and counts in the epoch's mean distances;
    evaluate under `torch.no_grad()`, which counts nothing.
    """

    class Options(ObjectiveOptions):
        """Weights and parts of PASSION (symbols as in the paper).

        `variant`: `released` follows the released code with its errors mended. `paper` differs in three
        things: delta does not gate sep; w is 1 / (1 - missing rate) whatever the batch size; a modality that
        is the whole subset has no student, whatever dropout does, and such cases do not enter its mean
        distance of the epoch.

        `lambda1`: weight of kl. `lambda2`: weight of proto. `tau`: temperature of kl. `eta`: step of beta
        after an epoch.

        `pixel`, `semantic`, `delta`, `beta`: the four parts, kl, proto, delta (off: it is 1 throughout) and
        beta (off: it stays 1). `preference`: the distance between student and teacher that relative
        preference goes by: `prototype`, the mean absolute difference of similarity maps; `dice`, of the fused
        outputs; or `kl`, the pixel-wise distillation loss.
        """

        variant: Literal["released", "paper"] = "released"
        lambda1: float = Field(0.5, ge=0)
        lambda2: float = Field(0.1, ge=0)
        tau: float = Field(4.0, gt=0)
        eta: float = Field(0.01, ge=0)
        pixel: bool = True
        semantic: bool = True
        delta: bool = True
        beta: bool = True
        preference: Literal["prototype", "dice", "kl"] = "prototype"

        @model_validator(mode="after")
        def _check_effect(self) -> "Passion.Options":
            if not (self.pixel or self.semantic or self.delta or self.beta):
                raise ValueError(
                    "pixel, semantic, delta and beta are all off, nothing of PASSION is left: use objective "
                    "baseline"
                )
            if self.delta and self.variant == "paper" and not self.semantic:
                why = "in variant paper it gates proto alone, and semantic is off; set delta: false"
                refuse({("delta",): f"has no effect: {why}"})
            idle = {
                "lambda1": (not self.pixel, "pixel is off"),
                "lambda2": (not self.semantic, "semantic is off"),
                "tau": (not self.pixel and self.preference != "kl", "pixel is off"),
                "eta": (not self.beta, "beta is off"),
                "preference": (not (self.delta or self.beta), "delta and beta are off"),
            }
            for name, (off, why) in idle.items():
                if off and getattr(self, name) != type(self).model_fields[name].default:
                    refuse({(name,): f"has no effect: {why}; leave it out"})
            return self

        @property
        def distance(self) -> str | None:
            """Which distance of the students from the teacher is measured; None where no part needs one."""
            return self.preference if self.semantic or self.delta or self.beta else None

    options: Options
    capturable = True
    summed = ("distance", "seen")

    def __init__(self, modalities: int, classes: int, options: Options, **facts: Any):
        super().__init__(modalities, classes, options, **facts)
        self.weights = self._modality_weights()
        eta = options.eta if options.beta else 0.0
        self.balance = GradientBalance(modalities, eta, options.warmup_epochs)

    @property
    def beta(self) -> Tensor:
        """The gradient weights of the modalities, float64 [M]."""
        return self.balance.beta

    def left_out(self, backbone: Backbone) -> str:
        """The same as of every objective, with the parts that have no effect without an auxiliary decoder.

        Raises `InputError` where no part has any.
        """
        said, options = super().left_out(backbone), self.options
        if not said:
            return ""
        if not (options.pixel or options.semantic):
            raise InputError(
                f"objective.pixel and objective.semantic are off, and {type(backbone).__name__} has no "
                "auxiliary decoder: nothing of PASSION is left, use objective baseline"
            )
        gating = {"beta": options.beta and not options.pixel, "delta": options.delta and not options.semantic}
        idle = [name for name, is_idle in gating.items() if is_idle]
        return said + f"; {' and '.join(idle)} has nothing left to weight" * bool(idle)

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        """Return the losses of `batch`, from one `encode`, one `unimodal` and one `fuse` of all rows."""
        taught, device = self.taught(batch), batch.volumes.device
        self.weights = self.weights.to(device)
        self.balance.to(device)
        features = backbone.encode_at(batch.volumes, on_device(taught, device), corners_of(batch))
        labels = labels_of(batch, backbone)
        if self.warming_up:
            return self._warmup_losses(self._sep(backbone, features, labels, taught, taught).sum(dim=0))
        terms, auxiliary = self._fused_terms(backbone, features, batch, labels, taught)
        delta = torch.ones_like(terms["preference"])
        if self.options.delta:
            delta = (terms["preference"] < 0).to(delta)
        gate = delta if self.options.variant == "released" else torch.ones_like(delta)
        # A look at the gate costs a GPU more than the gradients that are then multiplied by 0.
        learning = taught & gate.bool() if may_look(device) else taught
        terms["sep"] = self._sep(backbone, features, labels, taught, learning)
        total = self._total(terms, delta, gate) + weighted_sum(auxiliary)
        if self.options.distance is None:
            del terms["distance"], terms["preference"]
        recorded = {name: term.detach().sum(dim=0) for name, term in terms.items()}
        return Losses(total, {**recorded, **unweighted(auxiliary)})

    def end_epoch(self) -> dict[str, list[float]] | None:
        """Move beta; return the `preference`, `beta` and `distance` of the epoch, if any."""
        changed = self.balance.end_epoch(self.epoch)
        super().end_epoch()
        return None if self.options.distance is None else changed

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, beta and the sums of the epoch so far."""
        return {**super().state_dict(), **self.balance.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        super().load_state_dict(state)
        self.balance.load_state_dict(state)

    def _modality_weights(self) -> Tensor:
        """Return w [M]: steps of an epoch (released) or cases (paper) per case that has the modality."""
        if self.counts is None or self.cases is None or self.options.policy == "pdt":
            return torch.ones(self.modalities, dtype=torch.float64)
        steps = -(-self.cases // self.batch_size)
        share = steps if self.options.variant == "released" else self.cases
        return share / torch.tensor(self.counts, dtype=torch.float64).clamp(min=1)

    def _fused_terms(
        self, backbone: Backbone, features: Features, batch: Batch, labels: list[CaseLabels], taught: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Auxiliary]]:
        """Return all terms but `sep`, of each case, [B] or [B, M], and the network's own, of the teachers.

        Counts the distances of a training step.
        """
        device, size = batch.volumes.device, batch.target.shape[1:]
        lone_students = self.options.variant == "released" and has_dropout(backbone)
        rows = plan_rows(host(batch.present).bool(), taught, lone_students)
        fused = backbone.fuse(features, on_device(rows.present, device), on_device(rows.case, device))
        auxiliary = backbone.auxiliary(features, fused.select(rows.teachers), batch)
        cases = []
        with torch.autocast(device.type, enabled=False):
            for b, outputs in enumerate(split_rows(fused, rows)):
                terms = self._case_terms(outputs, labels[b], size)
                terms["preference"] = relative_preference(terms["distance"], on_device(taught[b], device))
                cases.append(terms)
                if torch.is_grad_enabled():
                    self._count(terms["distance"], taught[b], outputs.modality)
        return {name: torch.stack([terms[name] for terms in cases]) for name in cases[0]}, auxiliary

    def _case_terms(self, outputs: CaseOutputs, labels: CaseLabels, size: torch.Size) -> dict[str, Tensor]:
        """Return a case's `fuse` and `prm`, scalars, and `kl`, `proto` and `distance` of its students [M]."""
        teacher = outputs.teacher
        fuse = output_loss(teacher.logits, labels).squeeze(0)
        prm = deep_supervision(teacher.side_logits, labels, size).squeeze(0)
        terms = dict.fromkeys(("kl", "proto", "distance"), fuse.new_zeros(self.modalities))
        if len(outputs.modality):
            compared = self._compare(outputs.students, teacher, labels, size)
            terms |= {
                name: per_modality(v, outputs.modality, self.modalities) for name, v in compared.items()
            }
        return {"fuse": fuse, "prm": prm, **terms}

    def _compare(
        self, students: Fused, teacher: Fused, labels: CaseLabels, size: torch.Size
    ) -> dict[str, Tensor]:
        """Return `kl`, `proto` and `distance` of R students, each [R], as far as the options ask for them."""
        options, terms = self.options, {}
        if options.semantic or options.distance == "prototype":
            proto, terms["distance"] = semantic_distillation(
                students.decoder_features, teacher.decoder_features, labels
            )
            if options.semantic:
                terms["proto"] = proto
        if options.pixel or options.distance == "kl":
            kl = pixel_distillation(students.outputs, teacher.outputs, options.tau, size, labels.heads)
            if options.pixel:
                terms["kl"] = kl
            if options.distance == "kl":
                terms["distance"] = kl.detach().clamp(min=0)
        if options.distance == "dice":
            terms["distance"] = dice_distance(students.logits.detach(), teacher.logits.detach(), labels.heads)
        return terms

    def _sep(
        self,
        backbone: Backbone,
        features: Features,
        labels: list[CaseLabels],
        taught: Tensor,
        weighted: Tensor,
    ) -> Tensor:
        """Task loss of each taught modality's own output [B, M], with gradients where `weighted` bool [B, M].

        A loss whose weight is 0 is only recorded: its backward pass, most of a decoder's work, is left out.
        """
        device = features.available.device
        sep = torch.zeros(taught.shape, device=device, dtype=labels[0].count.dtype)
        for part, learning in ((weighted, True), (taught & ~weighted, False)):
            if not part.any():
                continue
            with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
                logits = self.unimodal_logits(
                    backbone, replace(features, available=on_device(part, device)), part
                )
                with torch.autocast(device.type, enabled=False):
                    losses = torch.stack(unimodal_losses(logits, part, labels))
            sep = sep + losses
        return sep

    def _total(self, terms: dict[str, Tensor], delta: Tensor, gate: Tensor) -> Tensor:
        weights, beta = self.weights.to(delta), self.beta.to(delta)
        return (
            (terms["fuse"] + terms["prm"]).sum()
            + (gate * beta * weights * terms["sep"]).sum()
            + self.options.lambda1 * (beta * weights * terms["kl"]).sum()
            + self.options.lambda2 * (delta * weights * terms["proto"]).sum()
        )

    def _warmup_losses(self, sep: Tensor) -> Losses:
        total = (self.beta.to(sep) * self.weights.to(sep) * sep).sum()
        terms = {name: sep.new_zeros(()) for name in ("fuse", "prm")}
        measures = () if self.options.distance is None else ("distance", "preference")
        terms |= {name: torch.zeros_like(sep) for name in ("kl", "proto", *measures)}
        return Losses(total, {**terms, "sep": sep.detach()})

    def _count(self, distance: Tensor, taught: Tensor, students: Tensor) -> None:
        """Add a case's distances [M] to the epoch's; `students` int64 [R], both on the CPU."""
        counted = taught
        if self.options.variant == "paper":
            counted = torch.zeros_like(taught).index_fill(0, students, True)
        self.balance.add(distance.detach(), on_device(counted, distance.device))
