"""Kernels of our own, in Triton, for what fills a GPU's time: ``PASSION_BENCH_KERNELS=1 bench run ...``.

    if kernels.wanted(x):
        y = chain(x, links, before=False)           # backbones.kernels.chain

Off by default, for nobody has measured them on a card yet. Each has a twin in plain torch (`twin`), which
gives the same numbers, and is tested in Triton's interpreter, which needs no GPU. What they compute differs
from torch's own by rounding alone, as one device's results do from another's. To remove them, remove this
folder and the one call of `wanted` in `backbones.blocks`.
"""

import os
from importlib.util import find_spec

from torch import Tensor

from bench_errors import InputError

SWITCH = "PASSION_BENCH_KERNELS"


def on() -> bool:
    """Return whether the kernels are switched on; raise `InputError` where they cannot be."""
    asked = os.environ.get(SWITCH, "")
    if asked not in ("", "0", "1"):
        raise InputError(f"{SWITCH} is {asked!r}: set it to 1 for Triton's kernels, to 0 for torch's own")
    if asked != "1":
        return False
    if find_spec("triton") is None:
        raise InputError(
            f"{SWITCH} is 1, but triton is not installed: pip install 'passion-bench[kernels]', "
            "or leave it out"
        )
    return True


def wanted(x: Tensor) -> bool:
    """Return whether x is to go through the kernels: on CUDA, or on a CPU in Triton's interpreter."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return (x.device.type == "cuda" or (x.device.type == "cpu" and interpreted)) and on()
