"""Crops of a study's volumes: ``Crops(store, {"case": has}, device, room=2**34).cut("case", 0, place)``.

Where there is room for the whole study, a volume stays on the device from its first crop on, and crops are
cut there. Else they are read from the store, on the CPU. Either way they are the same numbers.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.batches.augment import CPU
from datasets.store.store import Store


class Crops:
    """Cuts crops.

    Attributes:
        keeps: whether the study stays on the device.
        device: where crops are.
    """

    def __init__(
        self, store: Store, shown: Mapping[str, NDArray[np.bool_]], device: torch.device, room: int = 0
    ):
        """`shown`: which modalities [M] of each case are cut; `room`: bytes of the device for all of them."""
        self._store = store
        self._read: dict[str, tuple[Any, Any]] = {}
        self._kept: dict[tuple[str, int | None], Tensor] = {}
        self.keeps = 0 < self._bytes(shown) <= room if room else False
        self.device = device if self.keeps else CPU

    def cut(self, case: str, modality: int | None, place: tuple[slice, ...]) -> Tensor:
        """Return a crop of a case's normalised volume, float32 [*space], or uint8 of its labels (None)."""
        if not self.keeps:
            return self._part(case, modality, place)
        key = case, modality
        if key not in self._kept:
            whole = self._part(case, modality, (slice(None),) * 3)
            self._kept[key] = whole.to(self.device, non_blocking=True)
        return self._kept[key][place]

    def _bytes(self, shown: Mapping[str, NDArray[np.bool_]]) -> int:
        return sum(prod(self._voxels(c)[1].shape) * (4 * int(has.sum()) + 1) for c, has in shown.items())

    def _voxels(self, case: str) -> tuple[Any, Any]:
        """Return the volumes and the labels of a case, which are read where they are indexed."""
        if case not in self._read:
            self._read[case] = self._store.volumes(case), self._store.labels(case)
        return self._read[case]

    def _part(self, case: str, modality: int | None, place: tuple[slice, ...]) -> Tensor:
        volumes, labels = self._voxels(case)
        array = labels[place] if modality is None else volumes[modality, *place]
        return torch.from_numpy(np.require(array, requirements="W"))
