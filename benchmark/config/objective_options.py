"""The options of each objective, a typed section of `RunConfig` told apart by its `name`.

    objective: {name: passion, tau: 8, beta: false}

An option that could not change the numbers is an error: two runs that differ in it alone would be the same.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from bench_schema import Frozen, refuse
from benchmark.config.sections import Arguments, kind_of, origin_of
from passion import OBJECTIVES

Policy = Literal["idt", "idt_drop", "pdt"]


class _Objective(Frozen):
    warmup_epochs: int = Field(0, ge=0)

    def options(self) -> dict[str, Any]:
        """Return what `passion.create` takes beside the name."""
        return self.model_dump(exclude={"name"})


class _WithPolicy(_Objective):
    policy: Policy = "idt"


class BaselineConfig(_WithPolicy):
    """The task losses alone.

    `policy`: what a training case shows of itself: `idt` its fixed set of modalities, `idt_drop` a random
    subset of it, `pdt` a random subset of all. `warmup_epochs`: epochs of the uni-modal loss alone.
    """

    name: Literal["baseline"] = "baseline"


class PassionConfig(_WithPolicy):
    """PASSION: self-distillation weighted by relative preference (symbols as in the paper).

    `variant`: `released` follows the released code with its errors mended, `paper` the paper's text. `pixel`,
    `semantic`, `delta`, `beta`: its four parts. `preference`: the distance that relative preference goes by.
    """

    name: Literal["passion"] = "passion"
    variant: Literal["released", "paper"] = "released"
    lambda1: float = Field(0.5, ge=0)
    lambda2: float = Field(0.1, ge=0)
    tau: float = Field(4.0, gt=0)
    eta: float = Field(0.01, ge=0)
    pixel: bool = True
    semantic: bool = True
    delta: bool = True
    beta: bool = True
    preference: Literal["prototype", "dice", "kl"] = "prototype"

    @model_validator(mode="after")
    def _check_effect(self) -> "PassionConfig":
        if not (self.pixel or self.semantic or self.delta or self.beta):
            raise ValueError(
                "pixel, semantic, delta and beta are off, nothing of PASSION is left: use objective baseline"
            )
        if self.delta and self.variant == "paper" and not self.semantic:
            why = "in variant paper it gates proto alone, and semantic is off; set delta: false"
            refuse({("delta",): f"has no effect: {why}"})
        idle = {
            "lambda1": (not self.pixel, "pixel is off"),
            "lambda2": (not self.semantic, "semantic is off"),
            "tau": (not self.pixel and self.preference != "kl", "pixel is off"),
            "eta": (not self.beta, "beta is off"),
            "preference": (not (self.delta or self.beta), "delta and beta are off"),
        }
        for name, (off, why) in idle.items():
            if off and getattr(self, name) != type(self).model_fields[name].default:
                refuse({(name,): f"has no effect: {why}; leave it out"})
        return self


class ModDropConfig(_Objective):
    """The baseline on a random part of what each case has."""

    name: Literal["moddrop"] = "moddrop"
    policy: ClassVar[Policy] = "idt_drop"


class PMRConfig(_WithPolicy):
    """Prototypical modal rebalance. `alpha`: weight of the prototypical cross entropy."""

    name: Literal["pmr"] = "pmr"
    alpha: float = Field(1.0, gt=0)


class DistillationConfig(_WithPolicy):
    """Distillation from a frozen teacher, a `baseline` run of the same grid that is done first.

    `teacher_data`: what the teacher learns from: `imperfect`, the student's own data, or `complete`, every
    modality of every case (an upper bound). `lambda1`: weight of the distillation, `tau`: its temperature.
    """

    name: Literal["kd"] = "kd"
    teacher_data: Literal["imperfect", "complete"] = "imperfect"
    lambda1: float = Field(0.5, gt=0)
    tau: float = Field(4.0, gt=0)

    def options(self) -> dict[str, Any]:
        """Return what `passion.create` takes beside the name and the teacher itself."""
        return self.model_dump(exclude={"name", "teacher_data"})


class GradNormConfig(_WithPolicy):
    """GradNorm. `alpha`: how strongly slow modalities are favoured (0: equal gradients)."""

    name: Literal["gradnorm"] = "gradnorm"
    alpha: float = Field(1.5, ge=0)


class DWAConfig(_WithPolicy):
    """Dynamic weight average. `temperature`: the higher, the more equal the weights."""

    name: Literal["dwa"] = "dwa"
    temperature: float = Field(2.0, gt=0)


class UncertaintyConfig(_WithPolicy):
    """Uncertainty weighting."""

    name: Literal["uncertainty"] = "uncertainty"


class PCGradConfig(_WithPolicy):
    """Gradient surgery."""

    name: Literal["pcgrad"] = "pcgrad"


class PluginObjective(_WithPolicy):
    """An objective of another package, by its entry point or as `module:Class`; `arguments` are its keywords.

    `origin` is filled in: the class, and the version of its package if it is installed.
    """

    name: str
    origin: str = ""
    arguments: Arguments = Field(default_factory=dict)

    @field_validator("origin")
    @classmethod
    def _fill_in(cls, origin: str, info: ValidationInfo) -> str:
        return origin_of(OBJECTIVES, info.data["name"], origin)

    def options(self) -> dict[str, Any]:
        """Return what `passion.create` takes beside the name; policy and warm-up where they are chosen."""
        return {
            **self.model_dump(include={"policy", "warmup_epochs"}, exclude_defaults=True),
            **self.arguments,
        }


_OwnObjective = Annotated[
    BaselineConfig
    | PassionConfig
    | ModDropConfig
    | PMRConfig
    | DistillationConfig
    | GradNormConfig
    | DWAConfig
    | UncertaintyConfig
    | PCGradConfig,
    Field(discriminator="name"),
]
ObjectiveConfig = Annotated[
    Annotated[_OwnObjective, Tag("own")] | Annotated[PluginObjective, Tag("plugin")],
    Discriminator(kind_of(OBJECTIVES)),
]
