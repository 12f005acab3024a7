"""Where a run computes: ``device = prepare_device(chosen_device("auto"), threads=4)``."""

from typing import TYPE_CHECKING

from bench_errors import InputError

if TYPE_CHECKING:
    import torch


def chosen_device(name: str) -> str:
    """Return cpu or cuda for `auto`, `cpu` or `cuda`; `InputError` where CUDA is asked for and not there."""
    if name == "cpu":
        return name
    if name not in ("auto", "cuda"):
        raise InputError(f"unknown device '{name}': choose auto, cpu or cuda")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise InputError("device cuda was asked for, but torch finds no CUDA device: use --device cpu")
    return "cpu"


def available_cores() -> int:
    """How many processors this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_device(name: str, threads: int, rank: int = 0) -> "torch.device":
    """Prepare this process to compute; on GPUs each process of a run has the one of its rank."""
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # a step with denormal numbers was seen to take 15 times as long
    if name != "cuda":
        return torch.device(name)
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def device_text(device: object) -> str:
    """Return the name of the GPU, or `cpu`."""
    import torch

    return torch.cuda.get_device_name() if str(device).startswith("cuda") else "cpu"
