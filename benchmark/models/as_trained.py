"""The cases of a store as a network saw its training cases, or what tells them apart from those.

    warn_of_unlike(model, store, cases)
    seen = TurnedStore.of(store, model)          # volumes whose axes point as in training
    maps = seen.turned_back(case, segment_case(model.backbone, seen, case, ...))

`bench predict` does the same with the images of new patients.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from benchmark.evaluation.test_cases import Maps
from benchmark.models.trained_model import Trained
from datasets.preparation.nifti import orientation, turned, turned_sizes
from datasets.store.store import Store


@dataclass(frozen=True)
class TurnedStore(Store):
    """A store whose volumes are turned as training saw them; all else is the source's.

    Attributes:
        source: the store.
        wanted: where axes point in training; empty where that differed or is not known: nothing is turned.
    """

    source: Store = field(kw_only=True)
    wanted: str = field(kw_only=True)

    @classmethod
    def of(cls, store: Store, model: Trained) -> "TurnedStore":
        """Return `store` as `model` has to see it."""
        wanted = model.likeness.orientation if model.likeness else ""
        return cls(**{f.name: getattr(store, f.name) for f in fields(Store)}, source=store, wanted=wanted)

    def volumes(self, case: str) -> Any:
        """Return the volumes [M, *space], turned."""
        volumes, held = self.source.volumes(case), self.held(case)
        if self.wanted in ("", held):
            return volumes
        return np.stack([turned(volume, held, self.wanted) for volume in np.asarray(volumes)])

    def turned_back(self, case: str, maps: Maps) -> Maps:
        """Return what a network made of the turned volumes, [*space] by name, as the source's labels lie."""
        held = self.held(case)
        return {name: turned(found, self.wanted or held, held) for name, found in maps.items()}

    def held(self, case: str) -> str:
        """Return where the axes of the source's volumes of a case point, such as ``RAS``."""
        return orientation(np.array(self.record(case).affine))


def warn_of_unlike(model: Trained, store: Store, cases: Sequence[str]) -> None:
    """Print which cases differ so much from the training data that their scores say little, and in what."""
    likeness = model.likeness
    if likeness is None:
        print(f"{model.name} does not say what its training images looked like", file=sys.stderr)
        return
    seen, unlike = TurnedStore.of(store, model), {}
    for case in cases:
        record, held = store.records[case], seen.held(case)
        edges = turned_sizes(np.array(record.affine), held, likeness.orientation or held)
        tissue = (record.tissue or 0) * float(np.prod(edges)) / 1000
        if differences := likeness.differences_of_size(edges, tissue):
            unlike[case] = "; ".join(differences)
    if unlike:
        case, text = next(iter(unlike.items()))
        counted = f"{len(unlike)} of {len(cases)} cases are not like the training data"
        print(f"warning: {counted}, such as {case}: {text}", file=sys.stderr)
    if others := sorted({seen.held(case) for case in cases} - {likeness.orientation}):
        axes = ", ".join(others)
        what = (
            f"turned from {axes} to {likeness.orientation}, as in training"
            if likeness.orientation
            else f"training images lay in different orientations: these are taken as they lie, {axes}"
        )
        print(what, file=sys.stderr)
