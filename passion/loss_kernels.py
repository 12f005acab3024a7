"""The Triton kernels of `fused_losses`: what losses need of each voxel, summed up, and the sums' gradients.

A case's maps are [R, C, V] with any strides of channels (SC) and voxels (SV). A program takes BLOCK_V voxels
of a row, and leaves sums [R, blocks, ...] that are put together in a fixed order. Grids are (blocks, R).
"""

import triton
import triton.language as tl


@triton.jit
def _softmax(
    logits, row, voxels, channels, V, C: tl.constexpr, SR, SC, SV, TAU: tl.constexpr, ACC: tl.constexpr
):
    """Return the probabilities [V, C], 0 beyond the map, of logits / TAU."""
    mask = (voxels < V)[:, None] & (channels < C)[None, :]
    places = row * SR + voxels[:, None] * SV + channels[None, :] * SC
    values = tl.load(logits + places, mask=mask, other=0).to(ACC) / TAU
    values = tl.where((channels < C)[None, :], values, float("-inf"))
    powers = tl.exp(values - tl.max(values, axis=1)[:, None])
    return tl.where(mask, powers / tl.sum(powers, axis=1)[:, None], 0)


@triton.jit
def task_sums(
    logits,
    index,
    weights,
    entropy,
    sizes,
    overlaps,
    V,
    SR,
    SC,
    SV,
    C: tl.constexpr,
    FLOOR: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sum the weighted cross entropy, each class's probabilities, and those where it is the true one."""
    block, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    voxels = block * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    p = _softmax(logits, row, voxels, channels, V, C, SR, SC, SV, 1.0, ACC)
    true = tl.load(index + voxels, mask=voxels < V, other=0)
    at_true = (channels[None, :] == true[:, None]) & (voxels < V)[:, None]
    p_true = tl.sum(tl.where(at_true, p, 0), axis=1)
    weight = tl.load(weights + true, mask=voxels < V, other=0)
    loss = -weight * tl.log(tl.minimum(tl.maximum(p_true, FLOOR), 1.0))
    of_block = row * tl.num_programs(0) + block
    tl.store(entropy + of_block, tl.sum(loss, axis=0))
    tl.store(sizes + of_block * C + channels, tl.sum(p, axis=0), mask=channels < C)
    tl.store(overlaps + of_block * C + channels, tl.sum(tl.where(at_true, p, 0), axis=0), mask=channels < C)


@triton.jit
def task_sums_gradient(
    logits,
    index,
    weights,
    of_entropy,
    of_sizes,
    of_overlaps,
    own,
    V,
    SR,
    SC,
    SV,
    C: tl.constexpr,
    FLOOR: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make the gradient of the logits, laid out as they are, from those of the three sums."""
    row = tl.program_id(1).to(tl.int64)
    voxels = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    known = channels < C
    p = _softmax(logits, row, voxels, channels, V, C, SR, SC, SV, 1.0, ACC)
    true = tl.load(index + voxels, mask=voxels < V, other=0)
    at_true = channels[None, :] == true[:, None]
    weight = tl.load(weights + true, mask=voxels < V, other=0)[:, None]
    of_log = tl.where((p >= FLOOR) & (p <= 1.0), -weight / tl.maximum(p, FLOOR), 0)
    of_true = tl.load(of_overlaps + row * C + channels, mask=known, other=0)[None, :]
    of_p = tl.load(of_sizes + row * C + channels, mask=known, other=0)[None, :]
    of_p = of_p + tl.where(at_true, of_true + tl.load(of_entropy + row) * of_log, 0)
    change = p * (of_p - tl.sum(p * of_p, axis=1)[:, None])
    places = row * SR + voxels[:, None] * SV + channels[None, :] * SC
    tl.store(own + places, change.to(own.dtype.element_ty), mask=(voxels < V)[:, None] & known[None, :])


@triton.jit
def divergence(
    student,
    teacher,
    sums,
    V,
    SR,
    SC,
    SV,
    TC,
    TV,
    C: tl.constexpr,
    TAU: tl.constexpr,
    FLOOR: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sum q_t (log q_t - log q_s) over classes and voxels, q clamped to FLOOR from below."""
    block, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    voxels = block * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    mask = (voxels < V)[:, None] & (channels < C)[None, :]
    q = tl.maximum(_softmax(student, row, voxels, channels, V, C, SR, SC, SV, TAU, ACC), FLOOR)
    target = tl.maximum(_softmax(teacher, row * 0, voxels, channels, V, C, 0, TC, TV, TAU, ACC), FLOOR)
    terms = tl.where(mask, target * (tl.log(target) - tl.log(q)), 0)
    tl.store(sums + row * tl.num_programs(0) + block, tl.sum(tl.sum(terms, axis=1), axis=0))


@triton.jit
def divergence_gradient(
    student,
    teacher,
    of_sum,
    own,
    V,
    SR,
    SC,
    SV,
    TC,
    TV,
    C: tl.constexpr,
    TAU: tl.constexpr,
    FLOOR: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make the gradient of the student's logits, laid out as they are, from that of the sum."""
    row = tl.program_id(1).to(tl.int64)
    voxels = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_C)
    mask = (voxels < V)[:, None] & (channels < C)[None, :]
    q = _softmax(student, row, voxels, channels, V, C, SR, SC, SV, TAU, ACC)
    target = tl.maximum(_softmax(teacher, row * 0, voxels, channels, V, C, 0, TC, TV, TAU, ACC), FLOOR)
    of_q = tl.where(mask & (q >= FLOOR), -target / tl.maximum(q, FLOOR), 0) * tl.load(of_sum + row)
    change = q * (of_q - tl.sum(q * of_q, axis=1)[:, None]) / TAU
    places = row * SR + voxels[:, None] * SV + channels[None, :] * SC
    tl.store(own + places, change.to(own.dtype.element_ty), mask=mask)


@triton.jit
def class_sums(
    features,
    index,
    sums,
    V,
    SR,
    SC,
    SV,
    F: tl.constexpr,
    K: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_F: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sum the features of each class's voxels: what prototypes are made of."""
    block, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    voxels = block * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_F)
    mask = (voxels < V)[:, None] & (channels < F)[None, :]
    places = row * SR + voxels[:, None] * SV + channels[None, :] * SC
    values = tl.load(features + places, mask=mask, other=0).to(ACC)
    true = tl.load(index + voxels, mask=voxels < V, other=0)
    for k in range(K):
        total = tl.sum(tl.where((true == k)[:, None], values, 0), axis=0)
        of_class = ((row * tl.num_programs(0) + block) * K + k) * F
        tl.store(sums + of_class + channels, total, mask=channels < F)


@triton.jit
def _of_features(
    features, row, voxels, channels, V, F: tl.constexpr, SR, SC, SV, LEAST: tl.constexpr, ACC: tl.constexpr
):
    """Return features [V, F], 0 beyond the map, and 1 / their norm [V], and whether that is above LEAST."""
    mask = (voxels < V)[:, None] & (channels < F)[None, :]
    places = row * SR + voxels[:, None] * SV + channels[None, :] * SC
    values = tl.load(features + places, mask=mask, other=0).to(ACC)
    square = tl.sum(values * values, axis=1)
    return values, 1 / tl.sqrt(tl.maximum(square, LEAST * LEAST)), square >= LEAST * LEAST


@triton.jit
def similarity(
    features,
    directions,
    teacher,
    targets,
    occurring,
    squares,
    absolutes,
    V,
    SR,
    SC,
    SV,
    TC,
    TV,
    F: tl.constexpr,
    K: tl.constexpr,
    LEAST: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_F: tl.constexpr,
    ACC: tl.constexpr,
):
    """Sum the squared and the absolute difference of cosine similarities, student's and teacher's."""
    block, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    voxels = block * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_F)
    own, inverse, _ = _of_features(features, row, voxels, channels, V, F, SR, SC, SV, LEAST, ACC)
    other, other_inverse, _ = _of_features(teacher, row * 0, voxels, channels, V, F, 0, TC, TV, LEAST, ACC)
    square = tl.zeros((BLOCK_V,), ACC)
    absolute = tl.zeros((BLOCK_V,), ACC)
    for k in range(K):
        way = tl.load(directions + (row * K + k) * F + channels, mask=channels < F, other=0)[None, :]
        other_way = tl.load(targets + k * F + channels, mask=channels < F, other=0)[None, :]
        apart = tl.sum(own * way, axis=1) * inverse - tl.sum(other * other_way, axis=1) * other_inverse
        apart = apart * tl.load(occurring + k)
        square += apart * apart
        absolute += tl.abs(apart)
    of_block = row * tl.num_programs(0) + block
    tl.store(squares + of_block, tl.sum(square, axis=0))
    tl.store(absolutes + of_block, tl.sum(absolute, axis=0))


@triton.jit
def similarity_gradient(
    features,
    directions,
    teacher,
    targets,
    occurring,
    of_squares,
    own,
    of_directions,
    V,
    SR,
    SC,
    SV,
    TC,
    TV,
    F: tl.constexpr,
    K: tl.constexpr,
    LEAST: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_F: tl.constexpr,
    ACC: tl.constexpr,
):
    """Make the gradient of the student's features, and parts [R, blocks, K, F] of that of its directions."""
    block, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    voxels = block * BLOCK_V + tl.arange(0, BLOCK_V)
    channels = tl.arange(0, BLOCK_F)
    values, inverse, above = _of_features(features, row, voxels, channels, V, F, SR, SC, SV, LEAST, ACC)
    other, other_inverse, _ = _of_features(teacher, row * 0, voxels, channels, V, F, 0, TC, TV, LEAST, ACC)
    unit = values * inverse[:, None]
    change = tl.zeros((BLOCK_V, BLOCK_F), ACC)
    upstream = tl.load(of_squares + row)
    for k in range(K):
        way = tl.load(directions + (row * K + k) * F + channels, mask=channels < F, other=0)[None, :]
        other_way = tl.load(targets + k * F + channels, mask=channels < F, other=0)[None, :]
        cosine = tl.sum(unit * way, axis=1)
        apart = cosine - tl.sum(other * other_way, axis=1) * other_inverse
        slope = (2 * upstream * tl.load(occurring + k) * apart)[:, None]
        bent = tl.where(above, cosine, 0)[:, None]  # of a norm below the least, the direction does not matter
        change += slope * (way - bent * unit) * inverse[:, None]
        of_class = ((row * tl.num_programs(0) + block) * K + k) * F
        tl.store(of_directions + of_class + channels, tl.sum(slope * unit, axis=0), mask=channels < F)
    mask = (voxels < V)[:, None] & (channels < F)[None, :]
    places = row * SR + voxels[:, None] * SV + channels[None, :] * SC
    tl.store(own + places, change.to(own.dtype.element_ty), mask=mask)
