"""A tested case, segmented for every subset of what it has.

segmented = segment_case(backbone, store, case, window=80, device=device)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones.contract import Backbone
from bench_edges import Edges
from benchmark.evaluation.sliding_window import averaged, class_maps, class_sums, flips_of
from datasets.missingness.degrade import Degradation, degraded_volume
from datasets.store.store import Store
from datasets.vocabulary import Subset, subset_name, table_subsets


@dataclass(frozen=True)
class Segmentation:
    """One case, segmented for several subsets.

    Attributes:
        maps: the most probable class, uint8 [*space], by name of the subset, in the order of the tables.
        probabilities: of the classes at the F voxels that the reference has as foreground, float32 [C, F], by
            the same names; empty where nobody asked for them.
        on_device: the maps where they were made, uint8 [S, *space], to be scored there; None: nobody asked.
    """

    maps: dict[str, NDArray[np.uint8]]
    probabilities: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    on_device: Tensor | None = None


def segment_case(
    backbone: Backbone,
    store: Store,
    case: str,
    *,
    window: Edges,
    device: torch.device,
    outside: Degradation | None = None,
    probabilities: bool = False,
    dedicated: Subset | None = None,
    flips: bool = False,
    others: Sequence[Backbone] = (),
    resident: bool = False,
) -> Segmentation:
    """Segment one case for every subset of what it has; `backbone` stays in its mode.

    `others`: more networks, whose probabilities are averaged with those of `backbone`. `flips`: whether those
    of all flips of a window are.
    `dedicated`: the one subset that the network is for, which the case has; None: it is for all.
    `outside`: the quality in which the case's modalities outside a subset are shown; None: they are absent.
    `probabilities`: whether to return those of the foreground's voxels too. `resident`: whether to leave the
    maps on the device as well.
    """
    description = store.description
    has = {m for m, there in zip(description.modalities, store.available(case), strict=True) if there}
    subsets = [dedicated] if dedicated else [s for s in table_subsets(description) if has.issuperset(s)]
    volumes = torch.from_numpy(np.array(store.volumes(case)))
    poor = None
    if outside:
        poor = torch.zeros_like(volumes)
        for m, modality in enumerate(description.modalities):
            if modality in has:
                poor[m] = torch.from_numpy(degraded_volume(store, case, m, outside))
    modalities = description.modalities
    sums = averaged(
        class_sums(network, volumes, subsets, modalities, window, device, poor, flips_of(network, flips))
        for network in (backbone, *others)
    )
    names = [subset_name(s, description.modalities) for s in subsets]
    classes = class_maps(sums)
    maps = dict(zip(names, classes.cpu().numpy(), strict=True))
    left = classes if resident and classes.device.type == device.type else None
    if not probabilities:
        return Segmentation(maps, on_device=left)
    foreground = torch.from_numpy(np.asarray(store.labels(case)) > 0).to(sums.device)
    there = sums[..., foreground]
    shares = (there / there.sum(dim=1, keepdim=True)).cpu().numpy()
    return Segmentation(maps, dict(zip(names, shares, strict=True)), left)
