"""What the convolutional blocks compute by on a CPU, where moving maps costs as much as convolving them.

    y = NormAct.apply(x, slope)                                  # instance norm, leaky ReLU
    z = PaddedConvolution.apply(x, weight, bias, stride, pads, "reflect")

Of both, one map is kept for the backward pass, the one that lies between them: `NormAct` keeps its output,
from which the normalised map can be had again (Rota Bulo et al., "In-Place Activated BatchNorm", 2018), and
the convolution its input (in the precision that it computes in), which it pads again. Convolutions are done
channels last, which halves the time of their backward pass (torch 2.13); norms, on contiguous maps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from math import prod
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

PaddingMode = Literal["reflect", "constant"]
LANES = 16
"""Output channels that oneDNN computes at a time where registers hold 16 numbers of fp32, as AVX-512's do."""
EPSILON = 1e-5  # torch's own, of norms
SMALL_PLANE = 20480
"""Values in a plane up to which torch leaves oneDNN for a lone volume: its Convolution.cpp, `use_mkldnn`."""


def interpolate(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize [N, C, *space] to `size`, trilinear with aligned corners, by one matrix product for each axis.

    Quicker than torch's own for contiguous maps, and closer to the exact result.
    """
    with torch.autocast(x.device.type, enabled=False):
        for axis in (
            4,
            3,
            2,
        ):  # in this order, the longest products come last and are of what lies contiguous
            if x.shape[axis] != size[axis - 2]:
                matrix = _interpolation(x.shape[axis], size[axis - 2], x.dtype)
                if axis == 4:
                    x = x @ matrix.t()
                else:
                    rows = x.reshape(-1, x.shape[axis], prod(x.shape[axis + 1 :]))
                    x = (matrix @ rows).view(*x.shape[:axis], size[axis - 2], *x.shape[axis + 1 :])
    return x


def _interpolation(old: int, new: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix [new, old] that interpolates linearly between points, of which the ends stay ends."""
    place = torch.arange(new, dtype=torch.float64) * ((old - 1) / max(new - 1, 1))
    distance = (place[:, None] - torch.arange(old, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).to(dtype)


class NormAct(torch.autograd.Function):
    """Instance norm without affine of x [N, C, *space], then a leaky ReLU of `slope` > 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        """Return a contiguous map [N, C, *space]; raises `ValueError` for maps of one voxel."""
        if prod(x.shape[2:]) < 2:
            raise ValueError(f"found maps of {tuple(x.shape[2:])} voxels, of one nothing is left by a norm")
        flat = x.contiguous().view(1, x.shape[0] * x.shape[1], -1)
        maps, voxels = flat.shape[1:]
        # As a group norm, for torch's batch norm takes four times as long in fp32 (forward).
        y, _, inverse = torch.native_group_norm(flat, None, None, 1, maps, voxels, maps, EPSILON)
        y = F.leaky_relu_(y, slope).view(x.shape)
        ctx.save_for_backward(y, inverse)
        ctx.slope, ctx.layout = slope, _layout(x)
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of x."""
        y, inverse = ctx.saved_tensors
        flat = y.view(1, y.shape[0] * y.shape[1], -1)
        maps, voxels = flat.shape[1:]
        change = torch.ops.aten.leaky_relu_backward(change.contiguous().view_as(flat), flat, ctx.slope, True)
        normalised = F.leaky_relu(flat, 1 / ctx.slope)
        # A norm of mean 0 and deviation 1, whose scale is what the deviation was.
        none, one = torch.zeros_like(inverse), torch.ones_like(inverse)
        scale = inverse.view(-1).to(y.dtype)
        own, _, _ = torch.ops.aten.native_group_norm_backward(
            change, normalised, none, one, scale, 1, maps, voxels, maps, [True, False, False]
        )
        return own.view(y.shape).contiguous(memory_format=ctx.layout), None


class PaddedConvolution(torch.autograd.Function):
    """A convolution of x [N, C, *space], first continued by `pads` voxels (0 or 1) at each axis's ends."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        stride: tuple[int, ...],
        pads: tuple[int, ...],
        mode: PaddingMode,
    ) -> Tensor:
        """Return a contiguous map, of three tensors of one dtype."""
        ctx.save_for_backward(x, weight)
        ctx.how = stride, pads, mode
        padded = _padded(x, pads, mode)
        if _pairs(x, weight, stride, pads):
            paired = _convolve(_in_pairs(padded), _of_pairs(weight), bias.repeat(2), stride)
            return _out_of_pairs(paired).contiguous()
        return _convolve(padded, weight, bias, stride).contiguous()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, change: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        """Return the gradients of x, the weights and the bias."""
        x, weight = ctx.saved_tensors
        stride, pads, mode = ctx.how
        wanted = ctx.needs_input_grad[:3]
        padded = _padded(x, pads, mode)
        change = change.contiguous(memory_format=torch.channels_last_3d)
        pairs = _pairs(x, weight, stride, pads)
        # A map's gradient has as many channels as x, of which 16 need no pairs.
        narrow = pairs and 2 * weight.shape[1] <= LANES
        own = _gradients(change, padded, weight, stride, narrow, (wanted[0], False, False))[0]
        _, of_weight, of_bias = _gradients(change, padded, weight, stride, pairs, (False, *wanted[1:]))
        if own is not None:
            own = _folded(own, pads, mode).contiguous(memory_format=_layout(x))
        return own, of_weight, of_bias, None, None, None


def _padded(x: Tensor, pads: tuple[int, ...], mode: PaddingMode) -> Tensor:
    """Copy x into a larger map, channels last, and continue it to its faces."""
    if mode == "reflect" and any(pad and n < 2 for pad, n in zip(pads, x.shape[2:], strict=True)):
        raise ValueError(f"found maps of {tuple(x.shape[2:])} voxels, expected at least 2 along each axis")
    shape = (*x.shape[:2], *(n + 2 * pad for n, pad in zip(x.shape[2:], pads, strict=True)))
    padded = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last_3d)
    padded[_inside(pads)].copy_(x)
    for face, beside in _faces(padded, pads):
        if mode == "reflect":
            face.copy_(beside)
        else:
            face.zero_()
    return padded


def _folded(padded: Tensor, pads: tuple[int, ...], mode: PaddingMode) -> Tensor:
    """Return the gradient of x, a view, from that of `_padded(x)`, which is used up."""
    if mode == "reflect":
        for face, beside in reversed(_faces(padded, pads)):
            beside.add_(face)
    return padded[_inside(pads)]


def _layout(x: Tensor) -> torch.memory_format:
    """Return the layout of x, in which its gradient is wanted: an upsampled map's is channels last."""
    last = x.is_contiguous(memory_format=torch.channels_last_3d) and not x.is_contiguous()
    return torch.channels_last_3d if last else torch.contiguous_format


def _inside(pads: tuple[int, ...]) -> tuple[slice, ...]:
    return (slice(None), slice(None), *(slice(pad, -pad or None) for pad in pads))


def _faces(padded: Tensor, pads: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    """Each face of a padded map and the plane that is reflected there, in the order of filling edges."""
    axes = [axis for axis, pad in enumerate(pads, 2) if pad]
    return [
        (padded.select(axis, face), padded.select(axis, beside))
        for axis, (face, beside) in product(axes, ((0, 2), (-1, -3)))
    ]


def _pairs(x: Tensor, weight: Tensor, stride: tuple[int, ...], pads: tuple[int, ...]) -> bool:
    """Whether to convolve two neighbours of the last axis at once, as twice as many channels.

    Where 16 output channels take as long as 8: pairs have a third more to multiply, for their weights are
    partly 0, and take seven tenths of the time.
    """
    return _wide and len(weight) <= LANES // 2 and pads[2] == stride[2] == 1 and x.shape[4] % 2 == 0


_wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
_counted = False


@contextmanager
def plain() -> Iterator[None]:
    """Compute every convolution as it is written, for who counts its operations."""
    global _wide, _counted
    before = _wide, _counted
    _wide, _counted = False, True
    try:
        yield
    finally:
        _wide, _counted = before


def counted() -> bool:
    """Return whether operations are counted now, so that convolutions have to be torch's own."""
    return _counted


def _in_pairs(x: Tensor) -> Tensor:
    """Give x [N, C, X, Y, Z] as [N, 2 C, X, Y, Z / 2], of two neighbours first the first.

    A view where x is channels last.
    """
    voxels = x.permute(0, 2, 3, 4, 1)
    return voxels.reshape(*voxels.shape[:3], x.shape[4] // 2, 2 * x.shape[1]).permute(0, 4, 1, 2, 3)


def _out_of_pairs(x: Tensor) -> Tensor:
    """Undo `_in_pairs`."""
    voxels = x.permute(0, 2, 3, 4, 1)
    return voxels.reshape(*voxels.shape[:3], 2 * x.shape[4], x.shape[1] // 2).permute(0, 4, 1, 2, 3)


def _of_pairs(weight: Tensor) -> Tensor:
    """Return the weights [2 O, 2 I, 3, 3, 2] that make pairs of pairs, of those [O, I, 3, 3, 3] of voxels.

    A pair is made from two pairs, four voxels, of which its first sees the first three, its second the last.
    """
    outputs, inputs = weight.shape[:2]
    spread = weight.new_zeros((2, outputs, inputs, 3, 3, 4))
    spread[0, ..., :3] = spread[1, ..., 1:] = weight
    of_pairs = spread.unflatten(5, (2, 2)).permute(0, 1, 6, 2, 3, 4, 5)
    return of_pairs.reshape(2 * outputs, 2 * inputs, 3, 3, 2)


def _of_pairs_backward(change: Tensor) -> Tensor:
    """Return the gradient of weights [O, I, 3, 3, 3] from that of `_of_pairs` of them."""
    outputs, inputs = change.shape[0] // 2, change.shape[1] // 2
    spread = change.view(2, outputs, 2, inputs, 3, 3, 2).permute(0, 1, 3, 4, 5, 6, 2).flatten(5)
    return spread[0, ..., :3] + spread[1, ..., 1:]


def _convolve(padded: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Convolve what is padded: [N, O, *space / stride], channels last."""
    slabs = _slabs(padded, weight, stride)
    if not slabs:
        return F.conv3d(padded, weight, bias, stride)
    both = torch.cat([padded.narrow(2, *slab) for slab in slabs])
    return torch.cat(F.conv3d(both, weight, bias, stride).chunk(2), dim=2)


def _gradients(
    change: Tensor,
    padded: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    pairs: bool,
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of the padded map, the weights and the bias, where `wanted`; by `pairs` or not."""
    if pairs:
        parts = _in_pairs(change), _in_pairs(padded), _of_pairs(weight)
        own, of_weight, of_bias = _gradients(*parts, stride, False, wanted)
        return (
            None if own is None else _out_of_pairs(own),
            None if of_weight is None else _of_pairs_backward(of_weight),
            None if of_bias is None else of_bias.view(2, -1).sum(dim=0),
        )
    slabs = _slabs(padded, weight, stride)
    seen = torch.cat([padded.narrow(2, *slab) for slab in slabs]) if slabs else padded
    change = torch.cat(change.chunk(2, dim=2)) if slabs else change
    none, ones = [0, 0, 0], [1, 1, 1]
    own, of_weight, of_bias = torch.ops.aten.convolution_backward(
        change, seen, weight, [len(weight)], stride, none, ones, False, none, 1, wanted
    )
    if slabs and own is not None:
        halves = own.chunk(2)
        own = torch.zeros_like(padded)
        for slab, half in zip(slabs, halves, strict=True):
            own.narrow(2, *slab).add_(half)
    return own, of_weight, of_bias


def _slabs(padded: Tensor, weight: Tensor, stride: tuple[int, ...]) -> list[tuple[int, int]]:
    """Start and length along the first axis of two halves of a lone small volume, where there are two.

    torch leaves oneDNN for N = 1 and fp32 then; its own convolution is up to 6 times slower.
    """
    step, kernel = stride[0], weight.shape[2]
    planes = (padded.shape[2] - kernel) // step + 1
    if (
        padded.dtype != torch.float32
        or len(padded) > 1
        or planes % 2
        or prod(padded.shape[1:4]) > SMALL_PLANE
    ):
        return []
    length = (planes // 2 - 1) * step + kernel
    return [(0, length), (planes // 2 * step, length)]
