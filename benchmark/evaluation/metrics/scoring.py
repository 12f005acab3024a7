"""Scoring a case: all its predictions against one reference, by metrics and rules that a test names.

scoring = Scoring(POLICIES["passion"], ("dice", "hd95"))
rows = score_case({"flair+t2": class_map}, labels, description.regions, scoring, (1.0, 1.0, 1.0))
score_masks("hd95", mask, reference, POLICIES["passion"], (1.0, 1.0, 1.0))      # of two masks
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench_errors import InputError
from bench_registry import unknown
from benchmark.evaluation.metrics.comparison import Comparison, Reference
from benchmark.evaluation.metrics.policies import MetricPolicy, find_policy
from benchmark.evaluation.metrics.registry import METRICS
from benchmark.evaluation.metrics.surfaces import Array, Mask, Nearest
from datasets.vocabulary import Region

DEFAULT_METRICS = ("dice", "hd95")
LABELS = 256


@dataclass(frozen=True)
class Scoring:
    """What a test computes, and by which rules.

    Attributes:
        policy: the rules where a metric has no natural value.
        metrics: names out of `METRICS`, each once.
        slices: of a study that is treated slice by slice: `per-slice` scores every slice by itself and takes
            the mean over the slices, as the authors of MyoPS do; `per-volume` scores the case as a volume.
        empty_slices: where slices are scored by themselves, `keep` scores those in which the reference has
            nothing of the region as the policy says, `skip` leaves them out (as `ignore_empty` of MONAI); a
            case that has no other has no value.

    Raises `InputError` for metrics that there are not, none or one twice.
    """

    policy: MetricPolicy
    metrics: tuple[str, ...] = DEFAULT_METRICS
    slices: Literal["per-slice", "per-volume"] = "per-slice"
    empty_slices: Literal["keep", "skip"] = "keep"

    @classmethod
    def of(cls, test: Mapping[str, Any]) -> "Scoring":
        """Return the scoring that the settings of a test ask for; what they do not say is as by default."""
        chosen = {key: test[key] for key in ("slices", "empty_slices") if key in test}
        return cls(find_policy(test["policy"]), tuple(test.get("metrics", DEFAULT_METRICS)), **chosen)

    def __post_init__(self) -> None:
        for name in self.metrics:
            if name not in METRICS:
                raise InputError(unknown("metric", name, list(METRICS)))
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            given = ", ".join(self.metrics) or "none"
            raise InputError(f"found the metrics {given}, expected one or more, each once: correct the list")

    @property
    def of_probabilities(self) -> bool:
        """Whether a metric needs the network's probabilities."""
        return any(METRICS[name].of_probabilities for name in self.metrics)

    def conditions(self, spatial_dims: int) -> dict[str, str]:
        """Return what a run records of its metrics.

        That is the `policy`, the `text` that stands under tables, and as `slices` what is unusual in scoring
        a study of slices. Only runs that agree in policy and slices are comparable.
        """
        rules = "; ".join(METRICS[name].rule(self.policy) for name in self.metrics)
        text = f"Metric policy {self.policy.name} ({self.policy.source}): {rules}."
        conditions = {"policy": self.policy.name}
        if spatial_dims == 2 and self.slices == "per-volume":
            conditions["slices"] = "per volume"
            text += " Cases are scored as volumes."
        elif spatial_dims == 2:
            text += " Slices are scored by themselves and averaged"
            if self.empty_slices == "skip":
                conditions["slices"] = "without empty slices"
                text += ", those without the region left out"
            text += "."
        return {**conditions, "text": text}


def score_masks(
    metric: str,
    prediction: NDArray[Any],
    reference: NDArray[Any],
    policy: MetricPolicy,
    spacing: Sequence[float],
) -> float:
    """Return the value of a metric for two masks [*space], in its unit; `spacing` in mm per axis."""
    first, second = _checked(prediction, reference).astype(bool), reference.astype(bool)
    box = _box([first, second])
    truth = Reference(second[box], spacing, policy, second.shape)
    return METRICS[metric].score(Comparison(first[box], truth))


def score_case(
    predictions: Mapping[str, NDArray[Any]],
    reference: NDArray[Any],
    regions: Sequence[Region],
    scoring: Scoring,
    spacing: Sequence[float],
    spatial_dims: int = 3,
    probabilities: Mapping[str, NDArray[np.float32]] | None = None,
    nearest: Nearest | None = None,
) -> list[tuple[str, str, str, float]]:
    """Score several predictions of one case.

    Args:
        predictions: map of class indices [D, H, W] by name (of a subset).
        reference: class indices [D, H, W].
        regions: what to score; a predicted region with fewer voxels than its `min_voxels` is emptied before.
        scoring: metrics and rules.
        spacing: mm per axis.
        spatial_dims: 2 for a study whose slices lie along the third axis.
        probabilities: by the same names, of the classes at the reference's foreground voxels [C, F], in the
            order of a mask of them; for metrics that need them.
        nearest: what finds the distances of two surfaces, `surface_distances.nearest` on a GPU; None: trees.

    Returns rows (name, region, metric, value), in the order of predictions, regions and metrics.
    """
    maps = [_checked(class_map, reference) for class_map in predictions.values()]
    chances = [probabilities[name] for name in predictions] if probabilities else []
    sliced = spatial_dims == 2 and scoring.slices == "per-slice"
    by_slice = [name for name in scoring.metrics if sliced and METRICS[name].of_slices]
    whole = [name for name in scoring.metrics if name not in by_slice]
    values: dict[str, NDArray[np.float64]] = {}
    if whole:
        case = _Case(maps, reference, spacing, 1.0, chances)
        values.update(zip(whole, case.scores(regions, scoring.policy, whole, nearest), strict=True))
    if by_slice:
        planes = [
            _Case([m[..., k] for m in maps], reference[..., k], spacing[:2], spacing[2])
            for k in range(reference.shape[-1])
        ]
        skip = scoring.empty_slices == "skip"
        slices = [plane.scores(regions, scoring.policy, by_slice, nearest, skip) for plane in planes]
        values.update(zip(by_slice, _mean(np.stack(slices)), strict=True))
    return [
        (name, region.name, metric, float(values[metric][p, r]))
        for p, name in enumerate(predictions)
        for r, region in enumerate(regions)
        for metric in scoring.metrics
    ]


@dataclass(frozen=True)
class _Case:
    """A case or a slice: class maps, reference, spacing and thickness of the slice in mm, probabilities."""

    maps: Sequence[NDArray[Any]]
    reference: NDArray[Any]
    spacing: Sequence[float]
    thickness: float
    chances: Sequence[NDArray[np.float32]] = ()

    def scores(
        self,
        regions: Sequence[Region],
        policy: MetricPolicy,
        metrics: Sequence[str],
        nearest: Nearest | None,
        skip_empty: bool = False,
    ) -> NDArray[np.float64]:
        """Return the values [metrics, predictions, regions]; nan for regions to skip as there are none."""
        values = np.full((len(metrics), len(self.maps), len(regions)), np.nan)
        box = _box([self.reference, *self.maps])
        truths: dict[tuple[int, ...], Reference] = {}
        # Regions of the same classes (ET and ETpp) differ only where one of them is emptied.
        scored: dict[tuple[int, tuple[int, ...], bool], list[float]] = {}
        for r, region in enumerate(regions):
            wanted = np.isin(np.arange(LABELS), region.classes)
            if region.classes not in truths:
                truths[region.classes] = Reference(
                    wanted[self.reference[box]],
                    self.spacing,
                    policy,
                    self.reference.shape,
                    self.thickness,
                    nearest,
                )
            truth = truths[region.classes]
            if skip_empty and not truth.size:
                continue
            for p, class_map in enumerate(self.maps):
                mask = wanted[class_map[box]]
                emptied = bool(np.count_nonzero(mask) < region.min_voxels)
                key = (p, region.classes, emptied)
                if key not in scored:
                    comparison = Comparison(mask & (not emptied), truth, *self._chances(p, region, wanted))
                    scored[key] = [METRICS[metric].score(comparison) for metric in metrics]
                values[:, p, r] = scored[key]
        return values

    def _chances(self, prediction: int, region: Region, wanted: Mask) -> tuple[Array, Mask] | tuple[()]:
        """The probability of the region at the foreground's voxels, and whether they are in it."""
        if not self.chances:
            return ()
        chance = self.chances[prediction][list(region.classes)].sum(axis=0, dtype=np.float64)
        return np.minimum(chance, 1.0), wanted[self.reference[self.reference > 0]]


def _mean(slices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis of what has a value; nan where nothing has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(slices, axis=0)


def _box(maps: Sequence[NDArray[Any]]) -> tuple[slice, ...]:
    """The smallest box that holds all non-zero voxels of all maps."""
    union = reduce(np.bitwise_or, maps)
    slices = []
    for axis in range(union.ndim):
        there = np.flatnonzero(union.any(axis=tuple(a for a in range(union.ndim) if a != axis)))
        slices.append(slice(there[0], there[-1] + 1) if len(there) else slice(0, 0))
    return tuple(slices)


def _checked(prediction: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction has the shape {prediction.shape}, the reference {reference.shape}")
    return prediction
