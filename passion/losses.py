"""The task losses of one case: weighted cross entropy plus Dice, at the output and at the side outputs.

    labels = CaseLabels(target, classes, torch.float32)         # one case, target [*space]
    loss = output_loss(logits, labels)                          # logits [R, classes, *space] -> [R]

R is any number of outputs for the same case: the fused one, or one per modality. Space is three axes.
Formulas: PASSION (arXiv 2407.14796) and its released code, which takes them from RFNet (ICCV 2021).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones import kernels
from backbones.cpu import interpolate
from backbones.heads import Heads
from passion.row_losses import at_once

FLOOR = 0.005
"""Probabilities are clamped from below at this before a logarithm; no gradient passes below it."""

DICE_EPSILON = 1e-7

SOFTMAX = Heads(0)
"""Of any number of classes."""


class CaseLabels:
    """What the losses need of one case's target, worked out once.

    Attributes:
        heads: what the channels of the outputs are.
        members: float [channels, V], which voxels belong to each channel, of regions too.
        index: int64 [V], the class of each of the case's V voxels.
        one_hot: float [classes, V].
        count: float [classes], voxels of each class.
        voxel_weights: float [V], 1 - share of the voxel's class in the case.
    """

    def __init__(
        self,
        target: Tensor,
        classes: int,
        dtype: torch.dtype,
        regions: tuple[tuple[int, ...], ...] = (),
    ):
        """Take the integer target [*space], values 0 to classes - 1; `dtype` is that of the float tensors.

        `regions`: the classes of each, of networks whose channels are regions; see `backbones.heads`.
        """
        self.heads = Heads(classes, regions)
        self.index = target.reshape(-1).long()
        of_class = Heads(classes).members(self.index)
        self.one_hot = of_class.to(dtype)
        self.count = of_class.sum(dim=1).to(dtype)
        self.members = self.heads.members(self.index).to(dtype) if regions else self.one_hot
        self.voxel_weights = (1 - self.count / len(self.index))[self.index]


def probabilities(
    logits: Tensor, size: Sequence[int] | None = None, tau: float = 1.0, heads: Heads = SOFTMAX
) -> Tensor:
    """Softmax of logits / tau (sigmoid of regions), then enlarged to `size` (trilinear, aligned corners).

    `logits` [R, channels, *space] -> [R, channels, *size]; `size` None keeps the space.
    """
    p = heads.probabilities(logits, tau)
    if size is None or p.shape[2:] == tuple(size):
        return p
    if p.device.type == "cpu":
        return interpolate(p, size)
    return F.interpolate(p, size=tuple(size), mode="trilinear", align_corners=True)


def cross_entropy(p_true: Tensor, labels: CaseLabels) -> Tensor:
    """Weighted cross entropy from `p_true` [R, V], the probabilities of each voxel's true class: [R].

    Mean over voxels of -w_c log(clamp(p_c, 0.005, 1)) with w_c = 1 - share of class c in the case.
    """
    return -(p_true.clamp(FLOOR, 1).log() @ labels.voxel_weights) / p_true.shape[1]


def dice_loss(p: Tensor, p_true: Tensor, labels: CaseLabels) -> Tensor:
    """Dice loss of `p` [R, classes, V]: 1 - mean over classes (background included) of the soft Dice: [R].

    `p_true` [R, V] are the probabilities of the true class: all that the overlap consists of.
    """
    overlap = F.linear(p_true, labels.one_hot)
    return 1 - (2 * overlap / (p.sum(dim=2) + labels.count + DICE_EPSILON)).mean(dim=1)


def region_loss(p: Tensor, labels: CaseLabels) -> Tensor:
    """Binary cross entropy plus Dice of the regions' probabilities `p` [R, regions, V], means over them: [R].

    As in nnU-Net's region-based training (Isensee et al., Nature Methods 2021).
    """
    inside = labels.members.expand_as(p)
    entropy = F.binary_cross_entropy(p, inside, reduction="none").mean(dim=(1, 2))
    overlap = (p * inside).sum(dim=2)
    sizes = p.sum(dim=2) + labels.members.sum(dim=1)
    return entropy + 1 - (2 * overlap / (sizes + DICE_EPSILON)).mean(dim=1)


def task_loss(p: Tensor, labels: CaseLabels) -> Tensor:
    """Weighted cross entropy plus Dice of the probabilities `p` [R, channels, *space]: [R].

    Of regions: `region_loss`.
    """
    p = p.flatten(2)
    if labels.heads.regions:
        return region_loss(p, labels)
    p_true = p.gather(1, labels.index.expand(len(p), 1, -1)).squeeze(1)
    return cross_entropy(p_true, labels) + dice_loss(p, p_true, labels)


def output_loss(logits: Tensor, labels: CaseLabels, size: Sequence[int] | None = None) -> Tensor:
    """Task loss of the outputs `logits` [R, classes, *space], enlarged to `size` where it is given: [R].

    Outputs that need not be enlarged are read by `backbones.kernels` where these are wanted.
    """
    if read_by_kernels(logits, labels.heads, size):
        return _by_kernels(logits, labels)
    loss: Tensor = at_once(
        lambda rows: task_loss(probabilities(rows, size, heads=labels.heads), labels), logits
    )
    return loss


def read_by_kernels(logits: Tensor, heads: Heads, size: Sequence[int] | None) -> bool:
    """Return whether kernels are to read `logits`: of classes, and at the `size` that is wanted already."""
    whole = size is None or logits.shape[2:] == tuple(size)
    return whole and not heads.regions and kernels.wanted(logits)


def _by_kernels(logits: Tensor, labels: CaseLabels) -> Tensor:
    from passion.fused_losses import task_sums  # here, for it needs triton

    voxels = len(labels.index)
    weights = 1 - labels.count / voxels
    entropy, sizes, overlaps = task_sums(logits, labels.index, weights, FLOOR)
    return entropy / voxels + 1 - (2 * overlaps / (sizes + labels.count + DICE_EPSILON)).mean(dim=1)


def deep_supervision(side_logits: list[Tensor], labels: CaseLabels, size: Sequence[int]) -> Tensor:
    """Task losses of the side outputs at full size, weighted 1/2, 1/4, 1/8, ... from the finest: [R].

    `side_logits`: each [R, classes, *space_l], or none at all: the sum is then a single 0, [1]; `size`: the
    target's space.
    """
    if not side_logits:
        return labels.count.new_zeros(1)
    losses = [output_loss(side, labels, size) / 2**level for level, side in enumerate(side_logits, start=1)]
    return torch.stack(losses).sum(dim=0)
