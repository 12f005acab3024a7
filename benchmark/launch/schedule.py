"""When a grid would be done: ``wall_time(jobs, slots=8)``, by playing through what the launcher does."""

import heapq
from collections.abc import Sequence
from pathlib import Path

from benchmark.launch.worker_command import Job, longest_first


def wall_time(jobs: Sequence[Job], slots: int) -> float:
    """Return how long `jobs` take in so many slots, in the unit of their `work`.

    The longest first, whenever a slot is free; a job waits for those that it needs.
    """
    waiting, running, now = longest_first(list(jobs)), list[tuple[float, int, Job]](), 0.0
    undone = {job.folder.path for job in jobs}
    started = 0
    while waiting or running:
        while len(running) < slots and (job := _next(waiting, undone)):
            waiting.remove(job)
            heapq.heappush(running, (now + job.work, started, job))
            started += 1
        now, _, job = heapq.heappop(running)
        undone.discard(job.folder.path)
    return now


def _next(waiting: list[Job], undone: set[Path]) -> Job | None:
    return next((job for job in waiting if undone.isdisjoint(run.path for run in job.needs)), None)
