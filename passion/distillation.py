"""PASSION's self-distillation: the network with one modality learns from itself with the case's subset.

    kl = pixel_distillation(student_outputs, teacher_outputs, tau, size)                    # [R]
    proto, distance = semantic_distillation(student_features, teacher_features, labels)     # [R], [R]

    distance = dice_distance(student_logits, teacher_logits)                                # [R]

R students of one case, and one teacher, from which no gradient flows. Formulas: PASSION (arXiv 2407.14796),
pixel-wise and semantic-wise self-distillation, with the scale, the clamp and the L1 distance of its released
code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from backbones import kernels
from backbones.heads import Heads, full_precision
from passion.losses import FLOOR, SOFTMAX, CaseLabels, probabilities, read_by_kernels
from passion.row_losses import at_once

NORM_FLOOR = 1e-5
"""Each of the two norms of a cosine similarity is clamped from below at this."""

COUNT_EPSILON = 1e-5


def temperature_kl(
    student: Tensor, teacher: Tensor, tau: float, size: Sequence[int], heads: Heads = SOFTMAX
) -> Tensor:
    """tau^2 times the mean over classes and voxels of q_t (log q_t - log q_s): [R].

    q are the softened probabilities at full size, clamped to [0.005, 1], so the result can be
    slightly negative. Regions and their complements count as classes.

    Args:
        student: logits [R, classes, *space_l].
        teacher: logits [1, classes, *space_l]; detached here.
        tau: the temperature.
        size: the space to compare at.
        heads: what the channels of the logits are.
    """

    if read_by_kernels(student, heads, size):
        from passion.fused_losses import divergence  # here, for it needs triton

        return tau**2 * divergence(student, teacher, tau, FLOOR) / student[0].numel()

    def softened(logits: Tensor) -> Tensor:
        return heads.outcomes(probabilities(logits, size, tau, heads)).clamp(FLOOR, 1).flatten(1)

    q_teacher = softened(teacher.detach())[0]
    log_teacher = q_teacher.log()

    def compare(rows: Tensor) -> Tensor:
        return tau**2 * ((log_teacher - softened(rows).log()) @ q_teacher) / len(q_teacher)

    kl: Tensor = at_once(compare, student)
    return kl


def pixel_distillation(
    student: list[Tensor],
    teacher: list[Tensor],
    tau: float,
    size: Sequence[int],
    heads: Heads = SOFTMAX,
) -> Tensor:
    """Temperature KL of the fused output plus those of the side outputs weighted 1/2, 1/4, ...: [R].

    `student` and `teacher`: the fused logits, then the side logits from the finest, each
    [R, classes, *space_l], with R = 1 for the teacher.
    """
    terms = [
        temperature_kl(s, t, tau, size, heads) / 2**level
        for level, (s, t) in enumerate(zip(student, teacher, strict=True))
    ]
    return torch.stack(terms).sum(dim=0)


def similarity_maps(features: Tensor, labels: CaseLabels) -> Tensor:
    """Cosine similarity of each voxel's features with the prototype of each class.

    A prototype is the mean feature vector over the class's voxels. `features` [R, F, V] ->
    [R, classes, V], 0 for a class without a voxel.
    """
    prototypes = features @ labels.one_hot.T / (labels.count + COUNT_EPSILON)
    directions = prototypes / prototypes.norm(dim=1, keepdim=True).clamp(min=NORM_FLOOR)
    # torch's norm along an axis that is not the last is many times slower than this, which is equal to it.
    norms = features.square().sum(dim=1, keepdim=True).clamp(min=NORM_FLOOR**2).sqrt()
    return directions.transpose(1, 2) @ features / norms


def semantic_distillation(student: Tensor, teacher: Tensor, labels: CaseLabels) -> tuple[Tensor, Tensor]:
    """Compare the similarity maps of students and teacher.

    Args:
        student: finest decoder features [R, F, *space]; gradients also flow through the prototypes.
        teacher: the same of the teacher [1, F, *space]; detached here.
        labels: of the case.

    Returns proto [R], the mean squared difference, and distance [R], the mean absolute one, without gradient;
    means over the voxels and the classes that the case has.
    """
    if kernels.wanted(student):
        return _by_kernels(student, teacher, labels)
    target = similarity_maps(full_precision(teacher.detach()).flatten(2), labels)
    size = (labels.count > 0).sum() * target.shape[2]  # of the maps of classes that the case has

    def compare(features: Tensor) -> tuple[Tensor, Tensor]:
        difference = similarity_maps(full_precision(features).flatten(2), labels) - target
        return difference.square().sum(dim=(1, 2)) / size, difference.detach().abs().sum(dim=(1, 2)) / size

    proto, distance = at_once(compare, student)
    return proto, distance


def _by_kernels(student: Tensor, teacher: Tensor, labels: CaseLabels) -> tuple[Tensor, Tensor]:
    from passion.fused_losses import class_sums, similarity_differences  # here, for it needs triton

    def directions(features: Tensor) -> Tensor:
        sums = class_sums(features, labels.index, len(labels.count))
        prototypes = sums / (labels.count + COUNT_EPSILON).unsqueeze(1)
        return prototypes / prototypes.norm(dim=2, keepdim=True).clamp(min=NORM_FLOOR)

    occurring = (labels.count > 0).to(labels.count.dtype)
    ways = directions(student), teacher, directions(teacher.detach())
    squares, absolutes = similarity_differences(student, *ways, occurring, NORM_FLOOR)
    compared = occurring.sum() * len(labels.index)
    return squares / compared, absolutes / compared


def dice_distance(student: Tensor, teacher: Tensor, heads: Heads = SOFTMAX) -> Tensor:
    """1 - mean over classes of the soft Dice of two outputs, 0 where they are equal: [R].

    Soft Dice with squared sums, 2 sum(p q) / (sum p^2 + sum q^2) (V-Net, Milletari et al., 3DV 2016); 1 for a
    class that neither gives a probability above zero.
    `student` logits [R, classes, *space], `teacher` [1, classes, *space].
    """
    p, q = (heads.probabilities(logits).flatten(2) for logits in (student, teacher))
    sizes = (p.square() + q.square()).sum(dim=2)
    return 1 - torch.where(sizes > 0, 2 * (p * q).sum(dim=2) / sizes, 1).mean(dim=1)
