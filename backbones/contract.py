"""What a network must offer to be trained and tested here: encode, fuse, unimodal.

    features = net.encode(volumes, available)       # every modality from itself alone
    fused = net.fuse(features, present, case)       # any subsets of what was encoded, batched
    logits = net.unimodal(features)                 # the shared decoder on each modality alone
    logits = net(volumes, present)                  # encode, then fuse

Testing 15 subsets encodes once; a training step encodes only what is there, and the teacher and its
students are one batched `fuse`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from backbones import noise
from backbones.heads import Heads
from backbones.host import host, on_device
from bench_errors import InputError
from bench_options import MethodOptions

Stage = Literal["pretraining", "finetuning"]


@dataclass
class Features:
    """What `encode` made of a batch.

    Attributes:
        levels: finest first, each [B, M, C_l, *space_l]; zeros where a modality is absent.
        available: bool [B, M], which of them were encoded.
        extra: further tensors [B, M, ...] a backbone keeps for its `fuse` (tokens, say).
    """

    levels: list[Tensor]
    available: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Fused:
    """What `fuse` made of K subsets.

    Attributes:
        logits: [K, channels, *space]; see `Heads` for channels, which most often are the classes.
        side_logits: deep-supervision outputs, finest first, each [K, channels, *space_l] at its own scale;
            empty where the network has none.
        decoder_features: the finest decoder features [K, C, *space], which prototypes are made of.
        extra: further tensors [K, ...] a backbone keeps for its `auxiliary` (latents, say).
    """

    logits: Tensor
    side_logits: list[Tensor]
    decoder_features: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)

    @property
    def outputs(self) -> list[Tensor]:
        """The logits, then the side logits from the finest."""
        return [self.logits, *self.side_logits]

    def select(self, rows: Tensor) -> "Fused":
        """Return the outputs of some `rows`, int64 [R]."""
        where = on_device(rows, self.logits.device)
        return Fused(
            self.logits.index_select(0, where),
            [side.index_select(0, where) for side in self.side_logits],
            self.decoder_features.index_select(0, where),
            {name: tensor.index_select(0, where) for name, tensor in self.extra.items()},
        )


class Auxiliary(NamedTuple):
    """A loss that a network trains beside its segmentation, summed over the cases, and its weight."""

    loss: Tensor
    weight: float


class Backbone(nn.Module, ABC):
    """A segmentation network for any subset of `modalities` input channels.

    Attributes:
        modalities: number of modalities M.
        classes: number of classes, background included.
        heads: what the channels of all logits are: the classes, or the regions that a network was built for.
        spatial_dims: 3, or 2 for studies treated slice by slice.
        has_unimodal: whether there is an auxiliary decoder. Without one `unimodal` raises, and objectives
            leave out what they make of it: `sep`, or a warm-up.
        Options: what a user may choose. A network with options declares a class of its own by this name, and
            takes an instance as `options`.
        capturable: whether its passes may be recorded for all batches that show the same subsets and then
            replayed: it looks at no value of a tensor, and draws from torch's own generator alone.
        compiled: names of parts that `torch.compile` takes where a training asks for it: their `forward` goes
            by the shapes of tensors alone.
        rates: learning rates of parameters, by name, over that of all others.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    capturable: ClassVar[bool] = False
    compiled: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[dict[str, float]] = {}
    has_unimodal: bool = True

    def __init__(
        self,
        modalities: int,
        classes: int,
        spatial_dims: int = 3,
        regions: tuple[tuple[int, ...], ...] = (),
    ):
        super().__init__()
        self.heads = Heads(classes, regions)
        self.modalities = modalities
        self.classes = classes
        self.spatial_dims = spatial_dims

    @abstractmethod
    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality by itself.

        Args:
            volumes: float [B, M, *space]; channels of absent modalities are ignored, whatever they hold.
            available: bool [B, M].
        """

    def encode_at(self, volumes: Tensor, available: Tensor, corners: Tensor | None) -> Features:
        """Encode crops whose position in their cases is known: what objectives and tests call.

        A network that makes use of the position overrides this; to any other it makes no difference.

        Args:
            volumes: as in `encode`.
            available: as in `encode`.
            corners: int64 [B, 2, 3], the voxels of the stored case at the crop's first and last voxel: along
                an axis that was flipped, the first lies behind the last; padding lies beyond the case. None:
                nobody knows.
        """
        return self.encode(volumes, available)

    @abstractmethod
    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets of what was encoded.

        Args:
            features: from `encode`, of a batch of B.
            present: bool [K, M], within what is available of the case.
            case: int64 [K], the batch item each row takes its features from; None: row k is item k (K = B).
        """

    def unimodal(self, features: Features) -> Tensor:
        """Decode each available modality alone with the shared auxiliary decoder.

        Returns logits [B, M, channels, *space]; zeros where a modality is absent. Only asked for where
        `has_unimodal`, where every network overrides it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no auxiliary decoder: ask has_unimodal first")

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        """Return what the network trains beside its segmentation, by name: always the same names.

        A KL of latents, say, the reconstruction of images, the classification of a domain. Every objective
        adds them to its own losses, but for a warm-up without fused outputs.

        Args:
            features: from `encode`.
            fused: from `fuse`, row b of batch item b with the subset `batch.present[b]`.
            batch: `volumes` [B, M, *space], `present` bool [B, M], `target` int [B, *space], `cases`; see
                `passion.objective.Batch`. Channels of absent modalities may hold anything, NaN too.
        """
        return {}

    def rebuild(
        self, volumes: Tensor, visible: Tensor, available: Tensor, corners: Tensor | None
    ) -> dict[str, Auxiliary]:
        """Rebuild volumes of which only parts are visible: the losses of a masked autoencoder, by name.

        Args:
            volumes: float [B, M, *space].
            visible: bool [B, M, *space], the voxels that the network may see; none of absent modalities.
            available: bool [B, M], what is to be rebuilt.
            corners: as in `encode_at`.
        """
        raise NotImplementedError(f"{type(self).__name__} rebuilds no volumes")

    def begin(self, stage: Stage) -> None:
        """Let those parameters learn that do in a stage; without a call all learn that a segmentation moves.

        Args:
            stage: `pretraining` where the network is trained by `rebuild`, `finetuning` where it starts from
                weights that were.

        Raises `InputError` for the pre-training of a network that rebuilds nothing.
        """
        if stage == "pretraining" and type(self).rebuild is Backbone.rebuild:
            raise InputError(
                f"{type(self).__name__} rebuilds no volumes, which is what its objective trains: choose "
                "backbone m3ae, or another objective"
            )

    def forward(self, volumes: Tensor, present: Tensor) -> Tensor:
        """Return the fused logits [B, channels, *space] of `volumes` [B, M, *space] for `present` [B, M]."""
        return self.fuse(self.encode(volumes, present), present).logits


def has_dropout(net: nn.Module) -> bool:
    """Whether `net` drops out in its present mode, so that two equal rows of one `fuse` differ."""
    return any(isinstance(part, _DropoutNd) and part.training and part.p > 0 for part in net.modules())


def case_of_rows(features: Features, present: Tensor, case: Tensor | None) -> Tensor:
    """Return the batch item of each of K subsets, int64 [K]: `case`, or row k is item k; see `fuse`."""
    if case is None:
        case = on_device(range(len(features.available)), present.device)
    if len(case) != len(present):
        raise ValueError(f"{len(present)} subsets for {len(case)} cases: give the case of each subset")
    return case


def encode_packed(encoders: nn.ModuleList, volumes: Tensor, available: Tensor) -> list[Tensor]:
    """Run encoder m on the batch items that have modality m, and on nothing else.

    Args:
        encoders: M modules, each from [N, 1, *space] to a list of feature maps [N, C_l, *space_l]; what they
            draw from `noise` belongs to the case and the modality.
        volumes: [B, M, *space].
        available: bool [B, M], at least one True.

    Returns the levels, each [B, M, C_l, *space_l], zeros where absent.
    """
    batch, modalities = available.shape
    known = host(available)
    levels: list[Tensor] | None = None
    columns: list[list[Tensor] | None] = []
    for m in range(modalities):
        rows = known[:, m].nonzero().squeeze(1)
        if len(rows) == 0:
            columns.append(None)
            continue
        items = on_device(rows, volumes.device)
        with noise.rows(rows, [f"modality {m}"] * len(rows)):
            maps = encoders[m](volumes.index_select(0, items)[:, m : m + 1])
        if len(items) < batch:
            maps = [f.new_zeros((batch, *f.shape[1:])).index_copy(0, items, f) for f in maps]
        columns.append(maps)
        levels = maps
    if levels is None:
        raise ValueError("no modality is available in the whole batch: every case needs at least one")
    empty = [torch.zeros_like(f) for f in levels]
    return [
        torch.stack([empty[i] if c is None else c[i] for c in columns], dim=1) for i in range(len(levels))
    ]


def packed(maps: Tensor, available: Tensor) -> Tensor:
    """Return the available (item, modality) pairs of maps [B, M, ...]: [N, ...], not copied where all are."""
    flat, pairs = maps.flatten(0, 1), pairs_of(available)
    # `maps[available]` has a backward pass that is several times slower.
    return flat if len(pairs) == len(flat) else flat.index_select(0, on_device(pairs, maps.device))


def unpacked(maps: Tensor, available: Tensor) -> Tensor:
    """Undo `packed`: return maps [B, M, ...] with zeros where nothing is available."""
    if len(maps) < available.numel():
        whole = maps.new_zeros((available.numel(), *maps.shape[1:]))
        maps = whole.index_copy(0, on_device(pairs_of(available), maps.device), maps)
    return maps.unflatten(0, available.shape)


def pairs_of(available: Tensor) -> Tensor:
    """Return the places of the True ones in `available` bool [B, M], flattened: int64 [N] on the CPU."""
    return host(available).flatten().nonzero().squeeze(1)
