"""What the images of a study look like, so that a case that does not look so can be told.

    likeness = Likeness.of(store, cases)           # of the training cases; stands in a run's config.yaml
    for warning in likeness.differences(Appearance.of(head, edges)): ...
    typical = Likeness.typical(appearances)        # of the middle half of a study, for its check

A network normalises whatever it is given; these are the signs that it was given something else than what it
has learnt from: a head with its skull, a background that is not 0, intensities normalised before, voxels of
another size.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from datasets.preparation.head import NEGATIVE, Head
from datasets.store.store import CaseRecord, Store

SPARE = 1.25
"""Sizes may be this many times those of training before it is said: a head this much larger has its skull
(head to brain is more than 2), and voxels this much larger blur what the network goes by."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Appearance:
    """What one case looks like.

    Attributes:
        spacing: edges of a voxel along each axis, in mm.
        tissue: volume of the head, in mL.
        negative: modality -> share of the head's voxels below 0.
    """

    spacing: tuple[float, ...]
    tissue: float
    negative: dict[str, float]

    @classmethod
    def of(cls, head: Head, edges: Iterable[float]) -> "Appearance":
        """Return that of a case, given the edges of its voxels in mm along the axes that a network sees."""
        return cls._measured(edges, int(np.count_nonzero(head.tissue)), head.negative)

    @classmethod
    def of_record(cls, record: CaseRecord, modalities: Iterable[str]) -> "Appearance":
        """Return that of a prepared case."""
        shares = zip(modalities, record.negative, strict=True)
        return cls._measured(record.spacing, record.tissue, {m: s for m, s in shares if s is not None})

    @classmethod
    def _measured(cls, edges: Iterable[float], voxels: int, negative: Mapping[str, float]) -> "Appearance":
        spacing = tuple(round(float(edge), 4) for edge in edges)
        shares = {modality: round(share, 4) for modality, share in negative.items()}
        return cls(spacing, voxels * float(np.prod(spacing)) / 1000, shares)


@dataclass(frozen=True)
class Likeness:
    """What is alike among the images of a study.

    Attributes:
        orientation: where the axes point, such as ``LPS``; empty where the cases differ.
        spacing: (smallest, largest) edge of a voxel along each axis, in mm.
        tissue: (smallest, largest) volume of a head in mL; None in runs of older versions.
        negative: modality -> (smallest, largest) share of a head's voxels below 0; empty in older versions.
    """

    orientation: str
    spacing: tuple[Range, ...]
    tissue: Range | None
    negative: dict[str, Range] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, cases: Iterable[str]) -> "Likeness":
        """Return what the prepared `cases` have in common."""
        records = [store.records[case] for case in cases]
        codes = {record.stored_orientation for record in records}
        looks = [Appearance.of_record(record, store.description.modalities) for record in records]
        return cls._between(looks, 0, codes.pop() if len(codes) == 1 else "")

    @classmethod
    def typical(cls, looks: Sequence[Appearance]) -> "Likeness":
        """Return what the middle half of at least three cases have in common."""
        found = cls._between(looks, -(-(len(looks) - 1) // 4), "")
        low, high = found.tissue or (0.0, 0.0)
        return cls("", found.spacing, (low, round(high * SPARE, 1)), found.negative)

    @classmethod
    def _between(cls, looks: Sequence[Appearance], skip: int, codes: str) -> "Likeness":
        """Return the ranges without the `skip` smallest and largest values."""

        def between(values: Iterable[float]) -> Range:
            ordered = sorted(values)
            first = min(skip, (len(ordered) - 1) // 2)
            return ordered[first], ordered[-1 - first]

        shares: dict[str, list[float]] = {}
        for look in looks:
            for modality, share in look.negative.items():
                shares.setdefault(modality, []).append(share)
        low, high = between(look.tissue for look in looks)
        return cls(
            codes,
            tuple(between(edges) for edges in zip(*(look.spacing for look in looks), strict=True)),
            (round(low, 1), round(high, 1)),
            {modality: between(values) for modality, values in shares.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers, as written to YAML."""
        content = asdict(self)
        return {
            **content,
            "spacing": [list(edge) for edge in self.spacing],
            "tissue": self.tissue and list(self.tissue),
            "negative": {modality: list(shares) for modality, shares in self.negative.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Likeness":
        """Inverse of `to_dict`."""
        tissue = values["tissue"]
        return cls(
            values["orientation"],
            tuple((edge[0], edge[1]) for edge in values["spacing"]),
            (tissue[0], tissue[1]) if tissue else None,
            {m: (shares[0], shares[1]) for m, shares in values.get("negative", {}).items()},
        )

    def differences(self, look: Appearance, among: str = "in training") -> list[str]:
        """Say in what a case differs so much that its segmentation is not to be trusted; nothing if in none.

        Args:
            look: of the case, axes as in training.
            among: where these ranges are from.
        """
        found = []
        for modality, share in look.negative.items():
            low, high = self.negative.get(modality, (0.0, 0.0))
            if share - high > NEGATIVE:
                found.append(
                    f"{modality} looks normalised already: {share:.0%} of its voxels that are not background "
                    f"are negative, {among} {high:.0%} at most; give the intensities as the scanner made "
                    "them, 0 outside the head"
                )
            if low - share > NEGATIVE:
                found.append(
                    f"{modality} looks as the scanner made it: {share:.0%} of its voxels are negative, "
                    f"{among} {low:.0%} at least; normalise it as those were"
                )
        if any(
            not low / SPARE <= e <= high * SPARE
            for e, (low, high) in zip(look.spacing, self.spacing, strict=True)
        ):
            others = "x".join(
                f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in self.spacing
            )
            found.append(
                f"the voxels are {'x'.join(f'{edge:.3g}' for edge in look.spacing)} mm, {among} they "
                f"were {others}: resample the images to that"
            )
        if self.tissue and not self.tissue[0] / SPARE / SPARE <= look.tissue <= self.tissue[1] * SPARE:
            what = (
                "a skull that is not stripped, or a background that is not 0"
                if look.tissue > self.tissue[1]
                else "a part of the head, or a mask that takes away too much"
            )
            found.append(
                f"the head fills {look.tissue:.4g} mL, {among} {self.tissue[0]:.4g} to "
                f"{self.tissue[1]:.4g}: it looks like {what}; bring the images into that form"
            )
        return found
