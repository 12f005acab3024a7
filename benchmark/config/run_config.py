"""What one run is: `RunConfig`, a frozen, typed tree whose hash is the run's identity.

    config = RunConfig.model_validate({"dataset": "phantom", "objective": {"name": "baseline"}})
    config.hash, config.name

Only what can change the numbers stands here; device, workers and tracking do not. An option that a
backbone or an objective does not have is an error, not ignored.
"""

import json
from collections.abc import Sequence
from functools import cached_property, partial
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from backbones import BACKBONES
from bench_edges import Edges
from bench_options import KeywordOptions, MethodOptions, read_options
from bench_schema import Frozen, Location, refuse
from bench_yaml import Document
from benchmark.config.editions import current_layout
from benchmark.config.initial_weights import split_digest
from benchmark.evaluation.metrics import DEFAULT_METRICS, Scoring, find_policy
from datasets.batches.split import check_policy, repeats
from datasets.missingness.degrade import Degradation
from datasets.missingness.quotas import RELEASED_SEED
from datasets.vocabulary import Subset, parse_subset, profile_label
from passion import OBJECTIVES
from passion.options import KeywordObjectiveOptions, ObjectiveOptions

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


def _different(edges: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(edges)) == 1:
        raise ValueError(f"the edges {list(edges)} are all the same: give one, {edges[0]}")
    return edges


Edge = Annotated[int, Field(ge=16, multiple_of=16)]
CropEdges = Annotated[
    Annotated[Edge, Tag("edge")]
    | Annotated[
        tuple[Edge, ...],
        Field(strict=False, min_length=2, max_length=3),
        AfterValidator(_different),
        Tag("edges"),
    ],
    Discriminator(lambda value: "edges" if isinstance(value, (list, tuple)) else "edge"),
]
"""Of a crop or window in voxels: one edge for all axes, or an edge for each, such as [80, 160, 160]."""


class TrainConfig(Frozen):
    """Optimisation: one epoch is every training case once, or a number of steps.

    `epochs`: how many. `batch_size`: cases of a step. `steps_per_epoch`: steps of an epoch with a whole batch
    each, which go through the cases again and again (None: every case once). `optimiser`: `sgd` has Nesterov
    momentum 0.99. `amsgrad`: of adamw and adam. `lr`, `weight_decay`: of the optimiser. `schedule`: of the
    learning rate over the epochs: `poly` falls with exponent 0.9, as published, `cosine` as half a cosine.
    `init`: weights to start from: a finished run folder, a model
    folder, or a .safetensors or .pth file; grids follow it by its digest, which alone is part of the hash.
    `crop`: edge of the training crop in voxels, or an edge an axis. `label_share`: share of crops centred on
    a labelled voxel. `augment`: the published augmentation, its intensity change per channel or, as
    `released`, per slice (in 2-D: per row).
    `recompute`: compute feature maps again in the backward pass instead of keeping them: slower, a fraction
    of the memory. `compile`: compute parts of the network by `torch.compile`, whose sums round otherwise.
    `select`: `last` ends with the last epoch's weights, as published; `best` with those of the
    epoch with the highest mean Dice on the validation cases. `validate_every`: after how many epochs they are
    looked at (None: 10 with `best`, never with `last`); with `last` they only give the curve
    of a report.
    `subset`: leave it out for one network for all subsets; `flair+t1ce` trains one dedicated to this subset:
    on the cases that have it, shown nothing else and tested on it alone. In a grid `all` is a run for each.
    """

    epochs: int = Field(300, ge=1)
    batch_size: int = Field(1, ge=1)
    steps_per_epoch: int | None = Field(None, ge=1, exclude_if=lambda value: value is None)
    crop: CropEdges = 80
    init: str | None = Field(None, min_length=1, exclude_if=lambda value: value is None)
    optimiser: Literal["adamw", "adam", "sgd", "radam"] = Field(
        "adamw", exclude_if=lambda value: value == "adamw"
    )
    amsgrad: bool = Field(True, exclude_if=lambda value: value is True)
    schedule: Literal["poly", "constant", "cosine"] = Field("poly", exclude_if=lambda value: value == "poly")
    lr: float = Field(2e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    label_share: float = Field(0.0, ge=0, le=1)
    augment: bool | Literal["released"] = True
    recompute: bool = Field(False, exclude_if=lambda value: value is False)
    compile: bool = Field(False, exclude_if=lambda value: value is False)
    select: Literal["last", "best"] = "last"
    validate_every: int | None = Field(None, ge=1)
    subset: str | None = Field(None, exclude_if=lambda value: value is None)

    def samples(self, cases: int) -> int:
        """How many samples an epoch has where so many cases train, or slices of them."""
        return self.steps_per_epoch * self.batch_size if self.steps_per_epoch else cases

    def steps(self, cases: int) -> int:
        """How many steps an epoch has."""
        return -(-self.samples(cases) // self.batch_size)

    @property
    def looks_every(self) -> int | None:
        """How many epochs lie between two looks at the validation cases; None: there are none."""
        return self.validate_every or (10 if self.select == "best" else None)


ObjectiveSection = Annotated[
    SerializeAsAny[ObjectiveOptions],
    BeforeValidator(partial(read_options, OBJECTIVES, KeywordObjectiveOptions)),
]


class PretrainConfig(Frozen):
    """The run that is done first, from whose weights this one starts: this one but for what stands here.

    `objective`: what it is trained by, such as `mae`. `train`: those options of its training that are others;
    `select` and `validate_every` are not taken over.
    """

    objective: ObjectiveSection
    train: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_name(cls, data: Any) -> Any:
        """Read ``objective: mae`` as ``objective: {name: mae}``."""
        if isinstance(data, dict) and isinstance(data.get("objective"), str):
            return {**data, "objective": {"name": data["objective"]}}
        return data

    def options(self, train: TrainConfig) -> TrainConfig:
        """Return the options of its training, from those of the run that starts from it."""
        taken = train.model_dump(exclude={"select", "validate_every"})
        return TrainConfig.model_validate({**taken, **self.train})


class TestConfig(Frozen):
    """Testing; nothing here trains again.

    `window`: edge or edges of the sliding windows (default: the training crop), at half-window strides.
    `policy`: the rules of the metrics. `metrics`: what to compute. `slices`, `empty_slices`: of studies that
    are treated slice by slice, whether slices or volumes are scored, and whether slices without the region
    count; see `metrics.Scoring`. `outside`: leave it out to test as published, with the modalities outside a
    subset absent; `noise-2`, say, shows them in that quality instead. `flips`: average the probabilities over
    the flips of all axes, 8 in 3-D and 4 in 2-D, for so many times the work.
    """

    __test__ = False  # a configuration, not a test class

    window: CropEdges | None = None
    policy: Annotated[str, AfterValidator(lambda name: find_policy(name).name)] = "passion"
    metrics: Annotated[tuple[str, ...], Field(strict=False)] = DEFAULT_METRICS
    slices: Literal["per-slice", "per-volume"] = "per-slice"
    empty_slices: Literal["keep", "skip"] = "keep"
    outside: str | None = Field(None, exclude_if=lambda value: value is None)
    flips: bool = Field(False, exclude_if=lambda value: value is False)

    @field_validator("outside")
    @classmethod
    def _check_outside(cls, value: str | None) -> str | None:
        return value and str(Degradation.parse(value))

    @model_validator(mode="after")
    def _check_scoring(self) -> "TestConfig":
        Scoring.of(self.model_dump())
        return self


NAMED = {"backbone": "rfnet", "objective": "passion"}
"""The sections whose options are those of a name, with the name where there is none."""


class RunConfig(Frozen):
    """Everything that decides the numbers of one run: a training, and a test of it.

    `dataset`: name of the study and of its store; `description` is filled in: the digest of what is known of
    the study (see `Description.digest`). `profile`: who lacks what (mr2468, complete, FILE.yaml,
    csv:FILE); grids follow a file by its digest, so that its content is part of the hash. `table_seed`: of
    the profile's draws, 1037 in the released tables.
    `split`: `auto` is the published split, or a seeded one where none is published; `published+rest` trains
    on cases that the published one does not name; `uhved1` and the like are published splits of one dataset;
    `random` is seeded; `fold0of5` to `fold4of5` are a cross-validation's, `leave0of5` to `leave4of5` are one
    without validation; `same` trains and tests on every case.
    `backbone`, `objective`: a name, or a mapping with `name` and the options of that. `train`: how it learns.
    `pretrain`: the run whose weights this one starts from; without it, they are drawn. `test`: how it is
    tested. `seed`: of weights, crops, order, subsets and augmentation.
    `precision`: of the networks, in training and testing; losses, softmax and weights are fp32 always. `tf32`
    lets a GPU round the factors of products to 10 bits, which `fp32` does not.
    """

    dataset: str = "phantom"
    profile: str = "mr2468"
    table_seed: int = Field(RELEASED_SEED, ge=0, lt=2**32, exclude_if=lambda seed: seed == RELEASED_SEED)
    backbone: Annotated[
        SerializeAsAny[MethodOptions], BeforeValidator(partial(read_options, BACKBONES, KeywordOptions))
    ]
    objective: ObjectiveSection
    train: TrainConfig = TrainConfig()
    pretrain: PretrainConfig | None = Field(None, exclude_if=lambda value: value is None)
    test: TestConfig = TestConfig()
    split: Annotated[str, AfterValidator(check_policy)] = "auto"
    precision: Precision = "fp32"
    description: str = ""
    seed: int = Field(1037, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_names(cls, data: Any) -> Any:
        """Read ``backbone: mmformer`` as ``backbone: {name: mmformer}``, and a section without a name."""
        if not isinstance(data, dict):
            return data
        sections = {key: data.get(key, {}) for key in NAMED}
        for key, section in sections.items():
            if isinstance(section, str):
                sections[key] = {"name": section}
            elif isinstance(section, dict):
                sections[key] = {"name": NAMED[key], **section}
        return {**data, **sections}

    @model_validator(mode="after")
    def _check_combination(self) -> "RunConfig":
        problems = self._problems_of(self.objective, self.train)
        if self.pretrain:
            if self.train.init:
                problems["train", "init"] = "has no effect with pretrain; leave one of the two out"
            try:
                pretrained = self.pretrain.options(self.train)
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    problems["pretrain", "train", *detail["loc"]] = detail["msg"]
            else:
                if pretrained.init:
                    problems["pretrain", "train", "init"] = "a pre-training starts afresh; leave it out"
                found = self._problems_of(self.pretrain.objective, pretrained)
                problems |= {("pretrain", *keys): text for keys, text in found.items()}
        if self.table_seed != RELEASED_SEED and (
            self.profile == "complete" or self.profile.startswith("csv:")
        ):
            raise ValueError(f"table_seed has no effect: profile {self.profile} draws nothing; leave it out")
        if self.profile == "complete" and getattr(self.objective, "teacher_data", "") == "complete":
            problems["objective", "teacher_data"] = (
                "has no effect: the profile is complete anyway; leave it out"
            )
        refuse(problems)
        return self

    def _problems_of(self, objective: ObjectiveOptions, train: TrainConfig) -> dict[Location, str]:
        """What is wrong with the objective of this run, or of the one that it starts from."""
        problems: dict[Location, str] = {}
        if train.subset and objective.policy != "idt":
            problems["train", "subset"] = (
                f"a dedicated network is shown its subset alone, found policy {objective.policy}: leave the "
                "policy out, or the subset"
            )
        if objective.policy == "pdt" and self.profile != "complete":
            problems["objective", "policy"] = (
                f"pdt trains on complete cases, found profile {self.profile}: set profile: complete"
            )
        if not train.amsgrad and train.optimiser in ("sgd", "radam"):
            problems["train", "amsgrad"] = f"has no effect with optimiser: {train.optimiser}; leave it out"
        if train.looks_every and not objective.segments:
            option = "select" if train.select == "best" else "validate_every"
            problems["train", option] = f"{objective.name} segments nothing to validate: leave it out"
        if objective.warmup_epochs >= train.epochs:
            problems["objective", "warmup_epochs"] = (
                f"is {objective.warmup_epochs} of {train.epochs} epochs: the networks would never "
                "learn to fuse; lower it"
            )
        return problems

    @property
    def window(self) -> Edges:
        """Edge or edges of the test windows in voxels."""
        return self.test.window or self.train.crop

    @property
    def teacher(self) -> "RunConfig | None":
        """The run whose weights teach this one; None for objectives without a separate teacher."""
        objective = self.objective.teacher
        if objective is None:
            return None
        taught = self.model_copy(update={"objective": objective})
        if objective.policy != "pdt":
            return taught
        train = self.train.model_copy(update={"subset": None})
        complete = {"profile": "complete", "table_seed": RELEASED_SEED, "train": train}
        return taught.model_copy(update=complete)

    def subset(self, modalities: Sequence[str]) -> Subset | None:
        """Return the subset that the network is dedicated to; None: it is for all."""
        return parse_subset(self.train.subset, modalities) if self.train.subset else None

    @property
    def pretraining(self) -> "RunConfig | None":
        """The run from whose weights this one starts; None where they are drawn."""
        if self.pretrain is None:
            return None
        train = self.pretrain.options(self.train)
        return self.model_copy(
            update={"objective": self.pretrain.objective, "train": train, "pretrain": None}
        )

    @property
    def needs(self) -> tuple["RunConfig", ...]:
        """The runs that have to be done before this one."""
        return tuple(run for run in (self.pretraining, self.teacher) if run)

    @cached_property
    def hash(self) -> str:
        """First 10 hex digits of the SHA-256 of what decides the training, with that of the runs it needs.

        The test is no part of it. The data are not either: a run folder says which it was begun with.
        """
        training = self.model_dump(mode="json", exclude={"test", "pretrain"})
        if self.train.init:
            training["train"]["init"] = split_digest(self.train.init)[1] or self.train.init
        if self.teacher:
            training["teacher"] = self.teacher.hash
        if self.pretraining:
            training["pretraining"] = self.pretraining.hash
        return digest(training)

    @property
    def test_name(self) -> str:
        """The name of the test within its training: ``passion-noise-2-1a2b3c4d5e``; empty without a test."""
        if not self.objective.segments:
            return ""
        settings = {**self.test.model_dump(), "window": self.window}
        return "-".join(filter(None, (self.test.policy, self.test.outside, digest(settings))))

    @property
    def name(self) -> str:
        """A readable name, not unique: ``phantom-rfnet-passion-mr2468-s1037``."""
        chosen = self.objective.model_dump().get("policy", "idt")
        policy = {"idt": "", "idt_drop": "-drop", "pdt": "-pdt"}[chosen]
        profile = profile_label(self.profile)
        if repeats(self.split):
            profile += f"-{self.split}"
        if self.table_seed != RELEASED_SEED:
            profile += f"-t{self.table_seed}"
        if self.train.subset:
            profile += f"-{self.train.subset}"
        backbone, objective = (s.name.rpartition(":")[2] for s in (self.backbone, self.objective))
        return f"{self.dataset}-{backbone}-{objective}{policy}-{profile}-s{self.seed}"

    @property
    def folder(self) -> str:
        """The name of its run folder: that of its training, unique by its hash."""
        return f"{self.name}-{self.hash}"

    def __hash__(self) -> int:
        return int(self.hash, 16)

    def __copy__(self) -> "RunConfig":
        copied = super().__copy__()
        copied.__dict__.pop("hash", None)  # copies are made to be changed: see model_copy
        return copied


def digest(content: Any) -> str:
    """First 10 hex digits of the SHA-256 of plain lists, dicts, strings and numbers."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def read_config(recorded: dict[str, Any], source: str) -> RunConfig:
    """Return the configuration that a run folder records; raise `InputError` where it is none."""
    return Document(current_layout(recorded), source).check(RunConfig)
