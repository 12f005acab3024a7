"""A convolution with the norm and activation before it and the statistics of the norm behind it.

    z, mean, variance = convolve(x, None, weight, bias, How(stride, pads, "reflect"), statistics=True)
    z, mean, variance = convolve(z, (mean, variance), next_weight, next_bias, how, statistics=True)
    y = activated(z, (mean, variance), slope)
    norm = measured(y)                                              # of a map that no convolution made

A map is written once, as the convolution made it, and read where it is wanted: no padded, no normalised and
no activated map lies in memory. `twin` has the same in plain torch.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from backbones.kernels import convolution_kernels, norm_kernels, sizes

EPSILON = 1e-5  # torch's own, of norms

Statistics = tuple[Tensor, Tensor]
"""Mean and variance [N, C] of a map over its voxels, in the precision of sums."""


class How(NamedTuple):
    """What a convolution does to space: 3 voxels wide on an axis with a padding of 1, 1 voxel without.

    `stride` and `pads`: per axis. `mode`: how the map is continued, `reflect`, or `constant` for zeros.
    `slope`: of the leaky ReLU in front, after the norm, where there is one.
    """

    stride: tuple[int, ...]
    pads: tuple[int, ...]
    mode: str
    slope: float


def convolve(
    x: Tensor, norm: Statistics | None, weight: Tensor, bias: Tensor, how: How, statistics: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Convolve x [N, C, *space]; with `norm`, its mean and variance, x is normalised and activated first.

    Returns z [N, O, *space / stride], channels last, and if `statistics` its mean and variance [N, O].
    Gradients flow to and from all of them, once. x, `weight` [O, C, kernel] and `bias` have one dtype.
    Raises `ValueError` for a map that cannot be reflected, or one of a single voxel that is to be normalised.
    """
    check(x, norm, weight, how, statistics)
    mean, variance = norm or (None, None)
    return _Convolution.apply(x, mean, variance, weight, bias, how, statistics)


def activated(x: Tensor, norm: Statistics, slope: float) -> Tensor:
    """Normalise x [N, C, *space] by its mean and variance and apply the leaky ReLU of `slope`."""
    return _Activated.apply(x, *norm, slope)


def measured(x: Tensor) -> Statistics:
    """Return mean and variance [N, C] of x [N, C, *space] over its voxels."""
    return _Measured.apply(x)


def check(x: Tensor, norm: Statistics | None, weight: Tensor, how: How, statistics: bool) -> None:
    """Raise `ValueError` where a convolution of x cannot be, as `convolve` says."""
    space = tuple(x.shape[2:])
    if how.mode == "reflect" and any(pad and edge < 2 for pad, edge in zip(how.pads, space, strict=True)):
        raise ValueError(f"found maps of {space} voxels, expected at least 2 along each axis")
    if tuple(weight.shape[1:]) != (x.shape[1], *(1 + 2 * pad for pad in how.pads)):
        raise ValueError(
            f"found weights {tuple(weight.shape)} for {x.shape[1]} channels and paddings {how.pads}: "
            "expected 3 voxels on an axis with a padding of 1, 1 on one without"
        )
    if (norm and space == (1, 1, 1)) or (statistics and made_space(space, how.stride) == (1, 1, 1)):
        raise ValueError("found maps of one voxel, of which nothing is left by a norm")


def made_space(space: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...]:
    """Return the space that a convolution makes of one: its padding keeps it at stride 1."""
    return tuple((edge - 1) // step + 1 for edge, step in zip(space, stride, strict=True))


def _exact(dtype: torch.dtype) -> tuple[torch.dtype, tl.dtype]:
    """Return the precision in which sums over maps of `dtype` are kept, as torch and as Triton call it."""
    return (torch.float64, tl.float64) if dtype == torch.float64 else (torch.float32, tl.float32)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)


def _empty_map(cases: int, channels: int, space: tuple[int, ...], like: Tensor) -> Tensor:
    shape = (cases, channels, *space)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last_3d)


def _by_taps(weight: Tensor) -> Tensor:
    """Return weights [O, C, kernel] as [taps, C, O]."""
    return weight.flatten(2).permute(2, 1, 0).contiguous()


def _constants(
    x: Tensor, outputs: int, how: How, box: tuple[int, ...], norm: bool, statistics: bool
) -> dict[str, Any]:
    """Return what the kernels are compiled for."""
    axes = ("X", "Y", "Z")
    return {
        "CI": x.shape[1],
        "CO": outputs,
        **{f"S{axis}": step for axis, step in zip(axes, how.stride, strict=True)},
        **{f"P{axis}": pad for axis, pad in zip(axes, how.pads, strict=True)},
        **{f"T{axis}": edge for axis, edge in zip(axes, box, strict=True)},
        "REFLECT": how.mode == "reflect",
        "NORM": norm,
        "STATS": statistics,
        "SLOPE": how.slope,
        "EPSILON": EPSILON,
        "BLOCK_I": sizes.block_of(x.shape[1]),
        "BLOCK_O": sizes.block_of(outputs),
        # fp32 means fp32: a product's factors are rounded only where torch may do so too.
        "PRECISION": "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee",
        "ACC": _exact(x.dtype)[1],
    }


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        how: How,
        statistics: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x = _last(x)
        cases, _, *space = x.shape
        outputs, made = len(weight), made_space(tuple(space), how.stride)
        z = _empty_map(cases, outputs, made, x)
        box = sizes.box_of(made)
        tiles = sizes.boxes(made, box)
        exact, acc = _exact(x.dtype)
        parts = x.new_empty((2, cases, tiles, outputs) if statistics else (2, 1), dtype=exact)
        constants = _constants(x, outputs, how, box, mean is not None, statistics)
        given = (x if mean is None else mean), (x if variance is None else variance)
        grid = (tiles, cases, -(-outputs // constants["BLOCK_O"]))
        convolution_kernels.forward[grid](
            x, *given, _by_taps(weight), bias, z, parts[0], parts[1], *space, *made, **constants
        )
        ctx.how, ctx.statistics = how, statistics
        if not statistics:
            ctx.save_for_backward(x, mean, variance, weight, None, None)
            return z, None, None
        mean_of_z, variance_of_z = _statistics(parts, made, box, acc)
        ctx.save_for_backward(x, mean, variance, weight, z, mean_of_z)
        ctx.set_materialize_grads(False)
        return z, mean_of_z, variance_of_z

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, change: Tensor | None, of_mean: Tensor | None = None, of_variance: Tensor | None = None
    ) -> tuple[Tensor | None, ...]:
        x, mean, variance, weight, z, mean_of_z = ctx.saved_tensors
        how, wanted = ctx.how, ctx.needs_input_grad
        by_statistics = of_mean is not None or of_variance is not None
        if change is None:
            if not by_statistics:
                return (None,) * 7
            change = torch.zeros_like(z)
        change = _last(change)
        if by_statistics:
            given = tuple(torch.zeros_like(mean_of_z) if g is None else g for g in (of_mean, of_variance))
            behind = (change, z, mean_of_z, *(g.contiguous() for g in given))
        else:
            behind = (change,) * 5
        before = (x if mean is None else mean), (x if variance is None else variance)
        facts = mean is not None, by_statistics
        own: tuple[Tensor | None, ...] = (None, None, None)
        if any(wanted[:3]):
            own = _input_gradient(behind, x, before, weight, how, *facts)
        of_weight: tuple[Tensor | None, ...] = (None, None)
        if any(wanted[3:5]):
            of_weight = _weight_gradient(behind, x, before, weight, how, *facts)
        return *own, *of_weight, None, None


def _input_gradient(
    behind: tuple[Tensor, ...],
    x: Tensor,
    before: Statistics,
    weight: Tensor,
    how: How,
    norm: bool,
    by_statistics: bool,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of x and, behind a norm, of its mean and variance."""
    change = behind[0]
    cases, channels, *space = x.shape
    box = sizes.box_of(tuple(space))
    tiles = sizes.boxes(tuple(space), box)
    exact, acc = _exact(x.dtype)
    own = torch.empty_like(x)
    parts = x.new_empty((2, cases, tiles, channels) if norm else (2, 1), dtype=exact)
    constants = _constants(x, len(weight), how, box, norm, by_statistics)
    grid = (tiles, cases, -(-channels // constants["BLOCK_I"]))
    convolution_kernels.input_gradient[grid](
        *behind,
        _by_taps(weight),
        x,
        *before,
        own,
        parts[0],
        parts[1],
        *space,
        *change.shape[2:],
        **constants,
    )
    if not norm:
        return own, None, None
    return own, *_statistics_gradient(parts, before[1], acc)


def _weight_gradient(
    behind: tuple[Tensor, ...],
    x: Tensor,
    before: Statistics,
    weight: Tensor,
    how: How,
    norm: bool,
    by_statistics: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of weights and bias."""
    change = behind[0]
    cases, channels, *space = x.shape
    outputs, made = len(weight), tuple(change.shape[2:])
    box = sizes.box_of(made)
    parts = min(sizes.PARTS, cases * sizes.boxes(made, box))
    exact, _ = _exact(x.dtype)
    taps = weight[0, 0].numel()
    of_weight = x.new_empty((parts, taps, channels, outputs), dtype=exact)
    of_bias = x.new_empty((parts, outputs), dtype=exact)
    constants = _constants(x, outputs, how, box, norm, by_statistics)
    blocks = -(-channels // constants["BLOCK_I"]) * -(-outputs // constants["BLOCK_O"])
    convolution_kernels.weight_gradient[taps, parts, blocks](
        *behind, x, *before, of_weight, of_bias, cases, *space, *made, **constants
    )
    summed = of_weight.sum(dim=0).permute(2, 1, 0).reshape(weight.shape)
    return summed.to(weight.dtype), of_bias.sum(dim=0).to(weight.dtype)


def _statistics(parts: Tensor, space: tuple[int, ...], box: tuple[int, ...], acc: tl.dtype) -> Statistics:
    """Return mean and variance [N, C] of a map of `space` from `parts` [2, N, boxes, C]."""
    _, cases, tiles, channels = parts.shape
    found = parts.new_empty((2, cases, channels))
    norm_kernels.statistics[(cases, -(-channels // sizes.TILE_CHANNELS))](
        parts[0],
        parts[1],
        found[0],
        found[1],
        *space,
        tiles,
        channels,
        *box,
        sizes.TILES,
        sizes.TILE_CHANNELS,
        acc,
    )
    return found[0], found[1]


def _statistics_gradient(parts: Tensor, variance: Tensor, acc: tl.dtype) -> tuple[Tensor, Tensor]:
    """Return the gradients of a norm's mean and variance [N, C] from `parts` [2, N, tiles, C]."""
    _, cases, tiles, channels = parts.shape
    found = variance.new_empty((2, cases, channels))
    norm_kernels.statistics_gradient[(cases, -(-channels // sizes.TILE_CHANNELS))](
        parts[0],
        parts[1],
        variance,
        found[0],
        found[1],
        tiles,
        channels,
        EPSILON,
        sizes.TILES,
        sizes.TILE_CHANNELS,
        acc,
    )
    return found[0], found[1]


class _Activated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, slope: float) -> Tensor:
        x = _last(x)
        y = torch.empty_like(x)
        grid, voxels, constants = _value_sizes(x)
        norm_kernels.activate[grid](x, mean, variance, y, voxels, SLOPE=slope, EPSILON=EPSILON, **constants)
        ctx.save_for_backward(x, mean, variance)
        ctx.slope = slope
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, mean, variance = ctx.saved_tensors
        exact, acc = _exact(x.dtype)
        grid, voxels, constants = _value_sizes(x)
        own = torch.empty_like(x)
        parts = x.new_empty((2, len(x), grid[0], x.shape[1]), dtype=exact)
        of_x = (_last(change), x, mean, variance, own, parts[0], parts[1], voxels)
        norm_kernels.activate_gradient[grid](*of_x, SLOPE=ctx.slope, EPSILON=EPSILON, **constants)
        return own, *_statistics_gradient(parts, variance, acc), None


class _Measured(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Statistics:
        x = _last(x)
        exact, acc = _exact(x.dtype)
        grid, voxels, constants = _value_sizes(x)
        parts = x.new_empty((2, len(x), grid[0], x.shape[1]), dtype=exact)
        norm_kernels.measure[grid](x, parts[0], parts[1], voxels, **constants)
        mean, variance = _statistics(parts, (voxels, 1, 1), (constants["BLOCK_V"], 1, 1), acc)
        ctx.save_for_backward(x, mean)
        return mean, variance

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, of_mean: Tensor, of_variance: Tensor) -> Tensor:
        x, mean = ctx.saved_tensors
        grid, voxels, constants = _value_sizes(x)
        own = torch.empty_like(x)
        given = mean, of_mean.contiguous(), of_variance.contiguous()
        norm_kernels.measure_gradient[grid](x, *given, own, voxels, **constants)
        return own


def _value_sizes(x: Tensor) -> tuple[tuple[int, int], int, dict[str, Any]]:
    """Return the grid of kernels of single values, a case's voxels, and what the kernels are compiled for."""
    channels = triton.next_power_of_2(x.shape[1])
    block = max(1, sizes.VALUES // channels)
    voxels = x[0, 0].numel()
    constants = {"C": x.shape[1], "BLOCK_V": block, "BLOCK_C": channels, "ACC": _exact(x.dtype)[1]}
    return (-(-voxels // block), len(x)), voxels, constants
