"""A guard for tests on torch's `meta` device: ``with NothingWaits(): ...`` raises `Waits` where a host waits.

A tensor on `meta` has no value, so that asking for one is an error by itself; copies are caught here.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Waits(Exception):
    """The host would wait for the device."""


class NothingWaits(TorchDispatchMode):
    """Raises at copies to and from the device that wait, and at indices that lie on the other side."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        kinds = {x.device.type for x in tree_leaves(arguments) if isinstance(x, torch.Tensor) and x.dim()}
        if "index" in str(function) and len(kinds) > 1:
            raise Waits(f"{function} of tensors on {kinds}")
        if function is torch.ops.aten._to_copy.default and not keywords.get("non_blocking"):
            (there,), here = kinds or {"cpu"}, keywords.get("device")
            if here is not None and here.type != there:
                raise Waits(f"a copy from {there} to {here} that waits")
        return function(*arguments, **keywords)
