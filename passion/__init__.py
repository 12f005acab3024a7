"""Training objectives: ``passion.create("passion", modalities=4, classes=4).loss(backbone, batch)``."""

from typing import TYPE_CHECKING, Any

from bench_registry import Registry

if TYPE_CHECKING:
    from passion.objective import Objective

OBJECTIVES = Registry(
    "objective",
    {
        "passion": "passion.self_distillation:Passion",
        "baseline": "passion.baseline:Baseline",
        "moddrop": "passion.rivals.moddrop:ModDrop",
        "pmr": "passion.rivals.pmr:PMR",
        "kd": "passion.rivals.kd:Distillation",
        "gradnorm": "passion.rivals.gradnorm:GradNorm",
        "dwa": "passion.rivals.dwa:DynamicWeightAverage",
        "uncertainty": "passion.rivals.uncertainty:Uncertainty",
        "pcgrad": "passion.rivals.pcgrad:PCGrad",
    },
)


def create(name: str, modalities: int, classes: int, **options: Any) -> "Objective":
    """Build the objective `name` for networks of `modalities` inputs and `classes` outputs.

    `options` are the objective's own (`policy`, `warmup_epochs`, `lambda1`, ...) and the facts of the
    training data (`counts`, `cases`, `batch_size`, see `passion.objective.Objective`); one that needs a
    teacher takes `teacher`, a trained network. Raises `InputError` for an unknown name.
    """
    return OBJECTIVES.get(name)(modalities=modalities, classes=classes, **options)
