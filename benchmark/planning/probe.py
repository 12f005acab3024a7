"""Time one step or test window of each shape within some seconds.

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

from benchmark.launch.devices import Slot
from benchmark.launch.stopping import kill_group
from benchmark.launch.worker import malloc_variables
from benchmark.planning.work import Shape
from benchmark.run_folder.reasons import OUT_OF_MEMORY, error_reason, memory_kills

FIRST, SECOND = 1.5, 1.2
"""How far off the time of a first step may be (it is rather too long), and of one after it."""
STEP = 16
"""Edges of crops are multiples of it."""
SMALL = (0.2, 0.4)
"""Edges of the first crops over that of the shape's own."""


@dataclass(frozen=True)
class Point:
    """What was timed of a shape at one edge of its crop or window.

    `seconds` are of a step with all modalities and of one with one modality; or of the network and of the
    metrics for all subsets of a window. They may be `factor` times as long or short.
    """

    edge: int
    seconds: tuple[float, float]
    factor: float
    peak_bytes: int


@dataclass
class Timed:
    """What was timed of a shape, smaller crops first; `reason`: why it cannot run here."""

    points: list[Point] = field(default_factory=list)
    reason: str = ""


@contextmanager
def prober(slot: Slot) -> Iterator[Callable[[Sequence[Shape], float], tuple[dict[Shape, Timed], float]]]:
    """Start what times shapes in `slot`, and yield what asks it to, for at most so many seconds.

    It says on standard error which shape is at work, and returns what was timed of each, and how many seconds
    a process takes to start (0 where it did not in time).
    """
    command = [sys.executable, "-m", "benchmark.planning.probe"]
    variables = {**os.environ, **malloc_variables(), **slot.environment()}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=variables, start_new_session=True)

    def probe(shapes: Sequence[Shape], seconds: float) -> tuple[dict[Shape, Timed], float]:
        timed = {shape: Timed() for shape in sorted(shapes, key=lambda shape: shape.size)}
        request = pickle.dumps((list(timed), slot, time.time() + seconds))
        try:
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
            continue
        shape = timed[said.pop("shape")]
        if "reason" in said:
            shape.reason = said["reason"]
        else:
            point = Point(**{**said, "seconds": tuple(said["seconds"])})
            shape.points = [*(other for other in shape.points if other.edge != point.edge), point]
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
    shapes, slot, until = pickle.load(sys.stdin.buffer)
    for shape in shapes:
        with suppress(Exception):  # what is wrong with them is said where they are timed
            BACKBONES.get(shape.config.backbone.name)
            OBJECTIVES.get(shape.config.objective.name)
    for i, shape in enumerate(shapes):
        left = until - time.time()
        share = left / (len(shapes) - i)
        text = f"timing {i + 1} of {len(shapes)}: {_name(shape)}, {left:.0f} s left"
        print(text, file=sys.stderr, flush=True)
        killed = memory_kills()
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
    end = time.monotonic() + share
    small = {max(STEP, STEP * round(part * shape.edge / STEP)) for part in SMALL}
    points: list[Point] = []
    for edge in sorted(edge for edge in small if edge < shape.edge):
        with suppress(Exception):  # some networks take no small crops
            points.append(_time_at(number, shape, edge, slot))
    edges = range(points[-1].edge + STEP, shape.edge + 1, STEP) if points else [shape.edge]
    repeats = 2 * (1 + points[-1].seconds[1] / points[-1].seconds[0]) if points else 0.0
    left = end - time.monotonic()
    for edge in reversed(edges):
        if not points or repeats * extrapolated(points, shape, edge)[0] < left:
            try:
                _time_at(number, shape, edge, slot)
            except Exception as error:  # whatever a network says to what it cannot do
                if edge == shape.edge:
                    _say(shape=number, reason=error_reason(error))
            return


def _time_at(number: int, shape: Shape, edge: int, slot: Slot) -> Point:
    """Time a shape at crops or windows of that edge, and say what each repeat came to."""
    from benchmark.speed import tasks
    from benchmark.training.memory import peak
    from benchmark.training.precision import check_precision

    device = tasks.begin(tasks.Setting(slot.device, slot.threads))
    config, description = shape.config, shape.description
    check_precision(config.precision, device)
    if edge < shape.edge:
        train = config.train.model_copy(update={"crop": edge})
        test = config.test.model_copy(update={"window": edge})
        config = config.model_copy(update={"train": train, "test": test})
    whole: Callable[[], object]
    other: Callable[[], object]
    if shape.kind == "step":
        most, step = len(description.modalities), tasks.TrainingStep(config, description, device)
        batches = [tasks.noise_batch(config, description, count).to(device) for count in (most, 1)]
        whole, other, share = partial(step, batches[0]), partial(step, batches[1]), 1 / most
    else:
        space = tasks.space_of(edge, description)
        whole = tasks.prediction(config, description, space, device)
        other, share = tasks.scoring(config, description, space, device), 0.0

    def once(task: Callable[[], object]) -> float:
        began = tasks.now(device)
        task()
        return tasks.now(device) - began

    first = once(whole)
    _say(shape=number, edge=edge, seconds=(first, share * first), factor=FIRST, peak_bytes=peak(device))
    once(other)
    point = Point(edge, (once(whole), once(other)), SECOND, peak(device))
    _say(shape=number, **vars(point))
    return point


def extrapolated(points: Sequence[Point], shape: Shape, edge: int) -> tuple[float, float]:
    """Return the seconds with all modalities, or of the network, at an edge, and how far off they may be.

    At most the time grows as the voxels do; at least, along the line through the two largest crops, or not at
    all where there is one. What is returned is the geometric mean of both, and their distance to it.
    """
    dims, last = shape.description.spatial_dims, points[-1]
    voxels, seconds = last.edge**dims, last.seconds[0]
    slope = 0.0
    if len(points) > 1:
        slope = max(0.0, (seconds - points[-2].seconds[0]) / (voxels - points[-2].edge ** dims))
    bounds = seconds * edge**dims / voxels, seconds + slope * (edge**dims - voxels)
    return sqrt(prod(bounds)), sqrt(max(bounds) / min(bounds))


def _say(**content: Any) -> None:
    print(json.dumps(content), flush=True)


def _name(shape: Shape) -> str:
    config = shape.config
    what = f"steps of {config.objective.name}" if shape.kind == "step" else "test"
    return f"{config.dataset} {config.backbone.name}, {what}"


if __name__ == "__main__":
    main(time.time())
