"""What SLURM has in hand of a grid or study: ``waiting = queued("demo")``; and which job a run went to.

Only `squeue` is asked, which needs no accounting: a job that it does not list is over, one way or another.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from bench_errors import InputError
from benchmark.run_folder.files import write_atomically

WHERE = "use a machine from which jobs can be submitted to the SLURM cluster"
JOB = "slurm.json"
"""In a run folder: the id of the job that it was last submitted as."""
JOBS = "slurm"
"""In a grid's folder: a folder with what its jobs print, and what submitit keeps of them."""
_SECONDS = 60.0


def job_name(grid: str) -> str:
    """Return the name that all jobs of a grid or study have in the queue."""
    return "bench-" + re.sub(r"[^\w.-]", "_", grid)


def queued(grid: str) -> dict[str, str]:
    """Return the jobs of a grid that are not over: id such as `17_3` -> `running`, `pending (Priority)`.

    Raises `InputError` where there is no `squeue`, or the cluster does not answer.
    """
    name = job_name(grid)
    command = ["squeue", "--noheader", "--array", f"--name={name}", "--format=%i|%T|%r"]
    jobs = {}
    for line in ask(command).splitlines():
        identity, state, reason = line.split("|", 2)
        jobs[identity] = state.lower() + (f" ({reason})" if reason != "None" else "")
    return jobs


def ask(command: list[str]) -> str:
    """Return what a program of SLURM prints; raise `InputError` where it is missing or fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except FileNotFoundError:
        raise InputError(f"no program {command[0]} here: {WHERE}") from None
    except subprocess.TimeoutExpired:
        raise InputError(f"the SLURM cluster did not answer {command[0]} in {_SECONDS:.0f} s") from None
    if result.returncode:
        raise InputError(f"the SLURM cluster does not answer: {' '.join(result.stderr.split())}")
    return result.stdout


def cancel(jobs: Iterable[str], *options: str) -> None:
    """Have `scancel` do what its options say to those of the jobs that are not over; by default, end them."""
    if jobs := list(jobs):
        subprocess.run(["scancel", "--quiet", *options, *jobs], capture_output=True, check=False)


def note_job(folder: Path, identity: str) -> None:
    """Write into a run folder which job it was submitted as."""
    content = {"job": identity, "submitted": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_atomically(folder / JOB, json.dumps(content).encode())


def job_of(folder: Path) -> str:
    """Return the id of the job that a run folder was last submitted as, or the empty string."""
    path = folder / JOB
    return str(json.loads(path.read_text())["job"]) if path.exists() else ""
