"""How a segmentation is scored: Dice, HD95 and surface Dice, under a named policy for empty masks.

    rows = score_case([("flair+t2", class_map)], labels, description.regions, POLICIES["passion"], (1, 1, 1))

Every HD95 pools the surface distances of both directions before the 95th percentile is taken (linear
interpolation). The surface of a mask is what an erosion with the 6-neighbourhood takes away, voxels on the
image's border included. What belongs to the reference alone is computed once for all predictions of a case.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from datasets.vocabulary import Region

Nearest = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Takes two sets of points [P, dims] and [Q, dims], returns each one's distance to the other set [P + Q]."""

EPSILON = 1e-8
TOLERANCE_MM = 1.0
"""Tolerance of `surface_dice` where `score_case` computes it."""


@dataclass(frozen=True)
class Metric:
    """How to read a metric: its title, whether higher is better, its unit ("" for none)."""

    title: str
    higher_is_better: bool
    unit: str


METRICS = {
    "dice": Metric("Dice", higher_is_better=True, unit=""),
    "hd95": Metric("HD95", higher_is_better=False, unit="mm"),
    "surface_dice": Metric(f"surface Dice at {TOLERANCE_MM:g} mm", higher_is_better=True, unit=""),
}


@dataclass(frozen=True)
class MetricPolicy:
    """The rule for empty masks.

    Attributes:
        name: what configurations call it.
        one_empty: HD95 in mm where exactly one of two masks is empty; `diagonal`: that of the image.
        text: what stands under a table.
    """

    name: str
    one_empty: float | Literal["diagonal"]
    text: str


def _policy(name: str, one_empty: float | Literal["diagonal"], source: str) -> MetricPolicy:
    worst = "the image's diagonal" if one_empty == "diagonal" else f"{one_empty} mm"
    text = (
        f"Metric policy {name} ({source}): HD95 is the 95th percentile of the pooled surface distances of "
        "both directions; two empty masks have Dice 1 and HD95 0, exactly one empty has Dice 0 and "
        f"HD95 {worst}."
    )
    return MetricPolicy(name, one_empty, text)


POLICIES = {
    policy.name: policy
    for policy in (
        _policy("passion", 1.0, "as in PASSION's released code"),
        _policy("brats", 373.13, "as in the BraTS challenge"),
        _policy("nan-free", "diagonal", "the worst distance that is possible"),
    )
}


def dice(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Dice of two masks of equal shape; 1 where both are empty (1e-8 is added above and below)."""
    first, second = _masks(prediction, reference)
    both = np.count_nonzero(first & second)
    return (2 * both + EPSILON) / (np.count_nonzero(first) + np.count_nonzero(second) + EPSILON)


def hd95(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    policy: MetricPolicy,
    spacing: Sequence[float],
) -> float:
    """95th percentile in mm of the pooled surface distances of two masks [*space].

    0 where both are empty; where exactly one is, what the policy says. `spacing`: mm per axis.
    """
    first, second = _masks(prediction, reference)
    box = _box([first, second])
    distances = _Reference(second[box], spacing).distances(first[box])
    return _hd95(distances, first.any() == second.any(), policy, second.shape, spacing)


def surface_dice(
    prediction: NDArray[Any], reference: NDArray[Any], tolerance_mm: float, spacing: Sequence[float]
) -> float:
    """Normalised surface Dice: share of the surface voxels within `tolerance_mm` of the other surface.

    1 where both masks are empty, 0 where exactly one is. Nikolov et al. 2018 (arXiv 1809.04430), but surface
    voxels are counted instead of surface area. `spacing`: mm per axis.
    """
    first, second = _masks(prediction, reference)
    box = _box([first, second])
    distances = _Reference(second[box], spacing).distances(first[box])
    return _surface_dice(distances, first.any() == second.any(), tolerance_mm)


def score_case(
    predictions: Iterable[tuple[str, NDArray[Any]]],
    reference: NDArray[Any],
    regions: Sequence[Region],
    policy: MetricPolicy,
    spacing: Sequence[float],
    spatial_dims: int = 3,
    metrics: Sequence[str] = ("dice", "hd95"),
    nearest: Nearest | None = None,
) -> list[tuple[str, str, str, float]]:
    """Score several predictions of one case.

    Args:
        predictions: pairs of a name (a subset) and a map of class indices [D, H, W].
        reference: class indices [D, H, W].
        regions: what to score; a predicted region with fewer voxels than its `min_voxels` is emptied before.
        policy: the rule for empty masks.
        spacing: mm per axis.
        spatial_dims: 2 scores every slice along the third axis by itself and averages over slices.
        metrics: names out of `METRICS`.
        nearest: what finds the distances of two surfaces, `surface_distances.nearest` on a GPU; None: trees.

    Returns rows (name, region, metric, value), in the order of predictions, regions and metrics.
    """
    pairs = list(predictions)
    maps = [_checked(class_map, reference) for _, class_map in pairs]
    if spatial_dims == 3:
        values = _score(maps, reference, regions, policy, spacing, metrics, nearest)
    else:
        slices = [
            _score(
                [m[..., k] for m in maps], reference[..., k], regions, policy, spacing[:2], metrics, nearest
            )
            for k in range(reference.shape[-1])
        ]
        values = np.mean(slices, axis=0)
    return [
        (name, region.name, metric, float(values[p, r, m]))
        for p, (name, _) in enumerate(pairs)
        for r, region in enumerate(regions)
        for m, metric in enumerate(metrics)
    ]


def _score(
    maps: Sequence[NDArray[Any]],
    reference: NDArray[Any],
    regions: Sequence[Region],
    policy: MetricPolicy,
    spacing: Sequence[float],
    metrics: Sequence[str],
    nearest: Nearest | None,
) -> NDArray[np.float64]:
    """Return the values [predictions, regions, metrics]."""
    values = np.zeros((len(maps), len(regions), len(metrics)))
    box = _box([reference, *maps])
    references: dict[tuple[int, ...], _Reference] = {}
    # Regions of the same classes (ET and ETpp) differ only where one of them is emptied.
    known: dict[tuple[int, tuple[int, ...], bool], list[float]] = {}
    for r, region in enumerate(regions):
        wanted = np.isin(np.arange(256), region.classes)
        if region.classes not in references:
            references[region.classes] = _Reference(wanted[reference[box]], spacing, nearest)
        truth = references[region.classes]
        for p, class_map in enumerate(maps):
            mask = wanted[class_map[box]]
            emptied = bool(np.count_nonzero(mask) < region.min_voxels)
            place = (p, region.classes, emptied)
            if place not in known:
                known[place] = _measure(
                    mask & (not emptied), truth, policy, reference.shape, spacing, metrics
                )
            values[p, r] = known[place]
    return values


def _measure(
    mask: NDArray[np.bool_],
    truth: "_Reference",
    policy: MetricPolicy,
    shape: tuple[int, ...],
    spacing: Sequence[float],
    metrics: Sequence[str],
) -> list[float]:
    agree = bool(mask.any() == truth.mask.any())
    only_overlap = set(metrics) <= {"dice"}
    distances = np.zeros(0) if only_overlap else truth.distances(mask)
    values = {
        "dice": lambda: dice(mask, truth.mask),
        "hd95": lambda: _hd95(distances, agree, policy, shape, spacing),
        "surface_dice": lambda: _surface_dice(distances, agree, TOLERANCE_MM),
    }
    return [values[metric]() for metric in metrics]


class _Reference:
    """A reference mask with its surface, and the distance to it from everywhere in the box."""

    def __init__(self, mask: NDArray[np.bool_], spacing: Sequence[float], nearest: Nearest | None = None):
        self.mask = mask
        self._nearest = nearest
        self._spacing = np.asarray(spacing, dtype=np.float64)

    @cached_property
    def _surface(self) -> NDArray[np.bool_]:
        return _surface(self.mask)

    @cached_property
    def _points(self) -> NDArray[np.float64]:
        return _positions(self._surface, self._spacing)

    @cached_property
    def _distance(self) -> NDArray[np.float64]:
        return ndimage.distance_transform_edt(~self._surface, sampling=self._spacing)

    def distances(self, prediction: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Distances in mm of both surfaces' voxels to the other surface; empty if one of the masks is.

        Without a `nearest` the few points of the reference ask a tree of the prediction's, in less than half
        the time of one more distance transform.
        """
        if not prediction.any() or not self.mask.any():
            return np.zeros(0)
        surface = _surface(prediction)
        if self._nearest:
            return self._nearest(_positions(surface, self._spacing), self._points)
        # Neither option changes an answer; without them it is built three times as fast.
        tree = cKDTree(_positions(surface, self._spacing), compact_nodes=False, balanced_tree=False)
        of_reference, _ = tree.query(self._points)
        return np.concatenate([self._distance[surface], of_reference])


def _positions(surface: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points of a surface in mm, none at coordinate 0.

    The number next to 0 is denormal; where the processor flushes those (which training asks it to), building
    a tree of points at 0 never ends.
    """
    return (np.argwhere(surface) + 1) * spacing


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & ~ndimage.binary_erosion(mask)


def _hd95(
    distances: NDArray[np.float64],
    agree: bool,
    policy: MetricPolicy,
    shape: tuple[int, ...],
    spacing: Sequence[float],
) -> float:
    if len(distances):
        return float(np.percentile(distances, 95))
    if agree:
        return 0.0
    if policy.one_empty == "diagonal":
        return float(np.linalg.norm(np.multiply(shape, spacing)))
    return policy.one_empty


def _surface_dice(distances: NDArray[np.float64], agree: bool, tolerance_mm: float) -> float:
    return float(np.mean(distances <= tolerance_mm)) if len(distances) else float(agree)


def _box(maps: Sequence[NDArray[Any]]) -> tuple[slice, ...]:
    """The smallest box that holds all non-zero voxels of all maps."""
    union = reduce(np.bitwise_or, maps)
    slices = []
    for axis in range(union.ndim):
        there = np.flatnonzero(union.any(axis=tuple(a for a in range(union.ndim) if a != axis)))
        slices.append(slice(there[0], there[-1] + 1) if len(there) else slice(0, 0))
    return tuple(slices)


def _masks(prediction: NDArray[Any], reference: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return _checked(prediction, reference).astype(bool), reference.astype(bool)


def _checked(prediction: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction has the shape {prediction.shape}, the reference {reference.shape}")
    return prediction
