"""Testing: one pass over a case gives all its subsets.

    maps = segment_case(backbone, store, case, window=80, device=device)
    rows = score_maps(store, case, maps, POLICIES["passion"])

Each window is encoded once and fused for every subset; softmax probabilities of overlapping windows (stride
half a window, the last aligned to the end) are averaged uniformly (PROTOCOL: as in the released evaluation).
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.contract import Backbone
from benchmark.metrics import MetricPolicy, score_case
from datasets.store import Store
from datasets.vocabulary import Subset, presence, subset_name, table_subsets

ROWS_AT_ONCE = 5
"""Subsets fused in one batch: bounds the memory of a window, has no effect on its result."""


class Row(NamedTuple):
    """One line of `cases.csv`."""

    case: str
    subset: str
    region: str
    metric: str
    value: float


def segment_case(
    backbone: Backbone, store: Store, case: str, *, window: int, device: torch.device
) -> dict[str, NDArray[np.uint8]]:
    """Segment one case for every subset of what it has.

    Returns the most probable class [*space] by name of the subset, in the order of the tables; `backbone`
    stays in its mode.
    """
    description = store.description
    has = {m for m, there in zip(description.modalities, store.available(case), strict=True) if there}
    subsets = [s for s in table_subsets(description) if has.issuperset(s)]
    volumes = torch.from_numpy(np.array(store.volumes(case)))
    maps = predict(backbone, volumes, subsets, description.modalities, window, device).numpy()
    return {subset_name(s, description.modalities): found for s, found in zip(subsets, maps, strict=True)}


def score_maps(
    store: Store,
    case: str,
    maps: Mapping[str, NDArray[np.uint8]],
    policy: MetricPolicy,
    metrics: Sequence[str] = ("dice", "hd95"),
) -> list[Row]:
    """Score what `segment_case` returned; rows ordered by subset (as in the tables), region and metric."""
    description = store.description
    scores = score_case(
        maps.items(),
        np.asarray(store.labels(case)),
        description.regions,
        policy,
        spacing=(1.0, 1.0, 1.0),
        spatial_dims=description.spatial_dims,
        metrics=metrics,
    )
    return [Row(case, *score) for score in scores]


@torch.inference_mode()
def predict(
    backbone: Backbone,
    volumes: Tensor,
    subsets: Sequence[Subset],
    modalities: Sequence[str],
    window: int,
    device: torch.device,
) -> Tensor:
    """Segment one case for several subsets.

    Args:
        backbone: any backbone; used in evaluation mode, left in the mode it was.
        volumes: float [M, *space], normalised as in training.
        subsets: S subsets, each within what the case has.
        modalities: names of the M channels.
        window: window edge in voxels (in a 2-D study of the first two axes; each slice stands alone).
        device: where to compute.

    Returns the most probable class, uint8 [S, *space] on the CPU.
    """
    present = torch.tensor([presence(s, modalities) for s in subsets], device=device)
    training = backbone.training
    backbone.eval()
    try:
        if backbone.spatial_dims == 3:
            return _sliding_windows(backbone, volumes, present, (window,) * 3, device)
        slices = [
            _sliding_windows(backbone, volumes[..., k : k + 1], present, (window, window, 1), device)
            for k in range(volumes.shape[-1])
        ]
        return torch.cat(slices, dim=-1)
    finally:
        backbone.train(training)


def _sliding_windows(
    backbone: Backbone, volumes: Tensor, present: Tensor, window: tuple[int, int, int], device: torch.device
) -> Tensor:
    space = tuple(volumes.shape[1:])
    padded = pad_to(volumes, window)
    totals = torch.zeros((len(present), backbone.classes, *padded.shape[1:]))
    available = present.any(dim=0, keepdim=True)
    for corner in product(*(window_starts(n, w) for n, w in zip(padded.shape[1:], window, strict=True))):
        place = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        features = backbone.encode(padded[(slice(None), *place)][None].to(device), available)
        for first in range(0, len(present), ROWS_AT_ONCE):
            rows = present[first : first + ROWS_AT_ONCE]
            case = torch.zeros(len(rows), dtype=torch.int64, device=device)
            logits = backbone.fuse(features, rows, case).logits
            wide = torch.promote_types(logits.dtype, torch.float32)
            probabilities = logits.softmax(dim=1, dtype=wide)
            totals[(slice(first, first + len(rows)), slice(None), *place)] += probabilities.cpu()
    kept = tuple(slice(n) for n in space)
    return totals.argmax(dim=1)[(slice(None), *kept)].to(torch.uint8)


def window_starts(length: int, window: int) -> list[int]:
    """First voxels of windows at strides of half a window, the last one aligned to the end.

    Dividing by the number of overlapping windows is left out by the caller: it cannot change the argmax.
    """
    stride = max(window // 2, 1)
    starts = list(range(0, length - window + 1, stride))
    if starts[-1] + window < length:
        starts.append(length - window)
    return starts


def pad_to(volumes: Tensor, window: Sequence[int]) -> Tensor:
    """Pad [M, *space] at the end of each axis to at least `window`, with each modality's minimum."""
    target = [max(n, w) for n, w in zip(volumes.shape[1:], window, strict=True)]
    if list(volumes.shape[1:]) == target:
        return volumes
    padded = volumes.flatten(1).amin(dim=1).view(-1, *[1] * len(target)).expand(-1, *target).clone()
    padded[(slice(None), *(slice(n) for n in volumes.shape[1:]))] = volumes
    return padded


def mean_dice(rows: Sequence[Row]) -> float:
    """Mean Dice over cases, subsets and regions: what `select: best` maximises on the validation cases."""
    return float(np.mean([r.value for r in rows if r.metric == "dice"]))
