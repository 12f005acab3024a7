"""A network that takes channels as a backbone: absent modalities are channels of zeros.

    net = EarlyFusion(network, modalities=4, classes=4, spatial_dims=3, presence_code=True)

`network` maps [N, M, *space] to logits [N, classes, *space], or to several such maps, the main one first
(deep supervision). Nothing is computed per modality: `encode` keeps the volumes, `fuse` runs the network once
for each subset, and there is no auxiliary decoder (`has_unimodal` is False).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from backbones.contract import Backbone, Features, Fused


class EarlyFusion(Backbone):
    """Early fusion by zero-filled channels.

    `decoder_features` are the input of `head`, the network's last convolution; without one, the logits.

    Args:
        network: see the module; in 2-D it takes [N, M, H, W], without the third axis.
        modalities: number of modalities M.
        classes: number of classes, background included.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].
        head: a module of `network` that sees features at full size and whose output are the logits.
        sides_in_training: the network gives its side outputs only where its own flag `training` is set. The
            flag is kept set then, that of its parts (dropout, norms) is not, so that both modes have them.
        presence_code: learn a code of 2 M numbers for each modality; the sum over the present ones scales and
            shifts the channels (as FiLM does: Perez et al., AAAI 2018). Codes start at 0, which is without.
    """

    has_unimodal = False

    def __init__(
        self,
        network: nn.Module,
        modalities: int,
        classes: int,
        spatial_dims: int = 3,
        head: nn.Module | None = None,
        sides_in_training: bool = False,
        presence_code: bool = False,
    ):
        super().__init__(modalities, classes, spatial_dims)
        self.network = network
        self.sides_in_training = sides_in_training
        self.codes = nn.Parameter(torch.zeros(modalities, 2, modalities)) if presence_code else None
        self._head = [] if head is None else [head]  # in a list: it is a part of `network` already

    def train(self, mode: bool = True) -> Self:
        """Set the mode; see `sides_in_training`."""
        super().train(mode)
        if self.sides_in_training:
            self.network.training = True
        return self

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Keep the volumes [B, M, *space] of what is available as one level [B, M, 1, *space]."""
        return Features([shown(volumes, available).unsqueeze(2)], available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Run the network on K subsets: see the contract."""
        x = self._channels(rows_of(features.levels[0].squeeze(2), present, case), present)
        with calls_of(self._head) as calls:
            out = self.network(x.squeeze(-1) if self.spatial_dims == 2 else x)
        maps = maps_of(out, self.spatial_dims)
        maps.append(calls[-1][1] if calls else maps[0])
        main, *sides, last = [m.unsqueeze(-1) for m in maps] if self.spatial_dims == 2 else maps
        return Fused(main, sides, last)

    def _channels(self, volumes: Tensor, present: Tensor) -> Tensor:
        """[K, M, *space] with zeros where absent, under the code of what is present."""
        ones = (1,) * (volumes.dim() - 2)
        weights = present.to(volumes.dtype)
        x = volumes * weights.unflatten(1, (-1, *ones))
        if self.codes is None:
            return x
        scale, shift = torch.einsum("km,mcn->ckn", weights, self.codes).unflatten(2, (-1, *ones)).unbind(0)
        return x * (1 + scale) + shift


def shown(volumes: Tensor, available: Tensor) -> Tensor:
    """Return the volumes [B, M, *space] with zeros for what is not available, whatever its channel holds."""
    return torch.where(available[(...,) + (None,) * (volumes.dim() - 2)], volumes, 0)


def rows_of(volumes: Tensor, present: Tensor, case: Tensor | None) -> Tensor:
    """Return the volumes [K, ...] of each of K subsets, from those [B, ...] of the batch; see `fuse`."""
    if case is not None:
        return volumes.index_select(0, case)
    if len(volumes) != len(present):
        raise ValueError(f"{len(present)} subsets for {len(volumes)} cases: give the case of each subset")
    return volumes


def maps_of(out: Tensor | Sequence[Tensor], spatial_dims: int) -> list[Tensor]:
    """Return what a network gives as a list of maps [N, C, *space].

    `out` is one map, several, or several of one size as a tensor [N, number, C, *space].
    """
    if isinstance(out, Tensor):
        return list(out.unbind(1)) if out.dim() == spatial_dims + 3 else [out]
    return list(out)


@contextmanager
def calls_of(modules: Sequence[nn.Module]) -> Iterator[list[tuple[nn.Module, Tensor, Tensor]]]:
    """Collect (module, input, output) of each call of `modules` while the context lasts."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    hooks = [m.register_forward_hook(lambda m, args, out: calls.append((m, args[0], out))) for m in modules]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()
