"""Peak memory: ``peak(device)``."""

import resource
import sys

import torch


def peak(device: torch.device) -> int:
    """Bytes at the peak so far: of the GPU's allocator, or the resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
