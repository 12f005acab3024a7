"""Crops of a study's volumes, cut on the device that keeps them: ``Crops(store, device, room=2**34)``.

A volume is kept from its first crop on, as long as there is room; crops of the others are read from the store
and sent. Either way they are the same numbers.
"""

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datasets.store.store import Store


class Crops:
    """Cuts crops.

    Attributes:
        device: where they are.
        keeps: whether there was room for anything.
    """

    def __init__(self, store: Store, device: torch.device, room: int = 0):
        """`room`: how many bytes of the device the study may take."""
        self.device, self.keeps = device, room > 0
        self._store, self._room = store, room
        self._kept: dict[tuple[str, int | None], Tensor] = {}

    def cut(self, case: str, modality: int | None, place: tuple[slice, ...]) -> Tensor:
        """Return a crop of a case's normalised volume, float32 [*space], or uint8 of its labels (None)."""
        kept = self._kept.get((case, modality))
        if kept is None:
            voxels: Any = self._store.labels(case) if modality is None else self._store.volumes(case)
            index = () if modality is None else (modality,)
            size = prod(voxels.shape[-3:]) * (1 if modality is None else 4)
            if size > self._room:
                return self._sent(voxels[*index, *place])
            self._room -= size
            kept = self._kept[case, modality] = self._sent(voxels[*index, *[slice(None)] * 3])
        return kept[place]

    def _sent(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.require(array, requirements="W")).to(self.device, non_blocking=True)
