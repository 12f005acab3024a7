"""Networks of a few weights that keep the contract, and batches for them, to test the objectives with."""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import passion
from backbones import noise
from backbones.contract import Auxiliary, Backbone, Features, Fused, encode_packed
from backbones.heads import Heads
from passion.objective import Objective
from passion.options import ObjectiveOptions


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 3, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [torch.tanh(self.conv(x))]


class TinyBackbone(Backbone):
    """Mean of the present modalities' features, one hidden layer, side outputs at scales 1 and 2.

    `fused_rows` collects the number of rows of each call of `fuse`. `dropout` is the rate on its features.
    """

    def __init__(self, modalities: int = 4, classes: int = 4, dropout: float = 0.0):
        super().__init__(modalities, classes)
        torch.manual_seed(0)
        self.encoders = nn.ModuleList(_Encoder() for _ in range(modalities))
        self.hidden = nn.Conv3d(3, 5, 1)
        self.head = nn.Conv3d(5, classes, 1)
        self.sides = nn.ModuleList(nn.Conv3d(5, classes, 1) for _ in range(2))
        self.unimodal_head = nn.Conv3d(3, classes, 1)
        self.dropout = nn.Dropout(dropout)
        self.fused_rows: list[int] = []

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        return Features(encode_packed(self.encoders, volumes, available), available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        self.fused_rows.append(len(present))
        level = features.levels[0] if case is None else features.levels[0].index_select(0, case)
        share = present.to(level) / present.sum(dim=1, keepdim=True)
        hidden = self.dropout(torch.tanh(self.hidden(torch.einsum("km,kmcxyz->kcxyz", share, level))))
        sides = [self.sides[0](hidden), self.sides[1](F.avg_pool3d(hidden, (2, 2, min(2, hidden.shape[4]))))]
        return Fused(self.head(hidden), sides, hidden)

    def unimodal(self, features: Features) -> Tensor:
        level = features.levels[0]
        logits = self.unimodal_head(level.flatten(0, 1)).unflatten(0, level.shape[:2])
        return logits * features.available[:, :, None, None, None, None].to(logits)


class RegionBackbone(TinyBackbone):
    """Nested regions for channels, a latent that is sampled, and an image to rebuild beside the labels."""

    def __init__(self, regions: tuple[tuple[int, ...], ...] = ((1, 2, 3), (1, 3), (3,))):
        super().__init__(classes=len(regions))
        self.classes, self.heads = 4, Heads(4, regions)
        self.image = nn.Conv3d(5, 1, 1)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        items = torch.arange(len(present)) if case is None else case
        with noise.rows(items, [str(row.tolist()) for row in present]):
            fused = super().fuse(features, present, case)
            latent = fused.decoder_features + 0.1 * noise.normal(fused.decoder_features, "latent")
        return replace(fused, extra={"latent": latent})

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        shown = batch.present[:, :, None, None, None]
        image = torch.where(shown, batch.volumes, 0).sum(dim=1, keepdim=True)
        error = (self.image(fused.extra["latent"]) - image).square().mean(dim=(1, 2, 3, 4))
        return {"image": Auxiliary(error.sum(), 0.25)}


class EarlyFusion(Backbone):
    """Stacks the modalities as channels, absent ones as zeros: no auxiliary decoder, no side outputs."""

    has_unimodal = False

    def __init__(self, modalities: int = 4, classes: int = 4, spatial_dims: int = 3):
        super().__init__(modalities, classes, spatial_dims)
        self.hidden = nn.Conv3d(modalities, 5, 3, padding=1)
        self.head = nn.Conv3d(5, classes, 1)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        shown = available[:, :, None, None, None]
        return Features([torch.where(shown, volumes, 0).unsqueeze(2)], available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        stack = features.levels[0].squeeze(2)
        stack = stack if case is None else stack.index_select(0, case)
        hidden = torch.tanh(self.hidden(stack * present[:, :, None, None, None].to(stack)))
        return Fused(self.head(hidden), [], hidden)


def create(
    objective: str | ObjectiveOptions = "passion", teacher: Backbone | None = None, **options: object
) -> Objective:
    """Create an objective for 4 modalities and 4 classes, with a tiny teacher for one that takes it."""
    teacher = teacher or TinyBackbone().double()
    return passion.create(objective, **{"modalities": 4, "classes": 4, "teacher": teacher, **options})


@dataclass
class TinyBatch:
    volumes: Tensor
    present: Tensor
    target: Tensor
    cases: list[str]

    def item(self, b: int) -> "TinyBatch":
        """Return case `b` as a batch of one."""
        one = slice(b, b + 1)
        return TinyBatch(self.volumes[one], self.present[one], self.target[one], self.cases[one])


def tiny_batch(*subsets: str, size: int = 6, classes: int = 4, seed: int = 1) -> TinyBatch:
    """Make a float64 batch with one case for each of `subsets`, such as "1010"; absent channels hold NaN."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.tensor([[bit == "1" for bit in subset] for subset in subsets])
    space = (size, size, size)
    volumes = torch.randn(*present.shape, *space, generator=generator, dtype=torch.float64)
    volumes[~present] = torch.nan
    target = torch.randint(0, classes, (len(subsets), *space), generator=generator)
    return TinyBatch(volumes, present, target, [f"case{b}" for b in range(len(subsets))])
