"""The Triton kernels around a norm: statistics and their gradients from parts, norm and activation.

Maps lie channels last, as [N, V, C] here; see `convolution_kernels` for boxes.
"""

import triton
import triton.language as tl

from backbones.kernels.convolution_kernels import norm_of, statistics_change, voxels_in


@triton.jit
def statistics(
    sums,
    squares,
    mean,
    variance,
    X,
    Y,
    Z,
    tiles,
    C: tl.constexpr,
    TX: tl.constexpr,
    TY: tl.constexpr,
    TZ: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Put together mean and variance [N, C] from `sums` and `squares` [N, tiles, C]; grid (N, blocks of C).

    Squares are around a box's own mean (Chan, Golub and LeVeque, 1983): nothing cancels where it is large.
    """
    case = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channels < C
    total = tl.zeros((BLOCK_C,), ACC)
    for first in range(0, tiles, BLOCK_T):
        tile = first + tl.arange(0, BLOCK_T)
        places = (case * tiles + tile)[:, None] * C + channels[None, :]
        mask = (tile < tiles)[:, None] & known[None, :]
        total += tl.sum(tl.load(sums + places, mask=mask, other=0), axis=0)
    centre = total / (X * Y * Z)
    apart = tl.zeros((BLOCK_C,), ACC)
    for first in range(0, tiles, BLOCK_T):
        tile = first + tl.arange(0, BLOCK_T)
        places = (case * tiles + tile)[:, None] * C + channels[None, :]
        mask = (tile < tiles)[:, None] & known[None, :]
        voxels = tl.where(tile < tiles, voxels_in(tile, X, Y, Z, TX, TY, TZ), 1)[:, None]
        off = tl.load(sums + places, mask=mask, other=0) / voxels - centre[None, :]
        within = tl.load(squares + places, mask=mask, other=0) + voxels * off * off
        apart += tl.sum(tl.where(mask, within, 0), axis=0)
    tl.store(mean + case * C + channels, centre, mask=known)
    tl.store(variance + case * C + channels, apart / (X * Y * Z), mask=known)


@triton.jit
def statistics_gradient(
    sums,
    products,
    variance,
    of_mean,
    of_variance,
    tiles,
    C: tl.constexpr,
    EPSILON: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make the gradients of mean and variance [N, C] from parts [N, tiles, C]; grid (N, blocks of C).

    The parts are sums of the gradient of the normalised map, and of that times the map.
    """
    case = tl.program_id(0).to(tl.int64)
    channels = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    known = channels < C
    total = tl.zeros((BLOCK_C,), ACC)
    product = tl.zeros((BLOCK_C,), ACC)
    for first in range(0, tiles, BLOCK_T):
        tile = first + tl.arange(0, BLOCK_T)
        places = (case * tiles + tile)[:, None] * C + channels[None, :]
        mask = (tile < tiles)[:, None] & known[None, :]
        total += tl.sum(tl.load(sums + places, mask=mask, other=0), axis=0)
        product += tl.sum(tl.load(products + places, mask=mask, other=0), axis=0)
    spread = tl.load(variance + case * C + channels, mask=known, other=1) + EPSILON
    tl.store(of_mean + case * C + channels, -total / tl.sqrt(spread), mask=known)
    tl.store(of_variance + case * C + channels, -product / (2 * spread), mask=known)


@triton.jit
def activate(
    x,
    mean,
    variance,
    y,
    V,
    C: tl.constexpr,
    SLOPE: tl.constexpr,
    EPSILON: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Normalise and activate; grid (blocks of V, N)."""
    case = tl.program_id(1).to(tl.int64)
    voxels = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    known = channels < C
    mask = (voxels < V)[:, None] & known[None, :]
    places = (case * V + voxels)[:, None] * C + channels[None, :]
    centre, inverse = norm_of(mean + case * C, variance + case * C, channels, known, EPSILON, ACC)
    value = (tl.load(x + places, mask=mask, other=0).to(ACC) - centre) * inverse
    tl.store(y + places, tl.where(value > 0, value, SLOPE * value).to(y.dtype.element_ty), mask=mask)


@triton.jit
def activate_gradient(
    change,
    x,
    mean,
    variance,
    own,
    sums,
    products,
    V,
    C: tl.constexpr,
    SLOPE: tl.constexpr,
    EPSILON: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make the gradient of x, and the parts that those of its mean and variance consist of; grid as above."""
    case = tl.program_id(1).to(tl.int64)
    voxels = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    known = channels < C
    mask = (voxels < V)[:, None] & known[None, :]
    places = (case * V + voxels)[:, None] * C + channels[None, :]
    centre, inverse = norm_of(mean + case * C, variance + case * C, channels, known, EPSILON, ACC)
    value = (tl.load(x + places, mask=mask, other=0).to(ACC) - centre) * inverse
    slopes = tl.load(change + places, mask=mask, other=0).to(ACC)
    slopes = tl.where(value > 0, slopes, SLOPE * slopes)
    of_block = (case * tl.num_programs(0) + tl.program_id(0)) * C + channels
    tl.store(sums + of_block, tl.sum(slopes, axis=0), mask=known)
    tl.store(products + of_block, tl.sum(slopes * value, axis=0), mask=known)
    tl.store(own + places, (slopes * inverse).to(own.dtype.element_ty), mask=mask)


@triton.jit
def measure(
    x, sums, squares, V, C: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_C: tl.constexpr, ACC: tl.constexpr
):
    """Leave the sum of each block of voxels, and the squares around its mean; grid as above."""
    case = tl.program_id(1).to(tl.int64)
    voxels = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    known = channels < C
    mask = (voxels < V)[:, None] & known[None, :]
    value = tl.load(x + (case * V + voxels)[:, None] * C + channels[None, :], mask=mask, other=0).to(ACC)
    total = tl.sum(value, axis=0)
    apart = tl.where(mask, value - (total / tl.minimum(V - tl.program_id(0) * BLOCK_V, BLOCK_V))[None, :], 0)
    of_block = (case * tl.num_programs(0) + tl.program_id(0)) * C + channels
    tl.store(sums + of_block, total, mask=known)
    tl.store(squares + of_block, tl.sum(apart * apart, axis=0), mask=known)


@triton.jit
def measure_gradient(
    x,
    mean,
    change_of_mean,
    change_of_variance,
    own,
    V,
    C: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make the gradient of x from those of its mean and variance; grid as above."""
    case = tl.program_id(1).to(tl.int64)
    voxels = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    known = channels < C
    mask = (voxels < V)[:, None] & known[None, :]
    places = (case * V + voxels)[:, None] * C + channels[None, :]
    constant, factor, centre = statistics_change(
        mean + case * C, change_of_mean + case * C, change_of_variance + case * C, channels, known, V
    )
    value = tl.load(x + places, mask=mask, other=0).to(ACC)
    tl.store(own + places, (constant + factor * (value - centre)).to(own.dtype.element_ty), mask=mask)
