"""Knowledge distillation: a separately trained, frozen teacher guides the outputs (Hinton et al., 2015).

    objective = passion.create("kd", modalities=4, classes=4, teacher=network)

The counterpart of PASSION's pixel-wise self-distillation, with a teacher that does not learn: a `baseline`
of the same backbone. It sees all that a case has; its outputs guide the fused output of the case's subset
(kd), and that of each modality alone (kl_m), through the same temperature KL, side outputs weighted 1/2,
1/4, ...:

    total = fuse + prm + sum of sep + lambda1 (kd + sum of kl)
"""

from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from backbones.contract import Backbone, Features, Fused
from passion.baseline import Baseline, Further
from passion.distillation import pixel_distillation
from passion.losses import CaseLabels
from passion.objective import Batch, corners_of, fuse_alone, per_modality
from passion.options import ObjectiveOptions


class _Observed(NamedTuple):
    """Outputs of the teacher (B rows) and of each modality alone (R rows), and those rows' places."""

    teacher: Fused
    alone: Fused
    case: Tensor
    modality: Tensor


class Distillation(Baseline):
    """Distillation from a frozen teacher. Terms: `fuse`, `prm`, `kd`, and per modality `sep` and `kl`."""

    class Options(ObjectiveOptions):
        """The teacher is a `baseline` run of the same grid that is done first.

        `teacher_data`: what the teacher learns from: `imperfect`, the student's own data, or `complete`,
        every modality of every case (an upper bound). `lambda1`: weight of the distillation. `tau`: its
        temperature.
        """

        teacher_data: Literal["imperfect", "complete"] = "imperfect"
        lambda1: float = Field(0.5, gt=0)
        tau: float = Field(4.0, gt=0)

        @property
        def teacher(self) -> ObjectiveOptions:
            """The options of the run that trains the teacher."""
            policy = self.policy if self.teacher_data == "imperfect" else "pdt"
            return ObjectiveOptions(name="baseline", policy=policy, warmup_epochs=self.warmup_epochs)

    options: Options
    scalar_terms = ("kd",)
    modality_terms = ("kl",)

    def __init__(self, modalities: int, classes: int, options: Options, teacher: Backbone, **facts: Any):
        """Freeze `teacher`, which stays on the device it is on."""
        super().__init__(modalities, classes, options, **facts)
        self.teacher = teacher.eval().requires_grad_(False)

    def observe(
        self, backbone: Backbone, features: Features, batch: Batch, taught: Tensor, logits: Tensor | None
    ) -> _Observed:
        """Run the teacher on what each case has, and the network on each modality alone."""
        available = getattr(batch, "available", None)
        seen = batch.present if available is None else available
        with torch.no_grad():
            features_of_all = self.teacher.encode_at(batch.volumes, seen, corners_of(batch))
            guide = self.teacher.fuse(features_of_all, seen)
        return _Observed(guide, *fuse_alone(backbone, features, taught))

    def further(
        self,
        nothing: Further,
        fused: Fused,
        observed: _Observed,
        labels: list[CaseLabels],
        size: torch.Size,
    ) -> Further:
        """Return lambda1 (kd + sum of kl)."""
        kd, kl = nothing.terms["kd"], nothing.terms["kl"]
        for b, case_labels in enumerate(labels):
            guide = observed.teacher.select(torch.tensor([b]))
            kd = kd + self._guide(fused.select(torch.tensor([b])), guide, size, case_labels).sum()
            rows = (observed.case == b).nonzero().squeeze(1)
            values = self._guide(observed.alone.select(rows), guide, size, case_labels)
            kl = kl + per_modality(values, observed.modality[rows], self.modalities)
        return Further(self.options.lambda1 * (kd + kl.sum()), {"kd": kd, "kl": kl})

    def _guide(self, student: Fused, teacher: Fused, size: torch.Size, labels: CaseLabels) -> Tensor:
        return pixel_distillation(student.outputs, teacher.outputs, self.options.tau, size, labels.heads)
