"""Where runs may go on this machine: a slot is one place for one run at a time.

    make_slots("cpu", cores=16, jobs=100, workers=4)                          # 4 slots of 4 threads
    make_slots("cuda", cores=16, jobs=100, visible=["0", "1"], gpus="0,1", runs_per_gpu=2)

Nothing here asks the hardware, apart from `visible_gpus`.
"""

import os
from dataclasses import dataclass

from bench_errors import InputError
from benchmark.training.device import available_cores, chosen_device


@dataclass(frozen=True)
class Slot:
    """A place for one run: its device, how many threads it has, and the GPU, if it has one of its own.

    `gpu` is as in CUDA_VISIBLE_DEVICES; None leaves that variable as it is. With several `devices` the run
    has a process on each, with so many threads each, and `gpu` names them all. `resident`: see `Execution`.
    """

    device: str
    threads: int
    gpu: str | None = None
    devices: int = 1
    resident: float = 0.0

    def environment(self) -> dict[str, str]:
        """Return the variables that keep a worker in its slot."""
        variables = {"OMP_NUM_THREADS": str(self.threads)}
        return variables if self.gpu is None else {**variables, "CUDA_VISIBLE_DEVICES": self.gpu}


def make_slots(
    device: str,
    cores: int,
    jobs: int,
    workers: int | None = None,
    gpus: str | None = None,
    runs_per_gpu: int | None = None,
    visible: list[str] | None = None,
    devices: int = 1,
) -> list[Slot]:
    """Return the slots in the order in which they are filled: every GPU gets a run before one gets two.

    Args:
        device: `cpu` or `cuda`.
        cores: how many there are; they are shared out evenly.
        jobs: how many runs there are to do.
        workers: runs at a time on a CPU; None: one a core, but no more than `jobs`.
        gpus: numbers among the visible GPUs, such as `0,1`; None: all of them.
        runs_per_gpu: runs at a time on each GPU; None: one.
        visible: the GPUs, as in CUDA_VISIBLE_DEVICES.
        devices: of each run: GPUs, or processes on a CPU.

    Raises `InputError` for an option without effect on the device, and for GPUs that are not there.
    """
    if device == "cpu":
        for option, value in (("--gpus", gpus), ("--runs-per-gpu", runs_per_gpu)):
            if value is not None:
                raise InputError(f"{option} {value} has no effect on a CPU: use --workers, or --device cuda")
        count = workers or max(1, min(jobs, cores // devices))
        return [Slot("cpu", max(1, cores // (count * devices)), devices=devices)] * count
    if workers is not None:
        raise InputError(f"--workers {workers} counts runs on a CPU: use --runs-per-gpu on GPUs")
    chosen = _chosen(gpus, visible or [])
    if devices > 1 and runs_per_gpu:
        raise InputError(
            f"--devices {devices} gives a run whole GPUs: leave out --runs-per-gpu {runs_per_gpu}"
        )
    if len(chosen) % devices:
        raise InputError(
            f"--devices {devices}: {len(chosen)} GPUs cannot be shared out so: choose a multiple with --gpus"
        )
    groups = [",".join(chosen[i : i + devices]) for i in range(0, len(chosen), devices)] * (runs_per_gpu or 1)
    threads = max(1, cores // (len(groups) * devices))
    return [Slot("cuda", threads, group, devices) for group in groups]


def _chosen(gpus: str | None, visible: list[str]) -> list[str]:
    if gpus is None:
        return visible
    numbers = [number.strip() for number in gpus.split(",")]
    if not all(n.isascii() and n.isdigit() for n in numbers):
        raise InputError(f"--gpus {gpus}: expected numbers with commas between, such as 0,1")
    positions = [int(n) for n in numbers]
    if len(set(positions)) < len(positions):
        raise InputError(f"--gpus {gpus} names a GPU twice: use --runs-per-gpu for several runs on each")
    if max(positions) >= len(visible):
        there = ", ".join(str(n) for n in range(len(visible)))
        raise InputError(f"--gpus {gpus}: there is no GPU {max(positions)}, choose among {there}")
    return [visible[position] for position in positions]


def available_slots(
    device: str,
    jobs: int,
    workers: int | None,
    gpus: str | None,
    runs_per_gpu: int | None,
    devices: int = 1,
) -> list[Slot]:
    """Return the places for runs on this machine: `make_slots` of the cores and GPUs that there are."""
    on_gpus = gpus is not None or runs_per_gpu is not None
    device = chosen_device("cuda" if on_gpus and device == "auto" else device)
    visible = visible_gpus() if device == "cuda" else []
    return make_slots(device, available_cores(), jobs, workers, gpus, runs_per_gpu, visible, devices)


def visible_gpus() -> list[str]:
    """Return the GPUs that torch finds, as they are called in CUDA_VISIBLE_DEVICES."""
    import torch

    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(n) for n in range(count)] if listed is None else listed.split(",")
    return [name.strip() for name in names[:count]]
