"""What runs have to do: `Shape`, what decides how long one step or test window takes, and `Work`, how many.

    step, test = shapes_of(config, description)
    work = work_of(config, store)

Runs that differ in seed, profile, learning rate, epochs or an objective's weights share their shapes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from benchmark.config.run_config import RunConfig
from benchmark.evaluation.sliding_window import count_windows
from benchmark.training.inputs import Inputs
from datasets.store.store import Store
from datasets.vocabulary import Description, table_subsets

Kind = Literal["step", "test"]
SUBSETS_OF_A_MODALITY = 6
"""Testing so many subsets takes about as long as training on one modality, in the published networks."""


@dataclass(frozen=True)
class Shape:
    """What decides how long a training step takes, or the test of a window.

    `facts` say it, and shapes with the same facts are equal; the rest is an example to time.
    """

    kind: Kind
    facts: str
    config: RunConfig = field(compare=False)
    description: Description = field(compare=False)

    @property
    def edge(self) -> int:
        """Edge of the training crop or test window in voxels."""
        return self.config.train.crop if self.kind == "step" else self.config.window

    @property
    def size(self) -> int:
        """About how much there is to compute: voxels of all samples and modalities of a step."""
        voxels: int = self.edge**self.description.spatial_dims
        if self.kind == "step":
            return voxels * self.config.train.batch_size * len(self.description.modalities)
        return voxels * len(table_subsets(self.description)) // SUBSETS_OF_A_MODALITY


def shapes_of(config: RunConfig, description: Description) -> tuple[Shape, Shape]:
    """Return the shapes of a run's training steps and of its test."""
    content = config.model_dump(mode="json")
    kinds = {
        k: v for k, v in content["objective"].items() if not isinstance(v, float) and k != "warmup_epochs"
    }
    network = {k: content[k] for k in ("dataset", "backbone", "precision")} | {"crop": config.train.crop}
    step = {"objective": kinds, "batch_size": config.train.batch_size, "recompute": config.train.recompute}
    test = {"window": config.window, "metrics": config.test.metrics, "outside": config.test.outside}
    return (
        Shape("step", json.dumps(network | step, sort_keys=True), config, description),
        Shape("test", json.dumps(network | test, sort_keys=True), config, description),
    )


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
        samples: of an epoch: cases, or slices of a 2-D study.
        modalities: of a sample that training sees, on average.
        tested: test cases.
        windows, voxels: of all of them.
        validation_windows: of all validation cases.
        case_windows, case_voxels: of the median test case.
    """

    samples: int
    modalities: float
    tested: int
    windows: int
    voxels: int
    validation_windows: int
    case_windows: int
    case_voxels: int


def work_of(config: RunConfig, store: Store) -> Work:
    """Return what a run on a store has to do, which may be one that is only expected."""
    inputs, dims = Inputs.of(config, store), store.description.spatial_dims
    samples, seen = 0, 0.0
    for case, row in zip(inputs.table.cases, inputs.table.table, strict=True):
        units = 1 if dims == 3 else store.record(case).shape[-1]
        available = len(row) if config.objective.policy == "pdt" else int(row.sum())
        samples += units
        if config.objective.policy == "idt_drop":  # the mean over its subsets, without the empty one
            seen += units * available * 2 ** (available - 1) / (2**available - 1)
        else:
            seen += units * available

    def windows(case: str) -> int:
        return count_windows(store.record(case).shape, config.window, dims)

    tested = sorted(inputs.split.test, key=windows)
    median = tested[(len(tested) - 1) // 2]
    return Work(
        samples,
        seen / samples,
        len(tested),
        sum(map(windows, tested)),
        sum(prod(store.record(case).shape) for case in tested),
        sum(map(windows, inputs.split.val)),
        windows(median),
        prod(store.record(median).shape),
    )


def labels(shapes: Sequence[Shape]) -> dict[Shape, str]:
    """Name shapes of steps by dataset, backbone and objective, and by what tells those of one name apart."""
    facts = {shape: _flat(json.loads(shape.facts)) for shape in shapes}
    names = {
        shape: f"{of['dataset']} {of['backbone.name']} {of['objective.name']}" for shape, of in facts.items()
    }
    found = {}
    for shape, of in facts.items():
        alike = [facts[other] for other in facts if names[other] == names[shape]]
        varying = [key for key in sorted(of) if any(other.get(key) != of[key] for other in alike)]
        more = ", ".join(f"{key} {of[key]}" for key in varying)
        found[shape] = f"{names[shape]} ({more})" if more else names[shape]
    return found


def _flat(tree: dict[str, Any]) -> dict[str, str]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return {key: str(value) for key, value in flat.items()}
