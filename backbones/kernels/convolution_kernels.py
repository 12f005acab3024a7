"""The Triton kernels of `convolution`: a convolution, the gradient of its input, that of its weights.

Maps lie channels last, [N, X, Y, Z, C]; weights as [taps, inputs, outputs], taps in the order x, y, z. An
axis has one tap, or three and a padding of one voxel. A program makes a box of TX x TY x TZ voxels of a case.

Statistics of a norm are handed on as mean and variance [N, C] over a case's voxels. Each program leaves the
sum of its own box and the squares around the box's own mean; `norm_kernels` puts them together in a fixed
order, so that results do not depend on which program was first.
"""

import triton
import triton.language as tl


@triton.jit
def box(tile, X, Y, Z, TX: tl.constexpr, TY: tl.constexpr, TZ: tl.constexpr):
    """Return the first voxel of box `tile` on each axis, and x, y and z [TX * TY * TZ] of its voxels."""
    across = tl.cdiv(Z, TZ)
    plane = tl.cdiv(Y, TY) * across
    x0 = (tile // plane) * TX
    y0 = (tile % plane // across) * TY
    z0 = (tile % across) * TZ
    voxel = tl.arange(0, TX * TY * TZ)
    return x0, y0, z0, x0 + voxel // (TY * TZ), y0 + voxel // TZ % TY, z0 + voxel % TZ


@triton.jit
def voxels_in(tile, X, Y, Z, TX: tl.constexpr, TY: tl.constexpr, TZ: tl.constexpr):
    """Return how many voxels of box `tile` lie within the map; of a tensor of tiles, a tensor."""
    across = tl.cdiv(Z, TZ)
    plane = tl.cdiv(Y, TY) * across
    long = tl.minimum(X - (tile // plane) * TX, TX)
    wide = tl.minimum(Y - (tile % plane // across) * TY, TY)
    return long * wide * tl.minimum(Z - (tile % across) * TZ, TZ)


@triton.jit
def _seen(position, edge, REFLECT: tl.constexpr):
    """Return which of `edge` voxels is seen at `position`, from -1 to `edge`, and whether one is."""
    if REFLECT:
        position = tl.abs(position)
        return tl.where(position >= edge, 2 * (edge - 1) - position, position), position >= 0
    return position, (position >= 0) & (position < edge)


@triton.jit
def norm_of(mean, variance, channels, known, EPSILON: tl.constexpr, ACC: tl.constexpr):
    """Return the mean and 1 / deviation [1, C] of `channels`."""
    centre = tl.load(mean + channels, mask=known, other=0)
    spread = tl.load(variance + channels, mask=known, other=0).to(ACC)
    return centre[None, :], (1 / tl.sqrt(spread + EPSILON))[None, :]


@triton.jit
def statistics_change(mean, change_of_mean, change_of_variance, channels, known, voxels):
    """Return a, b and the mean, all [1, C]: by way of mean and variance a value z has the gradient
    a + b (z - mean)."""
    centre = tl.load(mean + channels, mask=known, other=0)
    of_mean = tl.load(change_of_mean + channels, mask=known, other=0)
    of_variance = tl.load(change_of_variance + channels, mask=known, other=0)
    return (of_mean / voxels)[None, :], (2 * of_variance / voxels)[None, :], centre[None, :]


@triton.jit
def forward(
    x,
    mean,
    variance,
    weight,
    bias,
    z,
    sums,
    squares,
    X,
    Y,
    Z,
    OX,
    OY,
    OZ,
    CI: tl.constexpr,
    CO: tl.constexpr,
    SX: tl.constexpr,
    SY: tl.constexpr,
    SZ: tl.constexpr,
    PX: tl.constexpr,
    PY: tl.constexpr,
    PZ: tl.constexpr,
    REFLECT: tl.constexpr,
    NORM: tl.constexpr,
    STATS: tl.constexpr,
    SLOPE: tl.constexpr,
    EPSILON: tl.constexpr,
    TX: tl.constexpr,
    TY: tl.constexpr,
    TZ: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make a box of z for a block of output channels; grid (boxes, N, blocks of outputs)."""
    tile = tl.program_id(0)
    case = tl.program_id(1).to(tl.int64)
    _, _, _, ox, oy, oz = box(tile, OX, OY, OZ, TX, TY, TZ)
    inside = (ox < OX) & (oy < OY) & (oz < OZ)
    outputs = tl.program_id(2) * BLOCK_O + tl.arange(0, BLOCK_O)
    wanted = outputs < CO
    x += case * X * Y * Z * CI
    acc = tl.zeros((TX * TY * TZ, BLOCK_O), ACC)
    for first in range(0, CI, BLOCK_I):
        inputs = first + tl.arange(0, BLOCK_I)
        known = inputs < CI
        if NORM:
            centre, inverse = norm_of(mean + case * CI, variance + case * CI, inputs, known, EPSILON, ACC)
        for dx in range(1 + 2 * PX):
            ix, in_x = _seen(ox * SX + dx - PX, X, REFLECT)
            for dy in range(1 + 2 * PY):
                iy, in_y = _seen(oy * SY + dy - PY, Y, REFLECT)
                for dz in range(1 + 2 * PZ):
                    iz, in_z = _seen(oz * SZ + dz - PZ, Z, REFLECT)
                    mask = (inside & in_x & in_y & in_z)[:, None] & known[None, :]
                    rows = (ix * Y + iy) * Z + iz
                    seen = tl.load(x + rows[:, None] * CI + inputs[None, :], mask=mask, other=0)
                    if NORM:
                        values = (seen.to(ACC) - centre) * inverse
                        values = tl.where(values > 0, values, SLOPE * values)
                        seen = tl.where(
                            mask, values, 0
                        )  # what continues the activated map is 0, not its norm
                    tap = (dx * (1 + 2 * PY) + dy) * (1 + 2 * PZ) + dz
                    factors = tl.load(
                        weight + (tap * CI + inputs[:, None]) * CO + outputs[None, :],
                        mask=known[:, None] & wanted[None, :],
                        other=0,
                    )
                    acc = tl.dot(seen.to(factors.dtype), factors, acc, input_precision=PRECISION)
    acc += tl.load(bias + outputs, mask=wanted, other=0).to(ACC)[None, :]
    made = acc.to(z.dtype.element_ty)
    mask = inside[:, None] & wanted[None, :]
    places = ((ox * OY + oy) * OZ + oz)[:, None] * CO + outputs[None, :]
    tl.store(z + case * OX * OY * OZ * CO + places, made, mask=mask)
    if STATS:
        made = tl.where(mask, made.to(ACC), 0)
        total = tl.sum(made, axis=0)
        apart = made - (total / voxels_in(tile, OX, OY, OZ, TX, TY, TZ))[None, :]
        of_box = (case * tl.num_programs(0) + tile) * CO + outputs
        tl.store(sums + of_box, total, mask=wanted)
        tl.store(squares + of_box, tl.sum(tl.where(mask, apart * apart, 0), axis=0), mask=wanted)


@triton.jit
def _mirrors(first, edge, T: tl.constexpr, P: tl.constexpr, REFLECT: tl.constexpr):
    """Return whether of T voxels from `first` on one is seen in the padding below, and one in that above."""
    below = (first <= 1) & (first + T > 1)
    above = (first <= edge - 2) & (first + T > edge - 2)
    if REFLECT and P > 0:
        return below.to(tl.int32), above.to(tl.int32)
    return below.to(tl.int32) * 0, above.to(tl.int32) * 0


@triton.jit
def _readers(voxel, way, below, edge, outputs, S: tl.constexpr, P: tl.constexpr):
    """Return the outputs that read each `voxel` of an axis, whether there is one, and by which tap.

    The first ways are the taps themselves, then come the reflections in the padding: below, above.
    """
    plain = way < 1 + 2 * P
    low = (way == 1 + 2 * P) & (below == 1)
    tap = tl.where(plain, way, tl.where(low, 0, 2 * P))
    position = tl.where(plain, voxel, tl.where(low, -1, edge))
    source = tl.where(low, 1, edge - 2)
    offset = position + P - tap
    reader = offset // S
    valid = (plain | (voxel == source)) & (offset >= 0) & (reader * S == offset) & (reader < outputs)
    return reader, valid, tap


@triton.jit
def input_gradient(
    change,
    z,
    mean_of_z,
    change_of_mean,
    change_of_variance,
    weight,
    x,
    mean,
    variance,
    own,
    sums,
    products,
    X,
    Y,
    Z,
    OX,
    OY,
    OZ,
    CI: tl.constexpr,
    CO: tl.constexpr,
    SX: tl.constexpr,
    SY: tl.constexpr,
    SZ: tl.constexpr,
    PX: tl.constexpr,
    PY: tl.constexpr,
    PZ: tl.constexpr,
    REFLECT: tl.constexpr,
    NORM: tl.constexpr,
    STATS: tl.constexpr,
    SLOPE: tl.constexpr,
    EPSILON: tl.constexpr,
    TX: tl.constexpr,
    TY: tl.constexpr,
    TZ: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make a box of the gradient of x for a block of its channels; grid (boxes, N, blocks of inputs).

    `sums` and `products` of the box are of the gradient of the normalised map, and of that times the map:
    what the gradients of mean and variance consist of.
    """
    tile = tl.program_id(0)
    case = tl.program_id(1).to(tl.int64)
    x0, y0, z0, ix, iy, iz = box(tile, X, Y, Z, TX, TY, TZ)
    inside = (ix < X) & (iy < Y) & (iz < Z)
    inputs = tl.program_id(2) * BLOCK_I + tl.arange(0, BLOCK_I)
    wanted = inputs < CI
    made = case * OX * OY * OZ * CO
    acc = tl.zeros((TX * TY * TZ, BLOCK_I), ACC)
    below_x, above_x = _mirrors(x0, X, TX, PX, REFLECT)
    below_y, above_y = _mirrors(y0, Y, TY, PY, REFLECT)
    below_z, above_z = _mirrors(z0, Z, TZ, PZ, REFLECT)
    for first in range(0, CO, BLOCK_O):
        outputs = first + tl.arange(0, BLOCK_O)
        known = outputs < CO
        if STATS:
            constant, factor, centre = statistics_change(
                mean_of_z + case * CO,
                change_of_mean + case * CO,
                change_of_variance + case * CO,
                outputs,
                known,
                OX * OY * OZ,
            )
        for way_x in range(1 + 2 * PX + below_x + above_x):
            ox, in_x, dx = _readers(ix, way_x, below_x, X, OX, SX, PX)
            for way_y in range(1 + 2 * PY + below_y + above_y):
                oy, in_y, dy = _readers(iy, way_y, below_y, Y, OY, SY, PY)
                for way_z in range(1 + 2 * PZ + below_z + above_z):
                    oz, in_z, dz = _readers(iz, way_z, below_z, Z, OZ, SZ, PZ)
                    mask = (inside & in_x & in_y & in_z)[:, None] & known[None, :]
                    rows = (ox * OY + oy) * OZ + oz
                    places = rows[:, None] * CO + outputs[None, :]
                    value = tl.load(change + made + places, mask=mask, other=0)
                    if STATS:
                        apart = tl.load(z + made + places, mask=mask, other=0).to(ACC) - centre
                        value = tl.where(mask, value.to(ACC) + constant + factor * apart, 0)
                    tap = (dx * (1 + 2 * PY) + dy) * (1 + 2 * PZ) + dz
                    factors = tl.load(
                        weight + (tap * CI + inputs[None, :]) * CO + outputs[:, None],
                        mask=known[:, None] & wanted[None, :],
                        other=0,
                    )
                    acc = tl.dot(value.to(factors.dtype), factors, acc, input_precision=PRECISION)
    mask = inside[:, None] & wanted[None, :]
    places = case * X * Y * Z * CI + ((ix * Y + iy) * Z + iz)[:, None] * CI + inputs[None, :]
    if NORM:
        centre, inverse = norm_of(mean + case * CI, variance + case * CI, inputs, wanted, EPSILON, ACC)
        values = (tl.load(x + places, mask=mask, other=0).to(ACC) - centre) * inverse
        acc = tl.where(mask, tl.where(values > 0, acc, SLOPE * acc), 0)
        of_box = (case * tl.num_programs(0) + tile) * CI + inputs
        tl.store(sums + of_box, tl.sum(acc, axis=0), mask=wanted)
        tl.store(products + of_box, tl.sum(acc * values, axis=0), mask=wanted)
        acc *= inverse
    tl.store(own + places, acc.to(own.dtype.element_ty), mask=mask)


@triton.jit
def weight_gradient(
    change,
    z,
    mean_of_z,
    change_of_mean,
    change_of_variance,
    x,
    mean,
    variance,
    of_weight,
    of_bias,
    N,
    X,
    Y,
    Z,
    OX,
    OY,
    OZ,
    CI: tl.constexpr,
    CO: tl.constexpr,
    SX: tl.constexpr,
    SY: tl.constexpr,
    SZ: tl.constexpr,
    PX: tl.constexpr,
    PY: tl.constexpr,
    PZ: tl.constexpr,
    REFLECT: tl.constexpr,
    NORM: tl.constexpr,
    STATS: tl.constexpr,
    SLOPE: tl.constexpr,
    EPSILON: tl.constexpr,
    TX: tl.constexpr,
    TY: tl.constexpr,
    TZ: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
    PRECISION: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sum up a part of the boxes for one tap; grid (taps, parts, blocks of inputs times blocks of outputs).

    `of_weight` [parts, taps, CI, CO] and `of_bias` [parts, CO], still to be summed over parts.
    """
    tap, part, parts = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    dx = tap // ((1 + 2 * PY) * (1 + 2 * PZ))
    dy = tap // (1 + 2 * PZ) % (1 + 2 * PY)
    dz = tap % (1 + 2 * PZ)
    blocks = tl.cdiv(CO, BLOCK_O)
    inputs = tl.program_id(2) // blocks * BLOCK_I + tl.arange(0, BLOCK_I)
    outputs = tl.program_id(2) % blocks * BLOCK_O + tl.arange(0, BLOCK_O)
    known, wanted = inputs < CI, outputs < CO
    tiles = tl.cdiv(OX, TX) * tl.cdiv(OY, TY) * tl.cdiv(OZ, TZ)
    acc = tl.zeros((BLOCK_I, BLOCK_O), ACC)
    total = tl.zeros((BLOCK_O,), ACC)
    for unit in range(part, N * tiles, parts):
        case = (unit // tiles).to(tl.int64)
        made = case * OX * OY * OZ * CO
        _, _, _, ox, oy, oz = box(unit % tiles, OX, OY, OZ, TX, TY, TZ)
        inside = (ox < OX) & (oy < OY) & (oz < OZ)
        ix, in_x = _seen(ox * SX + dx - PX, X, REFLECT)
        iy, in_y = _seen(oy * SY + dy - PY, Y, REFLECT)
        iz, in_z = _seen(oz * SZ + dz - PZ, Z, REFLECT)
        mask = (inside & in_x & in_y & in_z)[:, None] & known[None, :]
        rows = (ix * Y + iy) * Z + iz
        seen = tl.load(x + case * X * Y * Z * CI + rows[:, None] * CI + inputs[None, :], mask=mask, other=0)
        if NORM:
            centre, inverse = norm_of(mean + case * CI, variance + case * CI, inputs, known, EPSILON, ACC)
            values = (seen.to(ACC) - centre) * inverse
            seen = tl.where(mask, tl.where(values > 0, values, SLOPE * values), 0)
        mask = inside[:, None] & wanted[None, :]
        places = made + ((ox * OY + oy) * OZ + oz)[:, None] * CO + outputs[None, :]
        value = tl.load(change + places, mask=mask, other=0).to(ACC)
        if STATS:
            constant, factor, centre = statistics_change(
                mean_of_z + case * CO,
                change_of_mean + case * CO,
                change_of_variance + case * CO,
                outputs,
                wanted,
                OX * OY * OZ,
            )
            apart = tl.load(z + places, mask=mask, other=0).to(ACC) - centre
            value = tl.where(mask, value + constant + factor * apart, 0)
        total += tl.sum(value, axis=0)
        kind: tl.constexpr = x.dtype.element_ty
        acc = tl.dot(tl.trans(seen).to(kind), value.to(kind), acc, input_precision=PRECISION)
    mask = known[:, None] & wanted[None, :]
    places = ((part * tl.num_programs(0) + tap) * CI + inputs[:, None]) * CO + outputs[None, :]
    tl.store(of_weight + places, acc, mask=mask)
    if (tap == 0) & (tl.program_id(2) // blocks == 0):
        tl.store(of_bias + part * CO + outputs, total, mask=wanted)
