"""The forward and backward pass of a training step, recorded once for each kind of batch and then replayed.

    steps = CapturedSteps(gradients, CudaRecorder())
    terms = steps(batch)                        # the same as gradients(batch), without launching each kernel

A step of a small batch is some thousand kernels, and launching them takes longer than their work. A CUDA
graph launches them as one. It repeats what it saw, at the same places of memory: so the host must decide
nothing by a value of the device, and batches are copied to where the recorded one lay. What the host knows
and decides by, which modalities each case has and shows, makes the kind of a batch, and each kind has a graph
of its own. A kind is computed as always when it first comes, which brings to the device what stays there, and
recorded when it comes again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from backbones.host import host, kept_in
from datasets.batches.loader import LoadedBatch

GRAPHS = 128
"""Kinds that are recorded at most; the others are computed as always. Of four modalities there are 15, or 65
where a part of what a case has is shown."""
ROOM = 0.15
"""Share of the GPU's memory that has to be free before another kind is recorded."""


class Gradients(NamedTuple):
    """What a forward and backward pass came to: the terms of the loss, and whether anything was to be learnt.

    The gradients themselves are at the weights.
    """

    terms: dict[str, Tensor]
    learns: bool


Compute = Callable[[LoadedBatch], Gradients]
Replay = Callable[[], None]


class Recorder(Protocol):
    """What records work of a device."""

    def room(self) -> bool:
        """Whether there is memory for another recording."""

    def record(self, function: Callable[[], Gradients]) -> tuple[Replay, Gradients]:
        """Return what does again what `function` does, and where its results then are; it is not done yet."""


class CudaRecorder:
    """Records CUDA graphs, all in one pool of memory: one replay is done with before the next begins."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def room(self) -> bool:
        """Whether `ROOM` of the GPU's memory is free, or held by torch for later."""
        free, whole = torch.cuda.mem_get_info()
        return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated() > ROOM * whole

    def record(self, function: Callable[[], Gradients]) -> tuple[Replay, Gradients]:
        """Capture `function` on a stream of its own; see `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        # The outer one leaves the stream of a capture that CUDA has ended: torch's own then does not.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=self._pool):
            made = function()
        return graph.replay, made


@dataclass
class _Kind:
    """What is known of batches of one kind; `constants`: what the host has sent to the device for them."""

    constants: dict[Any, Tensor] = field(default_factory=dict)
    batch: LoadedBatch | None = None
    replay: Replay | None = None
    made: Gradients | None = None
    plain: bool = False


class CapturedSteps:
    """Computes batches as `compute` does, from recordings where there is one.

    Attributes:
        recorded: how many kinds were recorded.
        refused: why one could not be, after which none is.
    """

    def __init__(self, compute: Compute, recorder: Recorder, graphs: int = GRAPHS):
        """`compute` must leave gradients where they were, and look at no value of the device."""
        self._compute, self._recorder, self._graphs = compute, recorder, graphs
        self._kinds: dict[Any, _Kind] = {}
        self._places: dict[Any, LoadedBatch] = {}
        self.recorded, self.refused = 0, ""

    def __call__(self, batch: LoadedBatch, phase: Any = None) -> Gradients:
        """Compute a batch; `phase`: whatever else of the host's decides what is computed."""
        key = (*_masks(batch), _shapes(batch), phase)
        first = key not in self._kinds
        if first and len(self._kinds) >= self._graphs:
            return self._compute(batch)
        kind = self._kinds.setdefault(key, _Kind())
        if not first and not kind.plain and kind.replay is None:
            self._record(kind, batch)
        if kind.replay is None or kind.batch is None or kind.made is None:
            with kept_in(kind.constants):
                return self._compute(batch)
        _copy(batch, kind.batch)
        kind.replay()
        return kind.made

    def _record(self, kind: _Kind, batch: LoadedBatch) -> None:
        """Record a kind, or note that it is to be computed as always."""
        if not self._recorder.room():
            kind.plain = True
            return
        place = self._places.setdefault(_shapes(batch), batch)
        kind.batch = replace(place, available=batch.available, present=batch.present, cases=batch.cases)
        if place is not batch:
            _copy(batch, kind.batch)
        there = kind.batch
        try:
            with kept_in(kind.constants):
                kind.replay, kind.made = self._recorder.record(lambda: self._compute(there))
            self.recorded += 1
        except RuntimeError as error:
            # What a broken recording leaves of the pool and of random numbers is not to be relied on.
            self._kinds, self._graphs, self.refused = {}, 0, str(error)
            print(f"a step cannot be recorded ({error}): all are computed as always", flush=True)


def _masks(batch: LoadedBatch) -> tuple[bytes, bytes]:
    return tuple(host(mask).numpy().tobytes() for mask in (batch.available, batch.present))  # type: ignore[return-value]


def _tensors(batch: LoadedBatch) -> list[Tensor]:
    """What differs between batches of a kind."""
    return [part for part in (batch.volumes, batch.target, batch.corners) if part is not None]


def _shapes(batch: LoadedBatch) -> tuple[torch.Size, ...]:
    return tuple(part.shape for part in _tensors(batch))


def _copy(batch: LoadedBatch, there: LoadedBatch) -> None:
    """Put the batch where a recorded one was; a batch that is there already stays."""
    for ours, theirs in zip(_tensors(batch), _tensors(there), strict=True):
        if ours is not theirs:
            theirs.copy_(ours, non_blocking=True)
