"""Training objectives: ``passion.create("passion", modalities=4, classes=4).loss(backbone, batch)``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench_registry import Registry

if TYPE_CHECKING:
    from backbones.contract import Backbone
    from passion.objective import Objective
    from passion.options import ObjectiveOptions

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
        "gss": (
            "passion.rivals.gss:GSS",
            "each modality's own output learns from what those of a case agree on (Qiu et al., ICCV 2023)",
        ),
        "hga": (
            "passion.rivals.hga:HGA",
            "subsets in turn with a Reptile step, self-distillation within each (Shi et al., HGA)",
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
        "mae": (
            "passion.masked:MaskedAutoencoder",
            "pre-training: a network that can rebuilds volumes from a few patches (Liu et al., AAAI 2023)",
        ),
    },
)


def create(
    objective: "str | ObjectiveOptions",
    modalities: int,
    classes: int,
    counts: Sequence[int] | None = None,
    cases: int | None = None,
    batch_size: int = 1,
    teacher: "Backbone | None" = None,
    subsets: Sequence[tuple[bool, ...]] | None = None,
    epochs: int = 1,
    **keywords: Any,
) -> "Objective":
    """Build an objective for networks of `modalities` inputs and `classes` outputs.

    Args:
        objective: a registered name or ``module:Class``, with the options as `keywords` (`policy`,
            `warmup_epochs`, `lambda1`, ...); or the options themselves, without keywords.
        modalities: number of modalities M.
        classes: number of classes, background included.
        counts: training cases that have each modality, M numbers, for objectives that use them.
        cases: training cases.
        batch_size: training cases of a step.
        teacher: a trained network, for objectives whose options ask for one (`ObjectiveOptions.teacher`).
        subsets: those that a training case can show, each a bool per modality; None: all.
        epochs: of the training.

    Raises `InputError` for an unknown name, a wrong option, or a class that is no objective.
    """
    from bench_options import build, options_of
    from passion.objective import Objective
    from passion.options import KeywordObjectiveOptions, ObjectiveOptions

    options: ObjectiveOptions = options_of(OBJECTIVES, KeywordObjectiveOptions, objective, keywords)
    facts: dict[str, Any] = {
        "modalities": modalities,
        "classes": classes,
        "counts": counts,
        "cases": cases,
        "batch_size": batch_size,
        "subsets": subsets,
        "epochs": epochs,
    }
    if options.teacher:
        facts["teacher"] = teacher
    made: Objective = build(OBJECTIVES, Objective, options, facts)
    return made
