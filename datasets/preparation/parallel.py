"""Cases side by side: ``results = in_parallel(check, cases, workers=4, progress=bar)``.

Threads, because what a case costs (inflating, array arithmetic, hashing) runs outside the interpreter's lock.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from bench_errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int], object]
"""Called as ``progress(done, total)`` after each item."""


def in_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Return ``[function(item) for item in items]``, in the order of `items`.

    The first exception (an interrupt too) cancels what has not begun and is raised. `workers`: how many at
    a time, by default one a core that this process may use; fewer than one raises `InputError`.
    """
    workers = workers if workers is not None else _cores()
    if workers < 1:
        raise InputError(f"found {workers} workers: give at least 1")
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress:
                    progress(done, len(futures))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _cores() -> int:
    """How many this process may use: in a job of a cluster fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
