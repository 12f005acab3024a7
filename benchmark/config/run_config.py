"""What one run is: `RunConfig`, a frozen, typed tree whose hash is the run's identity.

    config = RunConfig.model_validate({"dataset": "phantom", "objective": {"name": "baseline"}})
    config.hash, config.name

Only what can change the numbers stands here; device, workers and tracking do not. An option that a
backbone or an objective does not have is an error, not ignored.
"""

import json
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from bench_schema import Frozen, Location, refuse
from benchmark.config.backbone_options import BackboneConfig, OwnBackbone
from benchmark.config.objective_options import (
    BaselineConfig,
    DistillationConfig,
    ObjectiveConfig,
    PassionConfig,
)
from datasets.batches.split import check_policy
from datasets.missingness.degrade import Degradation
from datasets.vocabulary import profile_label

Precision = Literal["fp32", "bf16", "fp16"]


class TrainConfig(Frozen):
    """Optimisation: one epoch is every training case once.

    `crop`: edge of the training crop in voxels. `label_share`: share of crops centred on a labelled voxel.
    `augment`: the published augmentation, its intensity change per channel or as `released` (per slice).
    `recompute`: compute feature maps again in the backward pass instead of keeping them: slower, a fraction
    of the memory.
    """

    epochs: int = Field(300, ge=1)
    batch_size: int = Field(1, ge=1)
    crop: int = Field(80, ge=16, multiple_of=16)
    lr: float = Field(2e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    label_share: float = Field(0.0, ge=0, le=1)
    augment: bool | Literal["released"] = True
    recompute: bool = Field(False, exclude_if=lambda value: value is False)


class TestConfig(Frozen):
    """Testing: sliding windows of edge `window` (default: the training crop) at half-window strides.

    `select`: `last` tests the last epoch, as published; `best` the epoch with the highest mean Dice on the
    validation cases, looked at every `validate_every` epochs. `outside`: leave it out to test as published,
    with the modalities outside a subset absent; `noise-2`, say, shows them in that quality instead.
    """

    __test__ = False  # a configuration, not a test class

    window: int | None = Field(None, ge=16, multiple_of=16)
    metrics: Literal["passion", "brats", "nan-free"] = "passion"
    select: Literal["last", "best"] = "last"
    validate_every: int | None = Field(None, ge=1)
    outside: str | None = Field(None, exclude_if=lambda value: value is None)

    @field_validator("outside")
    @classmethod
    def _check_outside(cls, value: str | None) -> str | None:
        return value and str(Degradation.parse(value))


NAMED = ("backbone", "objective")
"""The sections that are told apart by a name."""


class RunConfig(Frozen):
    """Everything that decides the numbers of one run.

    `dataset`: name of the study and of its store. `profile`: who lacks what (mr2468, complete, FILE.yaml,
    csv:FILE); grids follow a file by its digest, so that its content is part of the hash.
    `split`: `auto` is the official split or a seeded one; `fold0of5` to `fold4of5` are a cross-validation's;
    `same` trains and tests on every case.
    `precision`: of the networks, in training and testing; losses, softmax and weights are fp32 always.
    """

    dataset: str = "phantom"
    profile: str = "mr2468"
    backbone: BackboneConfig = OwnBackbone()
    objective: ObjectiveConfig = PassionConfig()
    train: TrainConfig = TrainConfig()
    test: TestConfig = TestConfig()
    split: Annotated[str, AfterValidator(check_policy)] = "auto"
    precision: Precision = "fp32"
    seed: int = Field(1037, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _expand_names(cls, data: Any) -> Any:
        """Read ``backbone: rfnet`` as ``backbone: {name: rfnet}``, and the objective likewise."""
        if not isinstance(data, dict):
            return data
        return {**data, **{key: {"name": data[key]} for key in NAMED if isinstance(data.get(key), str)}}

    @model_validator(mode="after")
    def _check_combination(self) -> "RunConfig":
        problems: dict[Location, str] = {}
        if self.test.validate_every and self.test.select == "last":
            problems["test", "validate_every"] = (
                "has no effect with select: last; use select: best or leave it out"
            )
        if self.objective.policy == "pdt" and self.profile != "complete":
            problems["objective", "policy"] = (
                f"pdt trains on complete cases, found profile {self.profile}: set profile: complete"
            )
        if self.objective.warmup_epochs >= self.train.epochs:
            problems["objective", "warmup_epochs"] = (
                f"is {self.objective.warmup_epochs} of {self.train.epochs} epochs: the networks would never "
                "learn to fuse; lower it"
            )
        if self.profile == "complete" and getattr(self.objective, "teacher_data", "") == "complete":
            problems["objective", "teacher_data"] = (
                "has no effect: the profile is complete anyway; leave it out"
            )
        refuse(problems)
        return self

    @property
    def window(self) -> int:
        """Edge of the test windows in voxels."""
        return self.test.window or self.train.crop

    @property
    def teacher(self) -> "RunConfig | None":
        """The run whose weights teach this one; None for objectives without a separate teacher."""
        if not isinstance(self.objective, DistillationConfig):
            return None
        imperfect = self.objective.teacher_data == "imperfect"
        objective = BaselineConfig(
            policy=self.objective.policy if imperfect else "pdt", warmup_epochs=self.objective.warmup_epochs
        )
        profile = self.profile if imperfect else "complete"
        return self.model_copy(update={"objective": objective, "profile": profile})

    @cached_property
    def hash(self) -> str:
        """First 10 hex digits of the SHA-256 of the resolved configuration, the teacher's included."""
        content = self.model_dump(mode="json")
        if self.teacher:
            content["teacher"] = self.teacher.hash
        text = json.dumps(content, sort_keys=True)
        return sha256(text.encode()).hexdigest()[:10]

    @property
    def name(self) -> str:
        """A readable name, not unique: ``phantom-rfnet-passion-mr2468-s1037``."""
        own = self.objective.options().get("policy", "idt")
        policy = {"idt": "", "idt_drop": "-drop", "pdt": "-pdt"}[own]
        profile = profile_label(self.profile)
        if self.split.startswith("fold"):
            profile += f"-{self.split}"
        backbone, objective = (s.name.rpartition(":")[2] for s in (self.backbone, self.objective))
        return f"{self.dataset}-{backbone}-{objective}{policy}-{profile}-s{self.seed}"

    @property
    def folder(self) -> str:
        """The name of its run folder, unique by its hash."""
        return f"{self.name}-{self.hash}"

    def __hash__(self) -> int:
        return int(self.hash, 16)

    def __copy__(self) -> "RunConfig":
        copied = super().__copy__()
        copied.__dict__.pop("hash", None)  # copies are made to be changed: see model_copy
        return copied
