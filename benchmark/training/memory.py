"""Memory of a device: ``peak(device)`` was taken, ``room(device, 0.3)`` may be."""

import resource
import sys

import torch

STUDY = 0.3
"""Share of a GPU's memory that may be taken by the studies of its runs, where they stay there."""


def peak(device: torch.device) -> int:
    """Bytes at the peak so far: of the GPU's allocator, or the resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def room(device: torch.device, share: float) -> int:
    """Return how many bytes a share of a GPU's memory is; 0 on a CPU, where the disk's cache has it."""
    return int(share * torch.cuda.mem_get_info(device)[1]) if device.type == "cuda" else 0
