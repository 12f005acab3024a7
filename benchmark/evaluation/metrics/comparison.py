"""What metrics are made of: a predicted mask beside its reference, and what several metrics share of both.

    reference = Reference(mask, spacing, POLICIES["passion"])
    HD95.score(Comparison(predicted, reference))

All is computed when it is first asked for; what is the reference's alone, once for all its predictions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from benchmark.evaluation.metrics.lesions import Lesions, Matches
from benchmark.evaluation.metrics.policies import MetricPolicy
from benchmark.evaluation.metrics.surfaces import (
    Array,
    Mask,
    Nearest,
    Surface,
    corner_surface,
    distances,
    labels_at,
    voxel_surface,
)


class Reference:
    """The reference mask of a region.

    Args:
        mask: [*space], or the part of it outside which no mask of the case has a voxel.
        spacing: edge of a voxel along each axis of the mask, in mm.
        policy: the rules where a metric has no natural value.
        shape: of the whole image, in voxels; None: that of the mask.
        thickness: of a slice in mm, where the mask is one.
        nearest: what finds the distances between surfaces; None: trees.
    """

    def __init__(
        self,
        mask: Mask,
        spacing: Sequence[float],
        policy: MetricPolicy,
        shape: Sequence[int] | None = None,
        thickness: float = 1.0,
        nearest: Nearest | None = None,
    ):
        self.mask = mask
        self.spacing = spacing
        self.policy = policy
        self.nearest = nearest
        self.size = int(np.count_nonzero(mask))
        self.voxel_volume = prod(spacing) * thickness
        self.diagonal = float(np.linalg.norm(np.multiply(mask.shape if shape is None else shape, spacing)))

    @cached_property
    def voxels(self) -> Surface:
        """Its surface of voxels."""
        return voxel_surface(self.mask, self.spacing)

    @cached_property
    def corners(self) -> Surface:
        """Its surface between voxels."""
        return corner_surface(self.mask, self.spacing)

    @cached_property
    def lesions(self) -> Lesions:
        """Its lesions as the policy tells them apart; without such a rule, its connected components."""
        rules = self.policy.lesions
        return Lesions(self.mask, rules.dilation if rules else 0)

    @cached_property
    def lesion_corners(self) -> list[Surface]:
        """The part of `corners` that each lesion has."""
        owners = labels_at(self.corners, self.lesions.labels)
        return [self.corners.part(owners == i + 1) for i in range(len(self.lesions.sizes))]

    @property
    def worst_distance(self) -> float:
        """HD95 in mm where exactly one of two masks is empty."""
        return self.diagonal if self.policy.one_empty == "diagonal" else self.policy.one_empty


class Comparison:
    """A prediction of a region beside its reference.

    Attributes:
        mask: what was predicted, of the shape of the reference's.
        reference: what is right.
        confidence: probability of the region [F] at the voxels that the reference has as foreground of any
            class; None where there are no probabilities.
        inside: whether these voxels are in the region by the reference, bool [F].
    """

    def __init__(
        self,
        mask: Mask,
        reference: Reference,
        confidence: Array | None = None,
        inside: NDArray[np.bool_] | None = None,
    ):
        self.mask = mask
        self.reference = reference
        self.confidence = confidence
        self.inside = inside
        self.size = int(np.count_nonzero(mask))

    @property
    def policy(self) -> MetricPolicy:
        """The rules where a metric has no natural value."""
        return self.reference.policy

    @property
    def empty(self) -> int:
        """How many of prediction and reference are empty: 0, 1 or 2."""
        return (self.size == 0) + (self.reference.size == 0)

    @cached_property
    def overlap(self) -> int:
        """Voxels that prediction and reference share."""
        return int(np.count_nonzero(self.mask & self.reference.mask))

    @cached_property
    def voxel_distances(self) -> tuple[Array, Array]:
        """Distances in mm between the surfaces of voxels, of the prediction's and of the reference's."""
        surface = voxel_surface(self.mask, self.reference.spacing)
        return distances(surface, self.reference.voxels, self.reference.nearest)

    @cached_property
    def corners(self) -> Surface:
        """The prediction's surface between voxels."""
        return corner_surface(self.mask, self.reference.spacing)

    @cached_property
    def corner_distances(self) -> tuple[Array, Array]:
        """Distances in mm between the surfaces between voxels, of the prediction's and of the reference's."""
        return distances(self.corners, self.reference.corners, self.reference.nearest)

    @cached_property
    def matches(self) -> Matches:
        """The prediction's components and the lesions they belong to."""
        return Matches(self.mask, self.reference.lesions)

    @cached_property
    def corner_components(self) -> NDArray[np.int32]:
        """The component of the prediction that each element of `corners` is of."""
        return labels_at(self.corners, self.matches.components)


@dataclass(frozen=True)
class Metric:
    """One number for a predicted region, and how to read it.

    Attributes:
        name: in configurations and in `cases.csv`.
        title: in tables.
        higher_is_better: its direction.
        unit: the empty string for a share, which tables give in percent.
        rule: a sentence that says how a policy has it, with its value where masks are empty.
        score: its value, in its unit; nan where it has none.
        of_slices: whether a study that is scored slice by slice has the mean over its slices; else the value
            is of the whole case always.
        of_probabilities: whether it needs the network's probabilities, not its decisions alone.
    """

    name: str
    title: str
    higher_is_better: bool
    unit: str
    rule: Callable[[MetricPolicy], str]
    score: Callable[[Comparison], float]
    of_slices: bool = True
    of_probabilities: bool = False


def mean_over_lesions(
    comparison: Comparison, score: Callable[[int], float], penalty: float, without: float
) -> float:
    """Return the mean over the reference's lesions and the components that the prediction has invented.

    As in BraTS 2023: a lesion is scored against the union of the components at it; one that is not larger
    than the policy's volume is left out, but what touches it is not invented.

    Args:
        comparison: under a policy with rules for lesions.
        score: the value of the lesion of that index, which the prediction has not missed.
        penalty: the value of a lesion that is missed, and of a component that is invented.
        without: the value where there is neither.
    """
    rules, reference, matches = comparison.policy.lesions, comparison.reference, comparison.matches
    assert rules is not None
    scored = np.flatnonzero(reference.lesions.sizes * reference.voxel_volume > rules.min_volume)
    values = [score(int(i)) if len(matches.touching[i]) else penalty for i in scored]
    values += [penalty] * matches.invented
    return float(np.mean(values)) if values else without
