"""Windows over a case: one pass gives all its subsets.

    classes = predict(backbone, volumes, subsets, modalities, window=80, device=device)
    total = averaged(class_sums(network, volumes, ...) for network in networks)

Each window is encoded once and fused for every subset; softmax probabilities of overlapping windows (stride
half a window, the last aligned to the end) are averaged uniformly (PROTOCOL: as in the released evaluation).
What lies outside a subset is absent, or with `outside` there in poor quality: then each window is encoded
twice, and a subset's features are mixed of both. With `flips` a window is encoded and fused once a flip.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from math import prod

import torch
from torch import Tensor

from backbones.contract import Backbone, Features
from backbones.host import on_device
from bench_edges import Edges, space_of
from datasets.vocabulary import Subset, presence

Flip = tuple[int, ...]
"""The axes along which a window is turned round; none of them for the window as it is."""
AS_IT_IS: Flip = ()
ROWS_AT_ONCE = 3
"""Subsets of a window fused in one batch on a CPU: bounds the memory, changes neither time nor result."""
VOXELS_AT_ONCE = 15 * 80**3
"""Voxels of the fused outputs of one batch on a GPU, halved where its memory runs out."""


def predict(
    backbone: Backbone,
    volumes: Tensor,
    subsets: Sequence[Subset],
    modalities: Sequence[str],
    window: Edges,
    device: torch.device,
    poor: Tensor | None = None,
    flips: bool = False,
) -> Tensor:
    """Segment one case for several subsets: the arguments of `class_sums`, or all flips of a window.

    Returns the most probable class, uint8 [S, *space] on the CPU.
    """
    axes = flips_of(backbone, flips)
    sums = class_sums(backbone, volumes, subsets, modalities, window, device, poor, axes)
    return class_maps(sums).cpu()


def flips_of(backbone: Backbone, every: bool = True) -> list[Flip]:
    """Return every flip of a window, as it is first: 8 in 3-D, 4 in 2-D; or, if not `every`, that alone."""
    axes = range(backbone.spatial_dims)
    return [flip for n in range(len(axes) + 1) for flip in combinations(axes, n)] if every else [AS_IT_IS]


def averaged(sums: Iterable[Tensor]) -> Tensor:
    """Add up what `class_sums` returned for several networks, as probabilities; one's alone stay sums.

    Each is [..., C, *space], made when it is asked for, and so is the result.
    """
    each = iter(sums)
    total = next(each)
    for number, further in enumerate(each):
        if number == 0:
            total = total / total.sum(dim=-4, keepdim=True)
        total += (further / further.sum(dim=-4, keepdim=True)).to(total.device)
    return total


def class_maps(sums: Tensor) -> Tensor:
    """Return the classes of the highest of sums [S, C, *space]: uint8 [S, *space]."""
    return torch.stack([most_probable(of_subset) for of_subset in sums])


def most_probable(sums: Tensor) -> Tensor:
    """Return the class of the highest of sums [C, *space]: uint8 [*space]."""
    # `max`, for `argmax` over a first axis takes seven times as long on a CPU
    return sums.max(dim=0).indices.to(torch.uint8)


@torch.inference_mode()
def class_sums(
    backbone: Backbone,
    volumes: Tensor,
    subsets: Sequence[Subset],
    modalities: Sequence[str],
    window: Edges,
    device: torch.device,
    poor: Tensor | None = None,
    flips: Sequence[Flip] = (AS_IT_IS,),
) -> Tensor:
    """Sum the probabilities of one case's classes over the windows, for several subsets.

    Args:
        backbone: any backbone; used in evaluation mode, left in the mode it was.
        volumes: float [M, *space], normalised as in training.
        subsets: S subsets, each within what the case has.
        modalities: names of the M channels.
        window: edge or edges of a window in voxels (in 2-D of the first two axes; each slice stands alone).
        device: where to compute.
        poor: what to show of the modalities outside a subset, like `volumes`; None: nothing. A modality that
            is in none of the subsets stays absent.
        flips: of each window; the mean over them is taken, each turned back.

    Returns float32 [S, C, *space], on `device` where they fit there; divided by their sum over the classes,
    which is the number of windows at a voxel, they are probabilities. Of a network that segments regions, the
    mean over the windows decides: it comes as `Heads.class_probabilities` has it.
    """
    present = torch.tensor([presence(s, modalities) for s in subsets])  # on the CPU, which need not ask then
    shown = torch.stack([volumes] if poor is None else [volumes, poor])
    space = space_of(window, backbone.spatial_dims)
    training = backbone.training
    backbone.eval()
    try:
        if backbone.spatial_dims == 3:
            return _sliding_windows(backbone, shown, present, space, device, flips)
        slices = [
            _sliding_windows(backbone, shown[..., k : k + 1], present, space, device, flips, k)
            for k in range(volumes.shape[-1])
        ]
        return torch.cat(slices, dim=-1)
    finally:
        backbone.train(training)


def _sliding_windows(
    backbone: Backbone,
    shown: Tensor,
    present: Tensor,
    window: tuple[int, int, int],
    device: torch.device,
    flips: Sequence[Flip],
    slice_: int = 0,
) -> Tensor:
    """Sum over windows of `shown` [1, M, *space], or [2, M, *space] with the poor volumes second.

    `slice_`: the first voxel of `shown` along the third axis of the case.
    """
    space = tuple(shown.shape[2:])
    padded = torch.stack([pad_to(volumes, window) for volumes in shown])
    whole = padded.shape[2:]
    totals = _zeros((len(present), backbone.heads.channels, *whole), device)
    corners = product(*(window_starts(n, w) for n, w in zip(whole, window, strict=True)))
    places = [tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True)) for corner in corners]
    rows, together = _batch_sizes(device, prod(window), len(shown), max(present.shape))
    batches = _Batches(rows)
    padded = padded.to(totals.device)
    done = 0
    while done < len(places):
        group = places[done : done + together]
        crops = torch.cat([padded[(slice(None), slice(None), *place)] for place in group]).to(device)
        try:
            found = _flipped_rows(backbone, crops, _corners(group, slice_), present, batches, flips)
        except torch.OutOfMemoryError:
            if len(group) > 1:
                together = len(group) // 2
            elif totals.device.type != "cpu":
                totals, padded = totals.cpu(), padded.cpu()
            else:
                raise
            continue
        for row, of_row in enumerate(found):
            window_of, subset = divmod(row, len(present))
            totals[subset][(slice(None), *group[window_of])] += of_row.to(totals.device)
        done += len(group)
        del found  # before the next windows are encoded
    kept = tuple(slice(n) for n in space)
    totals = totals[(slice(None), slice(None), *kept)]
    if not backbone.heads.regions:
        return totals
    per_axis = [_coverage(n, w) for n, w in zip(whole, window, strict=True)]
    number = torch.einsum("i,j,k->ijk", *per_axis)[kept].to(totals)
    return torch.stack([backbone.heads.class_probabilities(each[None] / number)[0] for each in totals])


def _flipped_rows(
    backbone: Backbone,
    crops: Tensor,
    corners: Tensor,
    present: Tensor,
    batches: "_Batches",
    flips: Sequence[Flip],
) -> list[Tensor]:
    """Return the mean of `_rows` over flips of the windows."""
    total: list[Tensor] = []
    for flip in flips:
        seen, turned = crops, corners
        if flip != AS_IT_IS:  # which is not copied
            seen, turned = crops.flip([2 + axis for axis in flip]), corners.clone()
            turned[..., flip] = corners.flip(1)[..., flip]  # the first voxel of a flipped window was its last
        rows = _rows(backbone, seen, turned, present, batches)
        if flip != AS_IT_IS:
            rows = [row.flip([1 + axis for axis in flip]) for row in rows]
        total = [mean.add_(row) for mean, row in zip(total, rows, strict=True)] if total else rows
    return [row / len(flips) for row in total] if len(flips) > 1 else total


def _rows(
    backbone: Backbone, crops: Tensor, corners: Tensor, present: Tensor, batches: "_Batches"
) -> list[Tensor]:
    """Return the probabilities [C, *window] of all rows of some windows, all S of the first window first.

    `crops` [V, M, *window], one of each window, or two, good and poor; `corners` [W, 2, 3] of the windows.
    """
    windows = len(corners)
    available = on_device(present.any(dim=0, keepdim=True).expand(len(crops), -1), crops.device)
    corners = on_device(corners.repeat_interleave(len(crops) // windows, dim=0), crops.device)
    features = backbone.encode_at(crops, available, corners)
    fuse = partial(_probabilities, backbone, features, present, len(crops) > windows)
    return list(batches.run(fuse, windows * len(present)))


def _corners(places: Sequence[tuple[slice, ...]], slice_: int) -> Tensor:
    """The corners of the windows at `places` of a slice, or of a volume (0): int64 [W, 2, 3]."""
    each = [[[part.start for part in place], [part.stop - 1 for part in place]] for place in places]
    return torch.tensor(each) + torch.tensor([0, 0, slice_])


def _batch_sizes(device: torch.device, voxels: int, shown: int, per_window: int) -> tuple[int, int]:
    """How many rows of `voxels` to fuse in a batch, and how many windows of `per_window` rows to encode."""
    if device.type == "cpu":
        return ROWS_AT_ONCE, 1
    rows = max(VOXELS_AT_ONCE // voxels, 1)
    return rows, max(
        rows // per_window, 1
    ) if shown == 1 else 1  # a degraded window comes alone, as two volumes


@dataclass
class _Batches:
    """How many rows to compute at once: as many as the device's memory was seen to take."""

    rows: int

    def run(self, compute: Callable[[Tensor], Tensor], count: int) -> Iterator[Tensor]:
        """Yield what `compute` makes of each of the rows 0 ... `count`, given several at once."""
        done = 0
        while done < count:
            rows = torch.arange(done, min(done + self.rows, count))
            try:
                found = compute(rows)
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                self.rows = len(rows) // 2
                continue
            yield from found
            done += len(rows)


def _probabilities(
    backbone: Backbone, features: Features, present: Tensor, degraded: bool, rows: Tensor
) -> Tensor:
    """Probabilities [K, C, *window] of K rows: row r is subset r % S, of S `present`, of window r // S.

    `degraded`: the features are of one window, good and poor, of which each subset has its part.
    """
    device = features.levels[0].device
    chosen = on_device(present[rows % len(present)], device)
    if degraded:
        mixed = _mixed(features, chosen)
        logits = backbone.fuse(mixed, mixed.available).logits
    else:
        logits = backbone.fuse(features, chosen, on_device(rows // len(present), device)).logits
    return backbone.heads.probabilities(logits)


def _zeros(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Zeros on the device, or on the CPU where they do not fit there."""
    try:
        return torch.zeros(shape, device=device)
    except torch.OutOfMemoryError:
        return torch.zeros(shape)


def _mixed(features: Features, present: Tensor) -> Features:
    """Mix features of a good and a poor case, B = 2: row k has the good ones of `present` [K, M]."""

    def pick(both: Tensor) -> Tensor:
        return torch.where(present.view(*present.shape, *[1] * (both.dim() - 2)), both[:1], both[1:])

    return replace(
        features,
        levels=[pick(level) for level in features.levels],
        available=features.available[:1].expand(len(present), -1),
        extra={name: pick(tensor) for name, tensor in features.extra.items()},
    )


def window_starts(length: int, window: int) -> list[int]:
    """First voxels of windows at strides of half a window, the last one aligned to the end.

    Dividing by the number of overlapping windows is left out by the caller: it cannot change the argmax.
    """
    stride = max(window // 2, 1)
    starts = list(range(0, length - window + 1, stride))
    if starts[-1] + window < length:
        starts.append(length - window)
    return starts


def _coverage(length: int, window: int) -> Tensor:
    """How many windows cover each voxel along an axis: float32 [length]."""
    number = torch.zeros(length)
    for start in window_starts(length, window):
        number[start : start + window] += 1
    return number


def count_windows(shape: Sequence[int], window: Edges, spatial_dims: int) -> int:
    """Return the number of windows of a case [X, Y, Z], those of all slices in a 2-D study."""
    edges = space_of(window, spatial_dims)[:spatial_dims]
    places = [len(window_starts(max(n, edge), edge)) for n, edge in zip(shape, edges, strict=False)]
    return prod(places) * (1 if spatial_dims == 3 else shape[-1])


def pad_to(volumes: Tensor, window: Sequence[int]) -> Tensor:
    """Pad [M, *space] at the end of each axis to at least `window`, with each modality's minimum."""
    target = [max(n, w) for n, w in zip(volumes.shape[1:], window, strict=True)]
    if list(volumes.shape[1:]) == target:
        return volumes
    padded = volumes.flatten(1).amin(dim=1).view(-1, *[1] * len(target)).expand(-1, *target).clone()
    padded[(slice(None), *(slice(n) for n in volumes.shape[1:]))] = volumes
    return padded
