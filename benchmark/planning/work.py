"""What a run has to do: `Shape` decides how long a step and a test window take, `Work` is how many there are.

    shape, work = Shape.of(points, description), work_of(points, store)

The points of a run are its configurations, which differ in the test alone: a training once and its tests.
Runs that differ in seed, profile, learning rate, epochs or an objective's weights share their shape.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import pandas as pd

from bench_edges import Edges, space_of
from benchmark.config.run_config import RunConfig, TestConfig
from benchmark.evaluation.sliding_window import count_windows
from benchmark.training.inputs import Inputs
from datasets.store.store import Store
from datasets.vocabulary import Description


@dataclass(frozen=True)
class Shape:
    """What decides how long a step and a window take: shapes with equal `facts` (JSON) are equal.

    The points and description are an example to time.
    """

    facts: str
    points: tuple[RunConfig, ...] = field(compare=False)
    description: Description = field(compare=False)

    @classmethod
    def of(cls, points: Sequence[RunConfig], description: Description) -> "Shape":
        """Return the shape of a run."""
        config, tests = points[0], [point.test.model_dump() for point in points]
        facts = config.model_dump(mode="json", include={"dataset", "backbone", "objective", "precision"})
        options = {k: v for k, v in facts["objective"].items() if not isinstance(v, float)}
        facts["objective"] = {k: v for k, v in options.items() if k != "warmup_epochs"}
        steps = ("crop", "batch_size", "recompute", "compile", "optimiser")
        facts["train"] = {option: getattr(config.train, option) for option in steps}
        if only := config.subset(description.modalities):
            facts["train"]["dedicated"] = f"{len(only)} of {len(description.modalities)} modalities"
        facts["test"] = {}
        for key in TestConfig.model_fields:
            values = [str(test.get(key)) for test in tests]
            facts["test"][key] = ", ".join(values if len(set(values)) > 1 else values[:1])
        return cls(json.dumps(facts, sort_keys=True), tuple(points), description)

    @property
    def config(self) -> RunConfig:
        """The first of the points."""
        return self.points[0]

    @property
    def voxels(self) -> int:
        """Of a batch, of all modalities."""
        samples = self.config.train.batch_size * len(self.description.modalities)
        return samples * prod(space_of(self.config.train.crop, self.description.spatial_dims))


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
        samples: cases that train, or slices of a 2-D study.
        modalities: of a sample that training sees, on average.
        tested: number of test cases.
        windows: of all of them, in the test of each point.
        voxels: of all of them.
        validation_windows: of all validation cases.
    """

    samples: int
    modalities: float
    tested: int
    windows: tuple[int, ...]
    voxels: int
    validation_windows: int


def work_of(points: Sequence[RunConfig], store: Store) -> Work:
    """Return what a run on a store has to do, which may be one that is only expected."""
    config = points[0]
    inputs, dims = Inputs.of(config, store), store.description.spatial_dims
    shapes = {case: store.record(case).shape for case in store.cases}
    samples, seen = 0, 0.0
    for case, row in zip(inputs.shown.cases, inputs.shown.table, strict=True):
        units = 1 if dims == 3 else shapes[case][-1]
        shown = float(len(row) if config.objective.policy == "pdt" else row.sum())
        if config.objective.policy == "idt_drop":  # the mean over its subsets, without the empty one
            shown *= 2 ** (shown - 1) / (2**shown - 1)
        samples, seen = samples + units, seen + units * shown

    def windows(cases: Sequence[str], edges: Edges) -> int:
        return sum(count_windows(shapes[case], edges, dims) for case in cases)

    test = inputs.tested
    tested = tuple(windows(test, point.window) for point in points)
    voxels = sum(prod(shapes[case]) for case in test)
    looked = windows(inputs.split.val, config.train.crop)
    return Work(samples, seen / samples, len(test), tested, voxels, looked)


def labels(shapes: Sequence[Shape]) -> dict[Shape, str]:
    """Name shapes by dataset, backbone and objective, and by what tells those of one name apart."""
    facts = pd.json_normalize([json.loads(shape.facts) for shape in shapes]).astype(str)
    names = facts["dataset"] + " " + facts["backbone.name"] + " " + facts["objective.name"]
    result = {}
    for shape, name, row in zip(shapes, names, facts.to_dict("records"), strict=True):
        alike = facts[names == name]
        varying = [f"{key} {row[key]}" for key in sorted(map(str, row)) if alike[key].nunique() > 1]
        result[shape] = name + (f" ({', '.join(varying)})" if varying else "")
    return result
