"""What one run is: `RunConfig`, a frozen, typed tree whose hash is the run's identity.

    config = RunConfig.model_validate({"dataset": "phantom", "objective": {"name": "baseline"}})
    config.hash, config.name

Only what can change the numbers stands here; device, workers and tracking do not. An option that a
backbone or an objective does not have is an error, not ignored. A network of MONAI and what comes from other
packages take their options under `arguments`.
"""

import json
from collections.abc import Callable
from difflib import get_close_matches
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from backbones import BACKBONES
from bench_registry import Registry
from passion import OBJECTIVES

Policy = Literal["idt", "idt_drop", "pdt"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _check_options(cls, data: Any) -> Any:
        known = list(cls.model_fields)
        wrong = [str(key) for key in data if key not in known] if isinstance(data, dict) else []
        if wrong:
            near = get_close_matches(wrong[0], known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "remove it;"
            raise PydanticCustomError(
                "unknown_option",
                "{hint} known are {known}",
                {"option": wrong[0], "hint": hint, "known": ", ".join(known)},
            )
        return data


class BackboneConfig(_Frozen):
    """One of our networks. `width`: channels of the first level (8: as published)."""

    name: str = "rfnet"
    width: int = Field(8, ge=1)


class MonaiConfig(_Frozen):
    """A network of MONAI, `monai:SwinUNETR` say, by early fusion.

    `presence_code`: learn a code for which modalities are there. `arguments`: the network's own.
    """

    name: str
    presence_code: bool = False
    arguments: dict[str, JsonValue] = {}


class PluginConfig(_Frozen):
    """A network of another package, by its entry point or as `module:Class`.

    `arguments`: keywords of its class. `origin` is filled in: the class, and the package's version if there
    is one, so that a run is not mistaken for one of another version.
    """

    name: str
    origin: str = ""
    arguments: dict[str, JsonValue] = {}

    @field_validator("origin")
    @classmethod
    def _fill_in(cls, origin: str, info: ValidationInfo) -> str:
        return _origin(BACKBONES, info.data.get("name", ""), origin)


def _origin(registry: Registry, name: str, recorded: str) -> str:
    found = registry.origin(registry.check(name))
    if recorded not in ("", found):
        raise ValueError(
            f"{registry.kind} {name} was {recorded} when the run was begun and is {found} now: install that "
            "again, or remove the run folder to start afresh"
        )
    return found


def _kind(registry: Registry) -> Callable[[Any], str]:
    """Return the discriminator of a section: whether its name is ours, of a family, or a plugin's."""

    def kind(value: Any) -> str:
        name = value.get("name", "") if isinstance(value, dict) else getattr(value, "name", "")
        return registry.kind_of(name) if isinstance(name, str) else "own"

    return kind


class BaselineConfig(_Frozen):
    """The task losses alone.

    `policy`: what a training case shows of itself: `idt` its fixed set of modalities, `idt_drop` a random
    subset of it, `pdt` a random subset of all. `warmup_epochs`: epochs of the uni-modal loss alone.
    """

    name: Literal["baseline"] = "baseline"
    policy: Policy = "idt"
    warmup_epochs: int = Field(0, ge=0)


class PassionConfig(_Frozen):
    """PASSION: self-distillation weighted by relative preference (symbols as in the paper).

    `variant`: `released` follows the released code with its errors mended, `paper` the paper's text.
    """

    name: Literal["passion"] = "passion"
    policy: Policy = "idt"
    variant: Literal["released", "paper"] = "released"
    lambda1: float = Field(0.5, ge=0)
    lambda2: float = Field(0.1, ge=0)
    tau: float = Field(4.0, gt=0)
    eta: float = Field(0.01, ge=0)
    warmup_epochs: int = Field(0, ge=0)


ObjectiveConfig = Annotated[BaselineConfig | PassionConfig, Field(discriminator="name")]


class PluginObjectiveConfig(_Frozen):
    """An objective of another package: see `PluginConfig`, and `BaselineConfig` for policy and warm-up."""

    name: str
    policy: Policy = "idt"
    warmup_epochs: int = Field(0, ge=0)
    origin: str = ""
    arguments: dict[str, JsonValue] = {}

    @field_validator("origin")
    @classmethod
    def _fill_in(cls, origin: str, info: ValidationInfo) -> str:
        return _origin(OBJECTIVES, info.data.get("name", ""), origin)


class TrainConfig(_Frozen):
    """Optimisation: one epoch is every training case once.

    `crop`: edge of the training crop in voxels. `label_share`: share of crops centred on a labelled voxel.
    `augment`: the published augmentation, its intensity change per channel or as `released` (per slice).
    """

    epochs: int = Field(300, ge=1)
    batch_size: int = Field(1, ge=1)
    crop: int = Field(80, ge=16, multiple_of=16)
    lr: float = Field(2e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    label_share: float = Field(0.0, ge=0, le=1)
    augment: bool | Literal["released"] = True


class TestConfig(_Frozen):
    """Testing: sliding windows of edge `window` (default: the training crop) at half-window strides.

    `select`: `last` tests the last epoch, as published; `best` the epoch with the highest mean Dice on the
    validation cases, looked at every `validate_every` epochs.
    """

    __test__ = False  # a configuration, not a test class

    window: int | None = Field(None, ge=16, multiple_of=16)
    metrics: Literal["passion", "brats", "nan-free"] = "passion"
    select: Literal["last", "best"] = "last"
    validate_every: int | None = Field(None, ge=1)


class RunConfig(_Frozen):
    """Everything that decides the numbers of one run.

    `dataset`: name of the study and of its store. `profile`: who lacks what (mr2468, complete, csv:FILE).
    `split`: `auto` is the official split or a seeded one; `same` trains and tests on every case.
    """

    dataset: str = "phantom"
    profile: str = "mr2468"
    backbone: Annotated[
        Annotated[BackboneConfig, Tag("own")]
        | Annotated[MonaiConfig, Tag("monai")]
        | Annotated[PluginConfig, Tag("plugin")],
        Discriminator(_kind(BACKBONES)),
    ] = BackboneConfig()
    objective: Annotated[
        Annotated[ObjectiveConfig, Tag("own")] | Annotated[PluginObjectiveConfig, Tag("plugin")],
        Discriminator(_kind(OBJECTIVES)),
    ] = PassionConfig()
    train: TrainConfig = TrainConfig()
    test: TestConfig = TestConfig()
    split: Literal["auto", "same"] = "auto"
    seed: int = Field(1037, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _expand_names(cls, data: Any) -> Any:
        """Read ``backbone: rfnet`` as ``backbone: {name: rfnet}``, and the objective likewise."""
        if not isinstance(data, dict):
            return data
        short = {k: {"name": data[k]} for k in _NAMED if isinstance(data.get(k), str)}
        return {**data, **short}

    @model_validator(mode="after")
    def _check_combination(self) -> "RunConfig":
        if self.test.validate_every and self.test.select == "last":
            raise ValueError(
                "test.validate_every has no effect with select: last; use select: best or leave it out"
            )
        if self.objective.policy == "pdt" and self.profile != "complete":
            raise ValueError(
                f"policy pdt trains on complete cases, found profile {self.profile}: set profile: complete"
            )
        if self.objective.warmup_epochs >= self.train.epochs:
            raise ValueError(
                f"objective.warmup_epochs is {self.objective.warmup_epochs} of {self.train.epochs} epochs: "
                "the networks would never learn to fuse; lower it"
            )
        return self

    @property
    def window(self) -> int:
        """Edge of the test windows in voxels."""
        return self.test.window or self.train.crop

    @property
    def hash(self) -> str:
        """First 10 hex digits of the SHA-256 of the resolved configuration."""
        text = json.dumps(self.model_dump(), sort_keys=True)
        return sha256(text.encode()).hexdigest()[:10]

    @property
    def name(self) -> str:
        """A readable name, not unique: ``phantom-rfnet-passion-mr2468-s1037``."""
        policy = {"idt": "", "idt_drop": "-drop", "pdt": "-pdt"}[self.objective.policy]
        profile = self.profile.removeprefix("csv:").replace("/", "_")
        dataset, backbone, objective = (
            name.rpartition(":")[2] for name in (self.dataset, self.backbone.name, self.objective.name)
        )
        return f"{dataset}-{backbone}-{objective}{policy}-{profile}-s{self.seed}"

    def __hash__(self) -> int:
        return int(self.hash, 16)


_NAMED = ("backbone", "objective")


def keywords(section: BaseModel) -> dict[str, Any]:
    """Return what the backbone or objective of a section is built with, beside the facts of the study.

    A plugin's objective is given policy and warm-up only where they are not the default: it need not have
    them.
    """
    options = section.model_dump(
        exclude={"name", "origin", "arguments"}, exclude_defaults=isinstance(section, PluginObjectiveConfig)
    )
    return {**options, **getattr(section, "arguments", {})}


def readable_errors(errors: list[Any]) -> str:
    """Put pydantic's list of errors into one line: ``train.epochs: Input should be ... (found -1)``."""
    parts = []
    for error in errors:
        place = ".".join(_place(error["loc"]))
        if error["type"] == "unknown_option":
            option = ".".join((place, error["ctx"]["option"])).lstrip(".")
            parts.append(f"{option}: no such option here, {error['msg']}")
        elif error["type"] == "value_error":
            parts.append(error["msg"].removeprefix("Value error, "))
        else:
            parts.append(f"{place}: {error['msg']} (found {error['input']!r})")
    return "; ".join(parts)


def _place(location: tuple[Any, ...]) -> list[str]:
    """The keys that lead to an error, without the kinds that pydantic puts in where sections have several."""
    parts = [str(p) for p in location]
    if parts[:1] and parts[0] in _NAMED:
        kinds = {"own", "monai", "plugin", *OBJECTIVES}
        while len(parts) > 1 and parts[1] in kinds:
            del parts[1]
    return parts
