"""What the losses need of a network's outputs at full size, read once by Triton's kernels, with gradients.

    entropy, sizes, overlaps = task_sums(logits, index, weights, floor)         # [R], [R, C], [R, C]
    total = divergence(student, teacher, tau, floor)                            # [R]
    sums = class_sums(features, index, classes)                                 # [R, classes, F]
    squares, absolutes = similarity_differences(...)                            # [R], [R]

No map of probabilities or similarities lies in memory; the backward pass reads the outputs once more. Their
twins in plain torch are the losses themselves, in `losses` and `distillation`, which ask for these sums where
`backbones.kernels.wanted`. To remove them: this file, `loss_kernels` and the three `_by_kernels`.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from passion import loss_kernels

VALUES = 4096
"""Of a row's outputs, for one program."""


def task_sums(logits: Tensor, index: Tensor, weights: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sum up what cross entropy and Dice consist of, for each row of logits [R, C, *space] of one case.

    Args:
        logits: of R outputs.
        index: int64 [V], the class of each voxel.
        weights: [C], of each class in the cross entropy.
        floor: the least probability whose logarithm is taken; no gradient passes below it.

    Returns sums over voxels: of -w log p of the true class [R], of each class's probabilities [R, C], and of
    those where the class is the true one [R, C].
    """
    return _TaskSums.apply(_flat(logits), index.contiguous(), weights.contiguous(), floor)


def divergence(student: Tensor, teacher: Tensor, tau: float, floor: float) -> Tensor:
    """Sum q_t (log q_t - log q_s) over classes and voxels: [R]; q are softmaxes of logits / tau.

    Both are clamped to `floor` from below, below which no gradient passes.
    `student` [R, C, *space]; `teacher` [1, C, *space], without gradient.
    """
    return _Divergence.apply(_flat(student), _flat(teacher.detach()), tau, floor)


def class_sums(features: Tensor, index: Tensor, classes: int) -> Tensor:
    """Sum the features [R, F, *space] of each class's voxels, `index` int64 [V]: [R, classes, F]."""
    return _ClassSums.apply(_flat(features), index.contiguous(), classes)


def similarity_differences(
    student: Tensor, directions: Tensor, teacher: Tensor, targets: Tensor, occurring: Tensor, least: float
) -> tuple[Tensor, Tensor]:
    """Sum the differences of cosine similarities over classes and voxels: squared and absolute, each [R].

    Args:
        student: features [R, F, *space].
        directions: [R, K, F], the unit vector of each class's prototype.
        teacher: features [1, F, *space], without gradient.
        targets: the teacher's directions [1, K, F], without gradient.
        occurring: [K], 1 for a class that counts, else 0.
        least: norms of features are clamped from below at this.

    The absolute one has no gradient.
    """
    given = directions.contiguous(), _flat(teacher.detach()), targets.detach().contiguous(), occurring
    return _SimilarityDifferences.apply(_flat(student), *given, least)


def _flat(maps: Tensor) -> Tensor:
    """Return maps [R, C, *space] as [R, C, V], in a layout that a gradient can have too."""
    flat = maps.flatten(2)
    return flat if torch.empty_like(flat, device="meta").stride() == flat.stride() else flat.contiguous()


def _sizes(flat: Tensor) -> tuple[tuple[int, int], torch.dtype, dict[str, Any]]:
    """Return the grid, the precision of sums, and how many voxels a program takes, of what precision."""
    block = max(1, VALUES // triton.next_power_of_2(flat.shape[1]))
    double = flat.dtype == torch.float64
    exact, acc = (torch.float64, tl.float64) if double else (torch.float32, tl.float32)
    return (-(-flat.shape[2] // block), len(flat)), exact, {"BLOCK_V": block, "ACC": acc}


def _of_classes(flat: Tensor) -> dict[str, int]:
    return {"C": flat.shape[1], "BLOCK_C": triton.next_power_of_2(flat.shape[1])}


def _of_features(flat: Tensor, classes: int) -> dict[str, int]:
    return {"F": flat.shape[1], "K": classes, "BLOCK_F": triton.next_power_of_2(flat.shape[1])}


class _TaskSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: Tensor, index: Tensor, weights: Tensor, floor: float) -> tuple[Tensor, ...]:
        grid, exact, constants = _sizes(flat)
        rows, classes, voxels = flat.shape
        weights = weights.to(exact)
        entropy = flat.new_empty((rows, grid[0]), dtype=exact)
        parts = flat.new_empty((2, rows, grid[0], classes), dtype=exact)
        loss_kernels.task_sums[grid](
            *(flat, index, weights, entropy, parts[0], parts[1], voxels, *flat.stride()),
            FLOOR=floor,
            **_of_classes(flat),
            **constants,
        )
        ctx.save_for_backward(flat, index, weights)
        ctx.floor = floor
        sizes, overlaps = parts.sum(dim=2)
        return entropy.sum(dim=1), sizes, overlaps

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *changes: Tensor) -> tuple[Tensor | None, ...]:
        flat, index, weights = ctx.saved_tensors
        grid, _, constants = _sizes(flat)
        own = torch.empty_like(flat)
        given = (change.contiguous() for change in changes)
        loss_kernels.task_sums_gradient[grid](
            *(flat, index, weights, *given, own, flat.shape[2], *flat.stride()),
            FLOOR=ctx.floor,
            **_of_classes(flat),
            **constants,
        )
        return own, None, None, None


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, tau: float, floor: float) -> Tensor:
        grid, exact, constants = _sizes(student)
        sums = student.new_empty((len(student), grid[0]), dtype=exact)
        ctx.constants = {"TAU": tau, "FLOOR": floor, **_of_classes(student), **constants}
        strides = *student.stride(), *teacher.stride()[1:]
        loss_kernels.divergence[grid](student, teacher, sums, student.shape[2], *strides, **ctx.constants)
        ctx.save_for_backward(student, teacher)
        return sums.sum(dim=1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher = ctx.saved_tensors
        own, change = torch.empty_like(student), change.contiguous()
        strides = *student.stride(), *teacher.stride()[1:]
        loss_kernels.divergence_gradient[_sizes(student)[0]](
            student, teacher, change, own, student.shape[2], *strides, **ctx.constants
        )
        return own, None, None, None


class _ClassSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: Tensor, index: Tensor, classes: int) -> Tensor:
        grid, exact, constants = _sizes(flat)
        rows, features, voxels = flat.shape
        sums = flat.new_empty((rows, grid[0], classes, features), dtype=exact)
        loss_kernels.class_sums[grid](
            *(flat, index, sums, voxels, *flat.stride()), **_of_features(flat, classes), **constants
        )
        ctx.save_for_backward(index)
        ctx.dtype = flat.dtype
        return sums.sum(dim=1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        return change.to(ctx.dtype).index_select(1, index).transpose(1, 2), None, None


class _SimilarityDifferences(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        directions: Tensor,
        teacher: Tensor,
        targets: Tensor,
        occurring: Tensor,
        least: float,
    ) -> tuple[Tensor, Tensor]:
        grid, exact, constants = _sizes(student)
        parts = student.new_empty((2, len(student), grid[0]), dtype=exact)
        ctx.constants = {"LEAST": least, **_of_features(student, directions.shape[1]), **constants}
        inputs = student, directions, teacher, targets, occurring.to(exact)
        strides = *student.stride(), *teacher.stride()[1:]
        loss_kernels.similarity[grid](
            *inputs, parts[0], parts[1], student.shape[2], *strides, **ctx.constants
        )
        ctx.save_for_backward(*inputs)
        squares, absolutes = parts.sum(dim=2)
        ctx.mark_non_differentiable(absolutes)
        return squares, absolutes

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, change: Tensor, of_absolutes: None) -> tuple[Tensor | None, ...]:
        student, directions, teacher, *_ = ctx.saved_tensors
        grid, exact, _ = _sizes(student)
        own = torch.empty_like(student)
        parts = student.new_empty((len(student), grid[0], *directions.shape[1:]), dtype=exact)
        strides = *student.stride(), *teacher.stride()[1:]
        loss_kernels.similarity_gradient[grid](
            *(*ctx.saved_tensors, change.contiguous(), own, parts, student.shape[2], *strides),
            **ctx.constants,
        )
        return own, parts.sum(dim=1), None, None, None, None
