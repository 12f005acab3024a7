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
    },
)


def create(name: str, modalities: int, classes: int, **options: Any) -> "Objective":
    """Build the objective `name` for networks of `modalities` inputs and `classes` outputs.

    `options` are the objective's own (`policy`, `warmup_epochs`, `lambda1`, ...) and the facts of the
    training data (`counts`, `cases`, `batch_size`, see `passion.objective.Objective`). Raises `InputError`
    for an unknown name.
    """
    return OBJECTIVES.get(name)(modalities=modalities, classes=classes, **options)
