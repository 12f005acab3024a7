"""Every random draw is a function of what it is for: ``generator(seed, "crop", epoch, case)``.

Never of the number of workers, their order, or restarts, so a resumed run sees the same samples.
"""

from zlib import crc32

import numpy as np


def generator(seed: int, purpose: str, epoch: int = 0, case: str = "") -> np.random.Generator:
    """Return a fresh generator for one draw site; equal arguments give equal draws on every machine."""
    return np.random.Generator(np.random.PCG64([seed, crc32(purpose.encode()), epoch, crc32(case.encode())]))


def torch_seed(seed: int, purpose: str, epoch: int = 0, case: str = "") -> int:
    """Return a 63-bit seed for a torch generator, from the same keys."""
    return int(generator(seed, purpose, epoch, case).integers(0, 2**63 - 1))
