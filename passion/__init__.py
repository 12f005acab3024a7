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
            "the task losses alone; modality dropout with policy idt_drop",
        ),
        "moddrop": (
            "passion.rivals.moddrop:ModDrop",
            "modality dropout: the baseline on a random part of what each case has (Neverova et al., 2016)",
        ),
        "pmr": (
            "passion.rivals.pmr:PMR",
            "slow modalities are pulled towards their class prototypes (Fan et al., CVPR 2023)",
        ),
        "kd": (
            "passion.rivals.kd:Distillation",
            "distillation from a separately trained, frozen teacher (Hinton et al., 2015)",
        ),
        "gradnorm": (
            "passion.rivals.gradnorm:GradNorm",
            "weights that make the modalities' gradients equally large (Chen et al., ICML 2018)",
        ),
        "dwa": (
            "passion.rivals.dwa:DynamicWeightAverage",
            "more weight for modalities whose loss falls slowly (Liu et al., CVPR 2019)",
        ),
        "uncertainty": (
            "passion.rivals.uncertainty:Uncertainty",
            "a learnt variance for each modality's loss (Kendall et al., CVPR 2018)",
        ),
        "pcgrad": (
            "passion.rivals.pcgrad:PCGrad",
            "conflicting gradients of the modalities are projected apart (Yu et al., NeurIPS 2020)",
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
    which an objective of another package need not take. `options` are the objective's own (`policy`,
    `warmup_epochs`, `lambda1`, ...); one that needs a teacher takes `teacher`, a trained network. Raises
    `InputError` for an unknown name, an option that the objective does not have, or a class that is none.
    """
    facts = {
        "modalities": modalities,
        "classes": classes,
        "counts": counts,
        "cases": cases,
        "batch_size": batch_size,
    }
    from passion import objective

    make = OBJECTIVES.get(name)
    if isinstance(make, type) and not issubclass(make, objective.Objective):
        raise InputError(f"{make.__name__} is no objective: derive it from passion.objective.Objective")
    return construct(f"objective {name}", make, facts, options)
