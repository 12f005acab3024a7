"""GSS: the modalities of a case teach each other by group self-support (Qiu et al., ICCV 2023).

    objective = passion.create("gss", modalities=4, classes=4)

The form for incomplete data that the authors of PASSION compare with (HGA, Jun-Jie-Shi/HGA). Of each case,
p_m are the probabilities of modality m's own output; the first modality of the study leads (FLAIR of BraTS).
The teacher's probability of a class at a voxel is

    p of the leader                     where that is above 0.65,
    the mean p of the others present    else, where each of these is above 0.75,
    the lowest p of all present         else,

then clamped to [0.005, 1] and divided by its sum over the classes. Without gradient through it,

    total = fuse + prm + sum of sep + sum of kl,   kl_m = KL(softmax(teacher), softmax(p_m))

as a mean over classes and voxels: the code that is compared with takes the softmax of probabilities.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from backbones.contract import Backbone, Features, Fused
from backbones.heads import Heads, full_precision
from backbones.host import on_device
from passion.baseline import Further
from passion.distillation import temperature_kl
from passion.losses import FLOOR, CaseLabels
from passion.objective import Batch, per_modality
from passion.rivals.weighting import TaskWeighting

DOMINANCE = 0.65
SUPPORT = 0.75


class _Observed(NamedTuple):
    """Each modality's own output [B, M, channels, *space], and which of them are taught, bool [B, M]."""

    logits: Tensor
    taught: Tensor


class GSS(TaskWeighting):
    """Group self-support. Terms: `fuse`, `prm`, and per modality `sep` and `kl`."""

    modality_terms = ("kl",)

    def observe(
        self, backbone: Backbone, features: Features, batch: Batch, taught: Tensor, logits: Tensor | None
    ) -> _Observed:
        """Keep the modalities' own outputs, which every network has here."""
        assert logits is not None
        return _Observed(logits, taught)

    def further(
        self,
        nothing: Further,
        fused: Fused,
        observed: _Observed,
        labels: list[CaseLabels],
        size: torch.Size,
    ) -> Further:
        """Return the sum of kl."""
        kl = nothing.terms["kl"]
        for logits, taught, case_labels in zip(*observed, labels, strict=True):
            modality, heads = taught.nonzero().squeeze(1), case_labels.heads
            chosen = logits.index_select(0, on_device(modality, logits.device))
            p = heads.probabilities(full_precision(chosen))
            teacher = group_teacher(p.detach(), bool(taught[0]), heads)
            kl = kl + per_modality(temperature_kl(p, teacher[None], 1.0, size, heads), modality, len(kl))
        return Further(kl.sum(), {"kl": kl})


def group_teacher(p: Tensor, led: bool, heads: Heads) -> Tensor:
    """Return the teacher's probabilities [channels, *space].

    `p` [R, channels, *space] are those of the modalities present, in their order; `led`: whether the first of
    them is the one that leads. Regions are not divided by their sum.
    """
    others = p[1:] if led else p
    teacher = p.amin(dim=0)
    if len(others):
        teacher = torch.where((others > SUPPORT).all(dim=0), others.mean(dim=0), teacher)
    if led:
        teacher = torch.where(p[0] > DOMINANCE, p[0], teacher)
    teacher = teacher.clamp(FLOOR, 1)
    return teacher if heads.regions else teacher / teacher.sum(dim=0)
