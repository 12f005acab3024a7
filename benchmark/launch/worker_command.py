"""What a launcher has to start for one run: ``worker_command(job, slot, track=True)``.

A worker is `python -m benchmark.training.run`; it reads and writes the job's run folder and nothing else. It
ends with exit code 0 when the run is done, 1 when it failed, 2 on wrong input (another try would end alike),
75 when another process has it, and 130 when it was told to stop by SIGTERM, after which another try goes on.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmark.launch.devices import Slot
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.folder import RunFolder
from passion_bench import path_variables

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}
"""Let glibc keep freed memory: giving feature maps back to the system was seen to double a step's time."""


@dataclass(frozen=True)
class Job:
    """One run to execute: its folder, its store, how many epochs it has and how many cases it tests.

    `needs`: the folders of the runs that have to be done before. `work`: how long the run is
    compared with the others, in any unit. `cadence`: how often it writes a checkpoint.
    """

    folder: RunFolder
    store: Path
    epochs: int
    test_cases: int
    needs: tuple[RunFolder, ...] = ()
    work: float = 0.0
    cadence: Cadence = AUTOMATIC


def worker_command(job: Job, slot: Slot, track: bool) -> tuple[list[str], dict[str, str]]:
    """Return the command of a job's worker, and the variables to set beside those of the own environment."""
    command = [
        sys.executable,
        "-m",
        "benchmark.training.run",
        str(job.folder.path),
        "--store",
        str(job.store),
    ]
    command += ["--device", slot.device, "--threads", str(slot.threads)] + ([] if track else ["--no-track"])
    command += ["--devices", str(slot.devices)] if slot.devices > 1 else []
    command += ["--resident", f"{slot.resident:.3g}"] if slot.resident else []
    command += job.cadence.arguments()
    return command, {**process_variables(), **slot.environment()}


def process_variables() -> dict[str, str]:
    """Return where a process of ours finds our packages, and those of `MALLOC` that the user has not set."""
    return {**path_variables(), **{name: value for name, value in MALLOC.items() if name not in os.environ}}


def longest_first(jobs: list[Job]) -> list[Job]:
    """Return the jobs by falling `work`, with that of the longest chain of jobs that wait for them added.

    So a long run does not begin last, when the other slots are empty already.
    """
    after: dict[Path, list[Job]] = {}
    for job in jobs:
        for run in job.needs:
            after.setdefault(run.path, []).append(job)

    def chain(job: Job) -> float:
        return job.work + max((chain(later) for later in after.get(job.folder.path, [])), default=0.0)

    return sorted(jobs, key=lambda job: -chain(job))
