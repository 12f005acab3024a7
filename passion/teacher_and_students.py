"""The subsets that self-distillation fuses: of each case its teacher, then its students, in one batch.

    rows = plan_rows(batch.present, taught)
    fused = backbone.fuse(features, rows.present, rows.case)
    for outputs in split_rows(fused, rows):
        outputs.teacher, outputs.students, outputs.modality

The teacher sees the subset that was drawn, a student one modality. A modality that is the whole subset needs
no student, which would be the teacher itself, unless dropout tells the two apart.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.contract import Fused


@dataclass
class Rows:
    """The rows of a batched `fuse`.

    Attributes:
        present: bool [K, M].
        case: int64 [K], which case each row belongs to.
        students: for each case, the modalities of its students, int64 [R].
    """

    present: Tensor
    case: Tensor
    students: list[Tensor]

    @property
    def teachers(self) -> Tensor:
        """Which rows are teachers, int64 [B]."""
        sizes = torch.tensor([1 + len(students) for students in self.students])
        return sizes.cumsum(0) - sizes


@dataclass
class CaseOutputs:
    """The fused outputs of one case.

    Attributes:
        teacher: one row.
        students: R rows, perhaps none.
        modality: the modality that each student sees, int64 [R] on the CPU.
    """

    teacher: Fused
    students: Fused
    modality: Tensor


def plan_rows(present: Tensor, taught: Tensor, lone_students: bool = False) -> Rows:
    """Return the rows of a batch that shows `present` and learns from `taught`, bool [B, M] on the CPU.

    `lone_students`: whether a modality that is the whole subset has a student too.
    """
    alone = torch.eye(present.shape[1], dtype=torch.bool)
    students, rows = [], []
    for subset, mask in zip(present, taught, strict=True):
        modalities = mask.nonzero().squeeze(1).tolist()
        if not lone_students:
            modalities = [m for m in modalities if not alone[m].equal(subset)]
        students.append(torch.tensor(modalities, dtype=torch.int64))
        rows.append(torch.cat((subset.unsqueeze(0), alone[students[-1]])))
    case = torch.repeat_interleave(torch.tensor([len(r) for r in rows]))
    return Rows(torch.cat(rows), case, students)


def split_rows(fused: Fused, rows: Rows) -> list[CaseOutputs]:
    """Give each case its rows of the batched outputs."""
    sizes = [size for students in rows.students for size in (1, len(students))]
    logits, features = fused.logits.split(sizes), fused.decoder_features.split(sizes)
    sides = [side.split(sizes) for side in fused.side_logits]
    groups = [Fused(logits[i], [side[i] for side in sides], features[i]) for i in range(len(sizes))]
    return [
        CaseOutputs(groups[2 * b], groups[2 * b + 1], students) for b, students in enumerate(rows.students)
    ]
