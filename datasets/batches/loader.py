"""From a store to training batches.

    loader = Loader(store, cases, availability("mr2468", cases, store.description), crop=80, seed=1037)
    for batch in loader.batches(epoch):
        loss = objective.loss(backbone, batch.to(device))

One epoch is every sample once: a random crop of every case, or of every slice of every case in a 2-D study;
or it is a number of steps, which go on in the next pass over the samples where the last epoch ended. Order,
crops, subsets and augmentation are functions of (seed, pass, case), so any epoch can be made again by itself;
batches are made ahead in one background thread, or on a device that keeps the study: they are the same.
An objective may name the subset that a step shows: its batch is then drawn from the cases that can show it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench_edges import Edges, space_of
from bench_errors import InputError
from datasets.batches import augment as augmentation
from datasets.batches.augment import CPU
from datasets.batches.crops import Crops
from datasets.missingness.availability import Availability
from datasets.randomness import generator
from datasets.store.store import Store
from datasets.store.voxels import Voxels
from datasets.vocabulary import presence, subsets

BATCHES_AHEAD = 2
Mask = tuple[bool, ...]
"""A subset, one bool per modality."""


@dataclass
class LoadedBatch:
    """What one training step sees.

    Attributes:
        volumes: float32 [B, M, *space]; zeros where a modality is not available.
        available: bool [B, M], what the case has.
        present: bool [B, M], the subset drawn for the fused output, within `available`.
        target: int64 [B, *space], class indices.
        cases: B names; of a slice with its number (`case#3`), of a sample for a named subset with its place
            in the epoch (`case@3`), so that what is drawn for each is its own.
        corners: int64 [B, 2, 3], the voxels of the stored case at the first and the last voxel of the crop.
            Along an axis that was flipped, the first lies behind the last; padding lies beyond the case; a
            rotation is not told.
    """

    volumes: Tensor
    available: Tensor
    present: Tensor
    target: Tensor
    cases: list[str]
    corners: Tensor | None = None

    def to(self, device: torch.device) -> "LoadedBatch":
        """Return the batch with its tensors on `device`, which need not have them yet."""
        return LoadedBatch(
            self.volumes.to(device, non_blocking=True),
            self.available.to(device, non_blocking=True),
            self.present.to(device, non_blocking=True),
            self.target.to(device, non_blocking=True),
            self.cases,
            None if self.corners is None else self.corners.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class _Unit:
    """One sample of an epoch: a case (`slice_` None), or one slice of it.

    `shown`: the subset that its step shows, where the objective names one; `draw` tells its draws apart.
    """

    case: str
    slice_: int | None
    shown: Mask | None = None
    draw: str = ""

    @property
    def key(self) -> str:
        return self.case + ("" if self.slice_ is None else f"#{self.slice_}") + self.draw


class Loader:
    """Yields the batches of an epoch.

    Attributes:
        modalities: names, in the order of the tensors' modality axis.
        wait: seconds that the consumer has waited for batches in the current epoch.
    """

    def __init__(
        self,
        store: Store,
        cases: Sequence[str],
        availability: Availability,
        crop: Edges,
        policy: Literal["idt", "idt_drop", "pdt"] = "idt",
        batch_size: int = 1,
        seed: int = 1037,
        augment: bool | Literal["released"] = True,
        label_share: float = 0.0,
        part: tuple[int, int] = (0, 1),
        steps_per_epoch: int | None = None,
        device: torch.device = CPU,
        room: int = 0,
    ):
        """Prepare to load.

        Args:
            store: where the volumes are.
            cases: the training cases.
            availability: what each of them has; ignored under `pdt`, which shows all modalities to training.
            crop: edge or edges of the crop in voxels (in a 2-D study of the first two axes; the third is 1).
            policy: the subset of a sample: `idt` what its case has, `idt_drop` a random part of that, `pdt` a
                random subset of all.
            batch_size: samples per batch; the last batch of an epoch may have fewer.
            seed: of all draws.
            augment: the published augmentation; `released` draws its intensity change per slice (2-D: row).
            part: which of how many devices that share each batch; a batch that has no case for one gives it
                its first case, to be counted for nothing.
            label_share: share of the crops that are centred on a random labelled voxel, where there is one.
            steps_per_epoch: how many steps an epoch has, with a whole batch each; None: every sample once.
            device, room: where batches are for, and how many bytes of it the volumes may take. Where all of
                them fit they stay there and so do batches; else batches are made on the CPU.

        Raises `InputError` if there is no case, or if `pdt` meets a case that lacks a modality on disk.
        """
        if not cases:
            raise InputError("found no training case: give the study more cases or another split")
        self.modalities = store.description.modalities
        self.wait = 0.0
        self._store = store
        self._crop = crop
        self._policy = policy
        self._batch_size = batch_size
        self._seed = seed
        self._augment = augment
        self._label_share = label_share
        self._part = part
        self._dims = store.description.spatial_dims
        self._available = {case: self._what_training_sees(case, availability) for case in cases}
        self._crops = Crops(store, self._available, device, room)
        self._pinned = device.type == "cuda" and not self._crops.keeps
        self._units = [unit for case in cases for unit in self._units_of(case)]
        self._minima: dict[tuple[str, int | None, int], float] = {}
        self._samples = steps_per_epoch * batch_size if steps_per_epoch else len(self._units)

    @property
    def units(self) -> int:
        """Samples of a pass: cases, or slices in a 2-D study."""
        return len(self._units)

    def units_per_modality(self) -> list[int]:
        """Samples of a pass that have each modality."""
        return np.sum([self._available[unit.case] for unit in self._units], axis=0).tolist()

    def masks(self) -> list[Mask]:
        """Subsets that a case can show, fewest modalities first."""
        had = np.array(list({tuple(self._available[unit.case].tolist()) for unit in self._units}))
        every = [presence(subset, self.modalities) for subset in subsets(self.modalities)]
        return [mask for mask in every if (had | ~np.array(mask)).all(axis=1).any()]

    def cases_in(self, step: int) -> int:
        """Samples of the batch of a step, those of all its parts."""
        return min(self._batch_size, self._samples - step * self._batch_size)

    def __len__(self) -> int:
        """Batches per epoch."""
        return -(-self._samples // self._batch_size)

    def batches(
        self, epoch: int, first_step: int = 0, subset: Callable[[int], Mask | None] = lambda step: None
    ) -> Iterator[LoadedBatch]:
        """Yield the batches of an epoch from `first_step` on, equal each time they are asked for.

        `subset`: what all cases of a batch show, by its step counted from the start of the training; None:
        what the policy says of each case. Raises `InputError` for a subset that no case can show.
        """
        self.wait = 0.0
        drawn, (rank, size) = self._drawn(epoch, subset), self._part
        firsts = range(first_step * self._batch_size, len(drawn), self._batch_size)
        whole = (drawn[first : first + self._batch_size] for first in firsts)
        parts = (batch[rank::size] or batch[:1] for batch in whole)
        if self._crops.keeps:  # a thread that gives a GPU work would disturb what is being recorded
            for part in parts:
                began = time.perf_counter()
                made = self._batch(part)
                self.wait += time.perf_counter() - began
                yield made
            return
        with ThreadPoolExecutor(1, "loader") as thread:
            ahead: deque[Future[LoadedBatch]] = deque()
            try:
                for part in parts:
                    ahead.append(thread.submit(self._batch, part))
                    if len(ahead) > BATCHES_AHEAD:
                        yield self._next(ahead)
                while ahead:
                    yield self._next(ahead)
            finally:
                thread.shutdown(cancel_futures=True)

    def _drawn(self, epoch: int, subset: Callable[[int], Mask | None]) -> list[tuple[_Unit, int]]:
        """Return the samples of an epoch in their order, each with the pass that its draws are of.

        Those of a subset come again when all have come; their draws are of the epoch.
        """
        drawn: list[tuple[_Unit, int]] = []
        waiting: dict[Mask, list[_Unit]] = {}
        for i, (k, turn) in enumerate(self._order(epoch)):
            mask = subset(epoch * len(self) + i // self._batch_size)
            if mask is None:
                drawn.append((self._units[k], turn))
                continue
            if not waiting.get(mask):
                able = [unit for unit in self._units if self._available[unit.case][list(mask)].all()]
                if not able:
                    shown = "+".join(np.array(self.modalities)[list(mask)])
                    raise InputError(f"no training case can show {shown}: name another subset")
                order = generator(self._seed, "order of a subset", epoch, str(i)).permutation(len(able))
                waiting[mask] = [able[j] for j in order]
            drawn.append((replace(waiting[mask].pop(), shown=mask, draw=f"@{i}"), epoch))
        return drawn

    def _order(self, epoch: int) -> list[tuple[int, int]]:
        """Return which samples an epoch has, in their order, each with its pass over all of them.

        The passes follow each other whatever the epochs are; without `steps_per_epoch` they are the epochs.
        """
        begin, whole = epoch * self._samples, len(self._units)
        first, end = begin // whole, -(-(begin + self._samples) // whole)
        order = [
            (int(k), turn)
            for turn in range(first, end)
            for k in generator(self._seed, "order", turn).permutation(whole)
        ]
        return order[begin - first * whole :][: self._samples]

    def _next(self, ahead: "deque[Future[LoadedBatch]]") -> LoadedBatch:
        began = time.perf_counter()
        batch = ahead.popleft().result()
        self.wait += time.perf_counter() - began
        return batch

    def _what_training_sees(self, case: str, availability: Availability) -> NDArray[np.bool_]:
        exists = np.array(self._store.available(case))
        if self._policy == "pdt":
            if not exists.all():
                lacking = ", ".join(np.array(self.modalities)[~exists])
                raise InputError(
                    f"policy pdt needs complete cases, {case} lacks {lacking}: leave it out, or use idt"
                )
            return exists
        row = availability.table[availability.cases.index(case)]
        if (row & ~exists).any():
            raise ValueError(f"the availability table gives {case} modalities that the store does not have")
        return row

    def _units_of(self, case: str) -> list[_Unit]:
        if self._dims == 3:
            return [_Unit(case, None)]
        return [_Unit(case, k) for k in range(self._store.labels(case).shape[-1])]

    def _batch(self, drawn: Sequence[tuple[_Unit, int]]) -> LoadedBatch:
        samples = [self._sample(unit, turn) for unit, turn in drawn]
        units = [unit for unit, _ in drawn]
        available = torch.from_numpy(np.array([self._available[unit.case] for unit in units]))
        present = torch.from_numpy(np.array([self._subset(unit, turn) for unit, turn in drawn]))
        volumes, target, corners = (torch.stack(parts) for parts in zip(*samples, strict=True))
        target = target.long()
        if self._pinned:  # what lies anywhere is copied to a GPU by way of what does, and may wait for that
            volumes, target = volumes.pin_memory(), target.pin_memory()
        return LoadedBatch(volumes, available, present, target, [unit.key for unit in units], corners)

    def _sample(self, unit: _Unit, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Crop and augment one sample: float32 [M, *space], uint8 [*space], and its corners int64 [2, 3]."""
        crops, available = self._crops, self._available[unit.case]
        space = space_of(self._crop, self._dims)
        place = self._place(self._store.labels(unit.case), space, unit, epoch)
        inner = tuple(slice(part.stop - part.start) for part in place)
        sample = torch.zeros((len(available), *space), device=crops.device)
        target = torch.zeros(space, dtype=torch.uint8, device=crops.device)
        target[inner] = crops.cut(unit.case, None, place)
        small = target[inner].shape != space
        for m in np.flatnonzero(available).tolist():
            if small:
                sample[m] = self._minimum(unit, m)
            sample[m][inner] = crops.cut(unit.case, m, place)
        first = torch.tensor([part.start for part in place])
        last = first + torch.tensor(space) - 1
        if not self._augment:
            return sample, target, torch.stack([first, last])
        random = generator(self._seed, "augment", epoch, unit.key)
        change = augmentation.draw(random, len(available), space, self._dims, self._augment == "released")
        flipped = torch.tensor(change.flips)
        corners = torch.stack([torch.where(flipped, last, first), torch.where(flipped, first, last)])
        return *augmentation.apply(change, sample, target, available.tolist()), corners

    def _place(self, labels: Voxels, space: tuple[int, ...], unit: _Unit, epoch: int) -> tuple[slice, ...]:
        """Where the crop lies; a volume that is smaller than the crop is taken whole along that axis."""
        random = generator(self._seed, "crop", epoch, unit.key)
        whole = _extent(unit, labels.shape)
        lengths = [part.stop - part.start for part in whole]
        room = [max(n - c, 0) for n, c in zip(lengths, space, strict=True)]
        starts = random.integers(0, np.array(room) + 1).tolist()
        if random.random() < self._label_share and (centre := self._labelled(labels, unit, random)):
            starts = [min(max(p - c // 2, 0), r) for p, c, r in zip(centre, space, room, strict=True)]
        return tuple(
            slice(part.start + s, part.start + min(s + c, n))
            for part, s, c, n in zip(whole, starts, space, lengths, strict=True)
        )

    def _labelled(self, labels: Voxels, unit: _Unit, random: np.random.Generator) -> tuple[int, ...] | None:
        """A random labelled voxel of the unit, None without one; of a volume one plane is read, not all."""
        if unit.slice_ is None:
            ends = np.cumsum(self._store.labelled(unit.case))
            if not ends[-1]:
                return None
            number = int(random.integers(ends[-1]))
            x = int(np.searchsorted(ends, number, side="right"))
            inside = np.flatnonzero(labels[x])
            from_end = number - int(ends[x])
            y, z = np.unravel_index(inside[from_end], labels.shape[1:])
            return x, int(y), int(z)
        slice_ = labels[_extent(unit, labels.shape)]
        inside = np.flatnonzero(slice_)
        if not len(inside):
            return None
        return tuple(map(int, np.unravel_index(inside[random.integers(len(inside))], slice_.shape)))

    def _minimum(self, unit: _Unit, m: int) -> float:
        """The value that pads a volume: its minimum, read once per run."""
        key = unit.case, unit.slice_, m
        if key not in self._minima:
            volumes = self._store.volumes(unit.case)
            whole = _extent(unit, volumes.shape[1:])
            self._minima[key] = float(volumes[m, *whole].min())
        return self._minima[key]

    def _subset(self, unit: _Unit, epoch: int) -> NDArray[np.bool_]:
        if unit.shown:
            return np.array(unit.shown)
        available = self._available[unit.case]
        if self._policy == "idt":
            return available
        size = int(available.sum())
        drawn = int(generator(self._seed, "present", epoch, unit.key).integers(1, 2**size))
        present = np.zeros_like(available)
        present[available] = [bool(drawn >> bit & 1) for bit in range(size)]
        return present


def _extent(unit: _Unit, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where a unit lies in its case's volume of this shape [X, Y, Z]."""
    whole = tuple(slice(0, n) for n in shape)
    return whole if unit.slice_ is None else (*whole[:2], slice(unit.slice_, unit.slice_ + 1))
