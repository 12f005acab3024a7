"""Several runs at once on one device: how much they do together, and how many of them are worth it.

together(config, BRATS2020, runs=4, setting=setting)         # steps of 4 processes that share the device
runs_per_gpu(configs, descriptions, cores=16)                # `bench run --runs-per-gpu auto`
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from math import ceil, prod
from multiprocessing import get_context
from typing import Any

import torch

from bench_console import messages
from bench_edges import space_of
from benchmark.config.run_config import RunConfig
from benchmark.speed import tasks
from benchmark.speed.tasks import Measurement, TrainingStep, begin, noise_batch, now
from benchmark.training.memory import STUDY, peak
from benchmark.training.train import moved
from datasets.vocabulary import Description

MODALITIES = 2
"""Of the samples of runs that are timed together: about as many as BraTS2020's have under mr2468."""
KEPT_FREE = 0.1
"""Share of the GPU's memory that is left alone."""
CONTEXT_BYTES = 600 * 2**20
"""What a process of torch takes of a GPU's memory beside its tensors."""
MOST = 16
"""Runs on a GPU at most, unless they are asked for by number."""

_start: Any = None


def together(
    config: RunConfig, description: Description, runs: int, setting: Measurement
) -> dict[str, float] | None:
    """Time training steps of `runs` processes at once, each with its share of the threads.

    Returns the `steps_per_second` of all, and the `peak_bytes` of one; None where they do not fit the memory.
    """
    context = get_context("spawn")
    share = replace(setting, threads=max(1, setting.threads // runs))
    barrier = context.Barrier(runs)
    with ProcessPoolExecutor(runs, mp_context=context, initializer=_meet_at, initargs=(barrier,)) as pool:
        each = [pool.submit(_steps, config, description, share) for _ in range(runs)]
        try:
            found = [future.result() for future in each]
        except (torch.OutOfMemoryError, RuntimeError) as error:  # a barrier breaks where one of them failed
            messages().print(f"{runs} at once: {error}", soft_wrap=True)
            return None
    return {
        "steps_per_second": sum(setting.repeats / seconds for seconds, _ in found),
        "peak_bytes": max(peak_bytes for _, peak_bytes in found),
    }


def _meet_at(barrier: Any) -> None:
    global _start
    _start = barrier


def _steps(config: RunConfig, description: Description, setting: Measurement) -> tuple[float, int]:
    """Return the seconds of all counted steps, begun when all processes are ready, and the peak memory."""
    try:
        device = begin(setting)
        run = TrainingStep(config, description, device, setting.resident)
        batch = moved(noise_batch(config, description, min(MODALITIES, len(description.modalities))), device)
        for _ in range(2 if setting.resident else 1):
            run(batch)
        now(device)
    except BaseException:
        _start.abort()
        raise
    _start.wait()
    began = now(device)
    for _ in range(setting.repeats):
        run(batch)
    return now(device) - began, peak(device)


def runs_per_gpu(
    configs: Sequence[RunConfig], descriptions: Mapping[str, Description], cores: int, resident: bool = False
) -> int:
    """Measure how many of these runs to give a GPU at a time: a step of the one that takes the most.

    `descriptions`: of the studies, by dataset. The measurement has a process of its own, so that no memory of
    the GPU stays with the launcher. `resident`: of recorded steps, beside studies that stay on the GPU.
    """

    def size(config: RunConfig) -> int:
        space = space_of(config.train.crop, descriptions[config.dataset].spatial_dims)
        return config.train.batch_size * prod(space)

    largest = max(size(config) for config in configs)
    different = {str((c.backbone, c.objective.name, c.precision)): c for c in configs if size(c) == largest}
    messages().print(f"measuring how many runs share a GPU, on {len(different)} of the largest")
    fitting = []
    for config in different.values():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            setting = Measurement("cuda", cores, 5, resident)
            found = pool.submit(occupancy, config, descriptions[config.dataset], setting).result()
            fitting.append(runs_that_fit(**found, cores=cores, resident=resident))
    messages().print(f"{min(fitting)} runs at a time on each GPU")
    return min(fitting)


def occupancy(config: RunConfig, description: Description, setting: Measurement) -> dict[str, float]:
    """Measure a training step with all modalities: `peak` and `free` memory in bytes, and `busy`.

    That is the share of a step's time in which the GPU works; on a CPU, which has no free time, it is 1.
    """
    device = begin(setting)
    run = TrainingStep(config, description, device, setting.resident)
    batch = moved(noise_batch(config, description, len(description.modalities)), device)
    if setting.resident:
        run(batch)  # and recorded by the next one
    seconds = tasks.repeat(partial(run, batch), setting, device)
    if device.type != "cuda":
        return {"peak": peak(device), "free": 0, "busy": 1.0}
    taken = torch.cuda.max_memory_reserved(device)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run(batch)
        now(device)
    work = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    return {"peak": taken, "free": free, "busy": min(1.0, work / seconds)}


def runs_that_fit(peak: float, free: float, busy: float, cores: int, resident: bool = False) -> int:
    """Return how many runs share a GPU well: as many as its memory holds and keep it busy, one at least.

    Args:
        peak: bytes that the tensors of a run take.
        free: bytes of the GPU that nobody has.
        busy: share of the time in which one run alone lets the GPU work.
        cores: of the CPU; each run needs one.
        resident: whether the runs' studies take their part of the memory.
    """
    held = int((1 - KEPT_FREE - STUDY * resident) * free / (peak + CONTEXT_BYTES))
    # Work of several processes is done in turn: what one leaves idle is all that others can have.
    wanted = ceil(1 / max(busy, 1 / MOST))
    return max(1, min(held, wanted, cores, MOST))
