"""Training objectives: ``passion.create("passion", modalities=4, classes=4).loss(backbone, batch)``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench_errors import InputError
from bench_registry import Registry, construct

if TYPE_CHECKING:
    from passion.objective import Objective

OBJECTIVES = Registry(
    "objective",
    {
        "passion": (
            "passion.self_distillation:Passion",
            "self-distillation weighted by relative preference (Shi et al., ACM MM 2024)",
        ),
        "baseline": (
            "passion.baseline:Baseline",
            "the task losses alone; with policy idt_drop, modality dropout",
        ),
    },
)


def create(
    name: str,
    modalities: int,
    classes: int,
    counts: Sequence[int] | None = None,
    cases: int | None = None,
    batch_size: int = 1,
    **options: Any,
) -> "Objective":
    """Build the objective `name` for networks of `modalities` inputs and `classes` outputs.

    `counts`, `cases` and `batch_size` are facts of the training data (see `passion.objective.Objective`),
    which an objective of another package need not take; `options` are its own (`policy`, `warmup_epochs`,
    `lambda1`, ...). Raises `InputError` for an unknown name, an option that it does not have, or a class that
    is no objective.
    """
    facts = {
        "modalities": modalities,
        "classes": classes,
        "counts": counts,
        "cases": cases,
        "batch_size": batch_size,
    }
    objective = construct(f"objective {name}", OBJECTIVES.get(name), facts, options)
    from passion import objective as contract

    if not isinstance(objective, contract.Objective):
        raise InputError(
            f"objective {name} is a {type(objective).__name__}, expected a passion.objective.Objective"
        )
    return objective
