"""Time a step and a test window of each shape within some seconds.

    with prober(slot) as probe:                     # what it needs is imported meanwhile
        timed, start = probe(shapes, 60.0)

One process is started, which imports what it needs once and forks another for each shape: so the memory is
that of the shape, and one that cannot run takes nothing with it. The seconds are shared out: each shape is
timed at two small crops first, then at the largest that its share allows, up to its own. When the seconds are
over, the processes are killed, and what they have said by then counts.
"""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.launch.devices import Slot
from benchmark.launch.stopping import kill_group
from benchmark.launch.worker_command import malloc_variables
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
    """What was timed of a shape at one edge of its crop.

    `seconds`: pairs. The first is of a step with all modalities and of one with one modality; one for each
    test is of the network for all subsets of a window as large as the crop, and of the metrics there.
    """

    edge: int
    seconds: Sequence[Sequence[float]]
    peak_bytes: int


@dataclass
class Timed:
    """What was timed of a shape, smaller crops first; `reason`: why it cannot run here."""

    points: list[Point] = field(default_factory=list)
    reason: str = ""


Probe = Callable[[Sequence[Shape], float], tuple[dict[Shape, Timed], float]]


@contextmanager
def prober(slot: Slot) -> Iterator[Probe]:
    """Start what times shapes in `slot`, and yield what asks it to, for at most so many seconds.

    It says on standard error which shape is at work, and returns what was timed of each, and how many seconds
    a process takes to start (0 where it did not in time).
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark.planning.probe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **malloc_variables(), **slot.environment()},
        start_new_session=True,
    )

    def probe(shapes: Sequence[Shape], seconds: float) -> tuple[dict[Shape, Timed], float]:
        timed = {shape: Timed() for shape in sorted(shapes, key=lambda shape: shape.voxels)}
        try:
            request = pickle.dumps((list(timed), slot, time.time() + seconds))
            output, _ = process.communicate(request, timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)
            output, _ = process.communicate()
        return timed, _read(output.decode(), list(timed.values()))

    try:
        yield probe
    finally:
        kill_group(process)
        process.wait()


def _read(output: str, timed: Sequence[Timed]) -> float:
    """Enter what the processes have said, and return how long the first took to start."""
    start = 0.0
    for line in output.splitlines(keepends=True):
        if not line.endswith("\n"):  # cut off when the seconds were over
            break
        said = json.loads(line)
        if "start" in said:
            start = said["start"]
        elif "reason" in said:
            timed[said["shape"]].reason = said["reason"]
        else:
            point = Point(said["edge"], said["seconds"], said["peak_bytes"])
            timed[said["shape"]].points.append(point)
    return start


def main(asked: float) -> None:
    """Time what `prober` asks for on standard input, and say what was timed as lines of JSON.

    What all need is imported before processes are forked, none of which then takes the time for it.
    """
    import torch

    from backbones import BACKBONES
    from benchmark.speed import tasks  # noqa: F401
    from passion import OBJECTIVES

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # the first imports the most
    _say(start=time.time() - asked)
    shapes, slot, end = pickle.load(sys.stdin.buffer)
    for shape in shapes:
        with suppress(Exception):  # what is wrong with them is said where they are timed
            BACKBONES.get(shape.config.backbone.name)
            OBJECTIVES.get(shape.config.objective.name)
    for i, shape in enumerate(shapes):
        left, config = end - time.time(), shape.config
        name = f"{config.dataset} {config.backbone.name} {config.objective.name}"
        print(f"timing {i + 1} of {len(shapes)}: {name}, {left:.0f} s left", file=sys.stderr, flush=True)
        killed, share = memory_kills(), left / (len(shapes) - i)
        arguments = (i, shape, slot, share, max(share, left / 2))
        process = multiprocessing.get_context("fork").Process(target=_time, args=arguments)
        process.start()
        process.join()
        if memory_kills() > killed:
            _say(shape=i, reason=f"{OUT_OF_MEMORY}: the system killed its process")
        elif process.exitcode not in (0, -signal.SIGALRM):
            _say(shape=i, reason=f"its process ended with code {process.exitcode}")


def _time(number: int, shape: Shape, slot: Slot, share: float, limit: float) -> None:
    """Time a shape at two small crops, and at the largest that takes no more than `share` of seconds in all.

    The process ends by SIGALRM after `limit` seconds, whatever it does.
    """
    signal.setitimer(signal.ITIMER_REAL, limit)
    end, own = time.monotonic() + share, shape.config.train.crop
    points: list[Point] = []
    for edge in sorted({max(STEP, STEP * round(part * own / STEP)) for part in SMALL} - {own}):
        with suppress(Exception):  # some networks take no small crops
            points.append(_time_at(shape, edge, slot))
            _say(shape=number, **vars(points[-1]))
    left = end - time.monotonic()
    edges = range(points[-1].edge + STEP, own + 1, STEP) if points else [own]
    fitting = [edge for edge in edges if not points or REPEATS * at_edge(points, shape, edge)[0].sum() < left]
    if fitting:
        try:
            _say(shape=number, **vars(_time_at(shape, fitting[-1], slot)))
        except Exception as error:  # whatever a network says to what it cannot do
            if fitting[-1] == own:
                _say(shape=number, reason=error_reason(error))


def _time_at(shape: Shape, edge: int, slot: Slot) -> Point:
    """Time a shape at crops and windows of that edge."""
    from benchmark.speed import tasks
    from benchmark.training.memory import peak
    from benchmark.training.precision import check_precision

    device = tasks.begin(tasks.Measurement(slot.device, slot.threads))
    description = shape.description
    check_precision(shape.config.precision, device)
    configs = []
    for point in shape.points:
        train = point.train.model_copy(update={"crop": edge})
        test = point.test.model_copy(update={"window": edge})
        configs.append(point.model_copy(update={"train": train, "test": test}))
    step, space = tasks.TrainingStep(configs[0], description, device), tasks.space_of(edge, description)
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

    return Point(edge, [[seconds(task) for task in pair] for pair in pairs], peak(device))


def at_edge(points: Sequence[Point], shape: Shape, edge: int) -> tuple[NDArray[np.float64], float]:
    """Return the seconds of a `Point` at another edge, and how many times as long or short they may be.

    At most they grow as the voxels do; at least, along the line through the two largest crops, or not at all
    where there is one. They are taken to grow by the geometric mean of both.
    """
    smaller, last = points[-2:][0], points[-1]
    wanted, small, voxels = (e**shape.description.spatial_dims for e in (edge, smaller.edge, last.edge))
    seconds = np.array(last.seconds)
    slope = max(0.0, (seconds.sum() - np.sum(smaller.seconds)) / max(voxels - small, 1))
    growth = wanted / voxels, 1 + slope * (wanted - voxels) / seconds.sum()
    return seconds * sqrt(prod(growth)), sqrt(max(growth) / min(growth))


def _say(**content: Any) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main(time.time())
