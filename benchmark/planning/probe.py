"""Time a step and a test window of each shape within some seconds.

    start(slot)                                     # what processes need is imported meanwhile
    timed = probe(shapes, slot, 60.0)

Each shape gets a process, forked from one which has imported what all need: so the memory is that of the
shape, and one that cannot run takes nothing with it. The seconds are shared out: each shape is timed at two
small crops first, then at the largest that its share allows, up to its own. A process whose seconds are over
is killed, and what it has said by then counts.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import prod, sqrt
from multiprocessing import forkserver
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from bench_console import messages
from bench_edges import Edges, space_of
from benchmark.launch.devices import Slot
from benchmark.launch.worker_command import process_variables
from benchmark.planning.work import Shape
from benchmark.run_folder.reasons import OUT_OF_MEMORY, error_reason, memory_kills

STEP = 16
"""Edges of crops are multiples of it."""
SMALL = (0.2, 0.4)
"""Edges of the first crops over that of the shape's own."""
REPEATS = 2
"""Of everything, of which the last counts."""


@dataclass(frozen=True)
class Point:
    """What was timed of a shape at a crop of its own edges or of smaller ones.

    `seconds`: pairs. The first is of a step with all modalities and of one with one modality; one for each
    test is of the network for all subsets of a window as large as the crop, and of the metrics there.
    """

    crop: Edges
    seconds: Sequence[Sequence[float]]
    peak_bytes: int


@dataclass
class Timed:
    """What was timed of a shape, smaller crops first; `reason`: why it cannot run here."""

    points: list[Point] = field(default_factory=list)
    reason: str = ""


def start(slot: Slot) -> None:
    """Begin to import what processes in `slot` need, in one from which they are forked; wait for nothing."""
    os.environ.update({**process_variables(), **slot.environment()})
    forkserver.set_forkserver_preload(["benchmark.speed.tasks", "torch._dynamo"])
    forkserver.ensure_running()


def probe(shapes: Sequence[Shape], slot: Slot, seconds: float) -> dict[Shape, Timed]:
    """Time shapes, the smallest first, for at most so many seconds; say which is at work."""
    end, context, console = time.monotonic() + seconds, multiprocessing.get_context("forkserver"), messages()
    timed = {shape: Timed() for shape in sorted(shapes, key=lambda shape: shape.voxels)}
    for i, (shape, of) in enumerate(timed.items()):
        left, config = max(0.0, end - time.monotonic()), shape.config
        name = f"{config.dataset} {config.backbone.name} {config.objective.name}"
        console.print(f"timing {i + 1} of {len(timed)}: {name}, {left:.0f} s left", soft_wrap=True)
        killed, share = memory_kills(), left / (len(timed) - i)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_time, args=(shape, slot, share, sender), daemon=True)
        process.start()
        sender.close()
        process.join(max(share, left / 2))
        over = process.is_alive()
        process.kill()
        process.join()
        with suppress(EOFError):
            while receiver.poll():
                said = receiver.recv()
                if isinstance(said, Point):
                    of.points.append(said)
                else:
                    of.reason = said
        if memory_kills() > killed:
            of.reason = f"{OUT_OF_MEMORY}: the system killed its process"
        elif process.exitcode and not over:
            of.reason = f"its process ended with code {process.exitcode}"
    return timed


def _time(shape: Shape, slot: Slot, share: float, sender: Connection) -> None:
    """Time a shape at two small crops, and at the largest that takes no more than `share` seconds in all."""
    end, own = time.monotonic() + share, shape.config.train.crop
    points: list[Point] = []
    small = dict.fromkeys(_part(own, part) for part in SMALL)
    for crop in (crop for crop in small if crop != own):
        with suppress(Exception):  # some networks take no small crops
            points.append(_time_at(shape, crop, slot))
            sender.send(points[-1])
    left = end - time.monotonic()
    longest = _longest(own)
    longer = range(_longest(points[-1].crop) + STEP if points else longest, longest + 1, STEP)
    crops = [_part(own, edge / longest) for edge in longer]
    fitting = [crop for crop in crops if not points or REPEATS * at_crop(points, shape, crop)[0].sum() < left]
    if fitting:
        try:
            sender.send(_time_at(shape, fitting[-1], slot))
        except Exception as error:  # whatever a network says to what it cannot do
            if fitting[-1] == own:
                sender.send(error_reason(error))


def _longest(crop: Edges) -> int:
    return crop if isinstance(crop, int) else max(crop)


def _part(crop: Edges, part: float) -> Edges:
    """Return a crop with edges so many times as long, in whole steps."""
    if isinstance(crop, int):
        return max(STEP, STEP * round(part * crop / STEP))
    edges = tuple(max(STEP, STEP * round(part * edge / STEP)) for edge in crop)
    return edges


def _time_at(shape: Shape, crop: Edges, slot: Slot) -> Point:
    """Time a shape at crops and windows of these edges."""
    from benchmark.speed import tasks
    from benchmark.training.memory import peak
    from benchmark.training.precision import check_precision

    device = tasks.begin(tasks.Measurement(slot.device, slot.threads))
    description = shape.description
    check_precision(shape.config.precision, device)
    configs = []
    for point in shape.points:
        train = point.train.model_copy(update={"crop": crop})
        test = point.test.model_copy(update={"window": crop})
        configs.append(point.model_copy(update={"train": train, "test": test}))
    step = tasks.TrainingStep(configs[0], description, device)
    space = space_of(crop, description.spatial_dims)
    counts = (len(description.modalities), 1)
    batches = [tasks.noise_batch(configs[0], description, count).to(device) for count in counts]
    pairs: list[tuple[Callable[[], object], ...]] = [tuple(partial(step, batch) for batch in batches)]
    for config in configs:
        network = tasks.prediction(step.network, config, description, space, device)
        pairs.append((network, tasks.scoring(config, description, space, device)))

    def seconds(task: Callable[[], object]) -> float:
        for _ in range(REPEATS):
            began = tasks.now(device)
            task()
            last = tasks.now(device) - began
        return last

    return Point(crop, [[seconds(task) for task in pair] for pair in pairs], peak(device))


def at_crop(points: Sequence[Point], shape: Shape, crop: Edges) -> tuple[NDArray[np.float64], float]:
    """Return the seconds of a `Point` at another crop, and how many times as long or short they may be.

    At most they grow as the voxels do; at least, along the line through the two largest crops, or not at all
    where there is one. They are taken to grow by the geometric mean of both.
    """
    smaller, last = points[-2:][0], points[-1]
    dims = shape.description.spatial_dims
    wanted, small, voxels = (prod(space_of(edges, dims)) for edges in (crop, smaller.crop, last.crop))
    seconds = np.array(last.seconds)
    slope = max(0.0, (seconds.sum() - np.sum(smaller.seconds)) / max(voxels - small, 1))
    growth = wanted / voxels, 1 + slope * (wanted - voxels) / seconds.sum()
    return seconds * sqrt(prod(growth)), sqrt(max(growth) / min(growth))
