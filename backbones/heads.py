"""What the channels of a network's logits are: classes under a softmax, or regions with a sigmoid each.

    heads = Heads(classes=4)                                        # softmax: background and three classes
    heads = Heads(classes=4, regions=((1, 2, 3), (1, 3), (3,)))     # sigmoid: WT, TC, ET
    p = heads.probabilities(logits)                                 # [K, channels, *space]

Regions may overlap, as nested ones do (nnU-Net's region-based training; Isensee et al., Nature Methods 2021).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

THRESHOLD = 0.5
"""A voxel is in a region whose probability is above this."""


def full_precision(values: Tensor) -> Tensor:
    """Return half-precision `values` as float32, others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


@dataclass(frozen=True)
class Heads:
    """The meaning of a network's output channels.

    Attributes:
        classes: number of classes, background included.
        regions: the classes of each region; empty where the channels are classes.
    """

    classes: int
    regions: tuple[tuple[int, ...], ...] = ()

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return len(self.regions) or self.classes

    def probabilities(self, logits: Tensor, tau: float = 1.0) -> Tensor:
        """Softmax of logits / tau over the channels, or sigmoid: [K, channels, *space], in full precision."""
        logits = full_precision(logits) / tau
        return logits.sigmoid() if self.regions else logits.softmax(dim=1)

    def outcomes(self, probabilities: Tensor) -> Tensor:
        """Add to the probabilities [K, channels, ...] of regions those of their complements."""
        return torch.cat([probabilities, 1 - probabilities], dim=1) if self.regions else probabilities

    def members(self, index: Tensor) -> Tensor:
        """Return which voxels of class `index` int [V] belong to each channel: bool [channels, V]."""
        of_class = index == torch.arange(self.classes, device=index.device).unsqueeze(1)
        if not self.regions:
            return of_class
        # A list as an index would be copied to the device, which the host waits for.
        return torch.stack([torch.stack([of_class[c] for c in region]).any(dim=0) for region in self.regions])

    def class_probabilities(self, probabilities: Tensor) -> Tensor:
        """Return the probabilities of the classes [S, classes, *space] from those of the channels.

        Regions are painted over each other, large ones first, each in its own class: the first of its classes
        that no smaller region within it has. A class is as probable as that its region holds and that none
        painted later does. The most probable class is always the first whose regions are exactly those above
        0.5. No class may have these: then it is that of the last region above 0.5, as regions are decided in
        the field. Where it would be another, the two probabilities change places.
        """
        if not self.regions:
            return probabilities
        shape = (probabilities.shape[0], self.classes, *probabilities.shape[2:])
        shares = probabilities.new_zeros(shape)
        decided = torch.zeros_like(shares[:, :1], dtype=torch.int64)
        rest = torch.ones_like(shares[:, 0])
        for region, own in reversed(self._painted()):
            shares[:, own] += rest * probabilities[:, region]
            rest = rest * (1 - probabilities[:, region])
        shares[:, 0] += rest
        above = torch.zeros_like(decided)  # the regions above 0.5, a bit each
        for region, own in self._painted():
            inside = probabilities[:, region : region + 1] > THRESHOLD
            decided[inside] = own
            above += inside * 2**region
        for label in reversed(range(self.classes)):
            decided[above == sum(2**r for r, region in enumerate(self.regions) if label in region)] = label
        highest = shares.max(dim=1, keepdim=True)
        replaced = shares.gather(1, decided)
        return shares.scatter(1, highest.indices, replaced).scatter(1, decided, highest.values)

    def _painted(self) -> list[tuple[int, int]]:
        """The channel and the class of each region, in the order in which they are painted."""
        order = sorted(range(len(self.regions)), key=lambda channel: -len(self.regions[channel]))
        painted = []
        for channel in order:
            region = set(self.regions[channel])
            within = [set(other) for other in self.regions if set(other) < region]
            left = region.difference(*within) or region
            painted.append((channel, min(left)))
        return painted
