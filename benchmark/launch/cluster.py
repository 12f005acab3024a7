"""What a job asks of a SLURM cluster.

    cluster = chosen_cluster("slurm", {"partition": "gpu"}, parallel=8, no_wait=False, local={})

The names are those of sbatch's long options, and sbatch itself says what is wrong with their values; only the
time and the number of cores mean something to us too.
"""

import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench_errors import InputError
from benchmark.launch.devices import Slot
from benchmark.launch.slurm_queue import WHERE, ask, job_name
from passion_bench import path_variables

if TYPE_CHECKING:
    from submitit import SlurmExecutor

TIME, CORES = "24:00:00", "4"
"""What a job gets where `time` and `cpus-per-task` are not given."""
WARNING_SECONDS = 180
"""How long before its time is over a job is told to save: longer than workers have to stop."""
NO_LIMIT = 1_000_000
"""Where submitit would limit time-outs to three and tasks at a time to 256."""
_OURS = ("array", "dependency", "error", "job-name", "nodes", "ntasks", "open-mode", "output", "signal")
_GPUS = ("gpus", "gpus-per-node", "gpus-per-task")


@dataclass(frozen=True)
class Cluster:
    """The options of sbatch, those with a default included, and how many jobs may run at a time.

    `parallel`: None for as many as the cluster lets. `wait`: whether the submitting command waits for them.
    """

    options: Mapping[str, str]
    parallel: int | None = None
    wait: bool = True

    @classmethod
    def of(cls, options: Mapping[str, str], parallel: int | None = None, wait: bool = True) -> "Cluster":
        """Return a cluster from what the user gave; raise `InputError` for what cannot be asked for."""
        for name, value in options.items():
            if name in _OURS:
                raise InputError(f"--slurm {name}={value}: bench sets {name} itself, leave it out")
        cluster = cls({"time": TIME, "cpus-per-task": CORES, **options}, parallel, wait)
        minutes(cluster.options["time"])
        if not re.fullmatch("[1-9][0-9]*", cluster.options["cpus-per-task"]):
            raise InputError(f"--slurm cpus-per-task={options['cpus-per-task']}: expected a number from 1")
        return cluster

    def slot(self, device: str, devices: int = 1) -> Slot:
        """Return what a job has: its cores as threads, and for `device` auto CUDA if it asks for GPUs.

        `devices`: processes of a run, which share the cores, each on a GPU of its own. Raises `InputError`
        where the job asks for another number of GPUs.
        """
        gpus = any(name in self.options for name in _GPUS) or "gpu" in self.options.get("gres", "")
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(f"unknown device '{device}': choose auto, cpu or cuda")
        if device == "cuda" and not gpus:
            raise InputError("device cuda was asked for, but no GPU of the cluster: add --slurm gres=gpu:1")
        on = "cuda" if gpus and device == "auto" else device.replace("auto", "cpu")
        for name in ("gres", *_GPUS) if on == "cuda" and devices > 1 else ():
            given = self.options.get(name, "")
            asked = gpus_in(given if name == "gres" else f"gpu:{given}") if given else 0
            if asked not in (0, devices):
                raise InputError(
                    f"--devices {devices}: found --slurm {name}={given}, expected {devices} GPUs"
                )
        threads = max(1, int(self.options["cpus-per-task"]) // devices)
        return Slot(on, threads, devices=devices)

    def executor(self, folder: Path, grid: str) -> "SlurmExecutor":
        """Return submitit's executor of these jobs; its files are to lie in `folder`."""
        from submitit import SlurmExecutor

        options = dict(self.options)
        time = minutes(options["time"])
        cores = options.pop("cpus-per-task")
        executor = SlurmExecutor(folder, max_num_timeout=NO_LIMIT)
        executor.update_parameters(
            job_name=job_name(grid),
            time=time,
            cpus_per_task=int(cores),
            array_parallelism=self.parallel or NO_LIMIT,
            signal_delay_s=min(WARNING_SECONDS, 30 * time),
            stderr_to_stdout=True,
            setup=[f"export {name}={shlex.quote(value)}" for name, value in path_variables().items()],
            srun_args=[f"--cpus-per-task={cores}"],  # from 22.05 on, SLURM does not hand the job's on
            additional_parameters={"requeue": True, **options},
        )
        return executor


def gpus_in(gres: str) -> int:
    """Return how many GPUs ``gpu:a100:2(S:0-1),scratch:1`` asks for; a kind without a number is one."""
    entries = [entry.partition("(")[0].split(":") for entry in gres.split(",")]
    return sum(int(words[-1]) if words[-1].isdigit() else 1 for words in entries if words[0] == "gpu")


def chosen_cluster(
    launcher: str,
    options: Mapping[str, str],
    parallel: int | None,
    no_wait: bool,
    local: Mapping[str, object],
) -> Cluster | None:
    """Return the cluster that the user's options ask for; None for the local launcher.

    Args:
        launcher: `local` or `slurm`.
        options: what was given as `--slurm NAME=VALUE`.
        parallel: of `--parallel`.
        no_wait: whether `--no-wait` was given.
        local: the options of the local launcher by name, None for those that were not given.

    Raises `InputError` for an option without effect, and where there is nothing to submit with.
    """
    remote = {"--slurm": options or None, "--parallel": parallel, "--no-wait": no_wait or None}
    idle = remote if launcher == "local" else local
    for option, value in idle.items():
        if value is not None:
            other = "slurm" if launcher == "local" else "local"
            raise InputError(f"{option} has no effect with --launcher {launcher}: use --launcher {other}")
    if launcher == "local":
        return None
    cluster = Cluster.of(options, parallel, not no_wait)
    if find_spec("submitit") is None:
        raise InputError("--launcher slurm needs the package submitit: pip install 'passion-bench[slurm]'")
    for program in ("sbatch", "srun", "squeue"):
        if not shutil.which(program):
            raise InputError(f"no program {program} here: {WHERE}")
    return cluster


def minutes(text: str) -> int:
    """Read SLURM's `minutes[:seconds]`, `hours:minutes:seconds` or `days-hours[:minutes[:seconds]]`."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found:
        days, first, second, third = (int(part) if part else 0 for part in found.groups())
        if found[1] or found[4]:
            seconds = 86400 * days + 3600 * first + 60 * second + third
        else:
            seconds = 60 * first + second
        if seconds:
            return -(-seconds // 60)
    raise InputError(
        f"--slurm time={text}: expected how long a job may take, as 90 (minutes), 8:00:00 or 1-12:00:00"
    )


def largest_array() -> int:
    """Return how many tasks the cluster takes in one array."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask(["scontrol", "show", "config"]))
    return int(found[1]) if found else 1001
