"""Why a run stopped, in one line: ``error_reason(error)`` in a worker, ``exit_reason(code, ...)`` outside.

Memory or a disk that ran out is named as such, because the remedy (a smaller batch, fewer runs at a time, or
more space) is known.
"""

import errno
import signal
from pathlib import Path

from bench_errors import InputError

OUT_OF_MEMORY = "out of memory"
DISK_FULL = "disk full"
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


class Pruned(Exception):
    """A trial that was given up, as what it has learnt so far is not worth going on."""


def error_reason(error: Exception) -> str:
    """Return the line for an exception: its text for wrong input, else with its type before it."""
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return text
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{DISK_FULL}: {text}: free space and run the grid again, it goes on from the last checkpoint"
    if _is_out_of_memory(error):
        return f"{OUT_OF_MEMORY}: {text or type(error).__name__}"
    return f"{type(error).__name__}: {text}"


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own, CUDA's (a RuntimeError of that name), or what torch says when the CPU's is at its end."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(
        said in str(error) for said in ("out of memory", "can't allocate memory", "not enough memory")
    )


def exit_reason(code: int, output: Path, killed_before: int) -> str:
    """Return the line for a worker that ended with `code` and could not write its own reason.

    Args:
        code: its exit code; negative: the signal that killed it.
        output: the file with what it printed.
        killed_before: `memory_kills()` when it was started.
    """
    if code >= 0:
        return f"the worker ended with exit code {code}: see {output}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have numbers only
        name = f"signal {-code}"
    if code == -signal.SIGKILL and memory_kills() > killed_before:
        return f"{OUT_OF_MEMORY}: the system killed the worker by {name}"
    return f"the worker was killed by {name}"


def memory_kills() -> int:
    """How many processes this system has killed for want of memory; 0 where it does not count them."""
    kills = 0
    for path in _COUNTERS:
        lines = path.read_text().splitlines() if path.exists() else []
        kills += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return kills
