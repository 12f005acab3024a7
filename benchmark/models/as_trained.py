"""The cases of a store as a network saw its training cases, or what tells them apart from those.

    warn_of_unlike(model, store, cases)
    seen = TurnedStore.of(store, model)          # volumes whose axes point as in training
    segmented = seen.turned_back(case, segment_case(model.backbone, seen, case, ...))

`bench predict` does the same with the images of new patients.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.evaluation.segment_case import Segmentation
from benchmark.models.trained_model import Trained
from datasets.preparation.likeness import Appearance
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
        volumes = self.source.volumes(case)
        if not self._turns(case):
            return volumes
        return np.stack([self._turned(case, volume) for volume in np.asarray(volumes)])

    def labels(self, case: str) -> Any:
        """Return the labels [*space], turned."""
        return self._turned(case, np.asarray(self.source.labels(case)))

    def turned_back(self, case: str, segmented: Segmentation) -> Segmentation:
        """Return what `segment_case` made of the turned case, as the source's labels lie."""
        if not self._turns(case):
            return segmented
        held = self.held(case)
        maps = {name: turned(classes, self.wanted, held) for name, classes in segmented.maps.items()}
        foreground = np.asarray(self.source.labels(case)) > 0
        position = np.zeros(foreground.shape, int)
        position[foreground] = np.arange(np.count_nonzero(foreground))
        order = np.argsort(self._turned(case, position)[self._turned(case, foreground)])
        shares = {name: values[:, order] for name, values in segmented.probabilities.items()}
        return Segmentation(maps, shares)

    def held(self, case: str) -> str:
        """Return where the axes of the source's volumes of a case point, such as ``RAS``."""
        return orientation(np.array(self.record(case).affine))

    def _turns(self, case: str) -> bool:
        return self.wanted not in ("", self.held(case))

    def _turned(self, case: str, array: NDArray[Any]) -> NDArray[Any]:
        return turned(array, self.held(case), self.wanted) if self._turns(case) else array


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
        look = Appearance.of_record(record, store.description.modalities)
        if differences := likeness.differences(replace(look, spacing=tuple(edges.tolist()))):
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
