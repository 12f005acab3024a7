"""A guard for tests on torch's `meta` device: ``with NothingWaits(): ...`` raises `Waits` where a host waits.

A tensor on `meta` has no value, so that asking for one is an error by itself; copies are caught here.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Waits(Exception):
    """The host would wait for the device."""


def _no_list(tensor, index):
    if tensor.is_meta and any(isinstance(i, list) for i in (index if isinstance(index, tuple) else (index,))):
        raise Waits(f"index {index}, a list, is copied to the device")
    return torch._C.TensorBase.__getitem__(tensor, index)


class NothingWaits(TorchDispatchMode):
    """Raises at copies that wait, and at lists and tensors of the other side as indices."""

    def __enter__(self):
        torch.Tensor.__getitem__ = _no_list
        return super().__enter__()

    def __exit__(self, *reason):
        del torch.Tensor.__getitem__
        return super().__exit__(*reason)

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
