"""Study files: YAML that says what `bench tune` searches, on which runs, and for what.

    name, search = load_search("tune-passion")      # a shipped study, or the path of a YAML file
    search.grid(name, {"objective.tau": 8.0})     # the run of one trial, with its teacher where it has one

A file has `space` (key of a run's configuration -> a range or a list of choices), `base` (what all trials
share, as in a grid file), and optionally `about`, `data` (as in a grid file), `goal`, `validation`, `pruner`,
`sampler` and `seed`. The values of `base`, by default those of the paper, are tried first.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from bench_errors import InputError
from bench_schema import Frozen, Location, refuse
from bench_yaml import Document, read_named, read_yaml
from benchmark.config.grid import Grid, make_grid
from benchmark.config.run_config import RunConfig
from datasets.batches.split import Split
from datasets.randomness import generator

SPACES = Path(__file__).parent / "spaces"
MEASURES = ("dataset", "profile", "table_seed", "split", "seed", "test.policy", "test.outside")
"""Keys that say what a run is measured on or by: searching over them would not make it better."""
Choice = bool | int | float | str


class Range(Frozen):
    """All numbers from `low` to `high`: whole ones where both are written so. `log`: evenly in logarithms."""

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}: expected low < high")
        if self.log and self.low <= 0:
            raise ValueError(f"a range with log needs low > 0, found {self.low:g}: raise it")
        if self.log and self.step:
            raise ValueError("a range has log or step, not both: leave one out")
        if self.whole and self.step and self.step != int(self.step):
            raise ValueError(f"step {self.step:g} of whole numbers: write low and high with a point")
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class ValidationPlan(Frozen):
    """How a trial is looked at while it trains: every `every` epochs, on `cases` of the validation cases.

    Its value at the end is over all of them. A run with `train.select: best` or
    `train.validate_every` has looks of its own.
    """

    every: int = Field(10, ge=1)
    cases: int = Field(8, ge=1)

    @field_validator("cases", mode="before")
    @classmethod
    def _refuse_test(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(
                f"is '{value}', expected how many of the validation cases to look at; a study never sees the "
                "test cases"
            )
        return value


class MedianPruning(Frozen):
    """Give up what is below the median of `startup` or more trials, not before `first` epochs."""

    name: Literal["median"] = "median"
    startup: int = Field(5, ge=1)
    first: int = Field(0, ge=0)


class HalvingPruning(Frozen):
    """Successive halving: after `first` epochs, `first` * `factor`, ..., one in `factor` goes on."""

    name: Literal["asha", "hyperband"]
    first: int | None = Field(None, ge=1)
    factor: int = Field(3, ge=2)


class NoPruning(Frozen):
    """Every trial is trained to its end."""

    name: Literal["none"] = "none"


Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[list[Choice], Tag("choices")],
    Discriminator(lambda values: "choices" if isinstance(values, list) else "range"),
]
Pruning = Annotated[MedianPruning | HalvingPruning | NoPruning, Field(discriminator="name")]


class Search(Frozen):
    """A study file.

    `goal`: `mean` Dice over all subsets and regions on the validation cases, that of the `worst` subset, or
    `both`. `sampler`: `tpe` (multivariate; what runs counts as bad until it is done) or `random`.
    """

    about: str = ""
    space: dict[str, Values] = Field(min_length=1)
    base: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, dict[str, Any]] = Field(default_factory=dict)
    goal: Literal["mean", "worst", "both"] = "mean"
    validation: ValidationPlan = ValidationPlan()
    pruner: Pruning = MedianPruning()
    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = Field(0, ge=0)
    _file: Document = PrivateAttr(Document({}, "study"))

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: Any) -> Any:
        """Read ``pruner: asha`` as ``pruner: {name: asha}``; with two goals, do not prune unless asked to."""
        if not isinstance(data, dict):
            return data
        if data.get("goal") == "both":
            data = {"pruner": "none", **data}
        if isinstance(data.get("pruner"), str):
            data = {**data, "pruner": {"name": data["pruner"]}}
        return data

    @model_validator(mode="after")
    def _check(self) -> "Search":
        problems: dict[Location, str] = {}
        for key, values in self.space.items():
            if key in MEASURES:
                problems["space", key] = (
                    "is what a run is measured on or by, not what makes it better: put it into base"
                )
            elif isinstance(values, list) and _different(values) < max(len(values), 2):
                problems["space", key] = f"expected two or more different choices, found {values}"
        if self.goal == "both" and self.pruner.name != "none":
            problems["pruner",] = f"has no effect with goal: both, found {self.pruner.name}; leave it out"
        refuse(problems)
        return self

    @property
    def goals(self) -> tuple[str, ...]:
        """Titles of the objectives, in the order of a trial's values."""
        titles = {"mean": ("mean Dice",), "worst": ("Dice of the worst subset",)}
        return titles["mean"] + titles["worst"] if self.goal == "both" else titles[self.goal]

    def facts(self) -> dict[str, Any]:
        """What trials of one study have to have in common; sampler and pruner may change in between."""
        return self.model_dump(include={"space", "base", "data", "goal", "validation"}, mode="json")

    def grid(self, name: str, params: dict[str, Any]) -> Grid:
        """Return the grid of one trial, its last run the trial itself; `InputError` if it cannot be a run."""
        return _one_run(name, self._file, "space", params, self.base, self.data)

    def first(self, name: str) -> dict[str, Any]:
        """The values of `base` at the keys of the space, which are tried first.

        Raises `InputError` where one is not in the space.
        """
        config = self.grid(name, {}).configs[-1].model_dump()
        values = {}
        for key, known in self.space.items():
            found: Any = config
            for part in key.split("."):
                found = found.get(part) if isinstance(found, dict) else None
            if key in ("backbone", "objective"):
                found = found["name"]
            if found is None:
                continue
            if found not in known:
                raise self._file.error(
                    ("space", key),
                    f"{key} is {found!r} in base (or by default), which the space has not: the study tries "
                    "it first, so widen the space or set another in base",
                )
            if isinstance(known, Range):
                found = int(found) if known.whole else float(found)
            values[key] = found
        return values

    def check(self, name: str) -> None:
        """Try the ends of each range and every choice; raise `InputError` for what no run can have."""
        first = self.first(name)
        for key, known in self.space.items():
            for value in known if isinstance(known, list) else (known.low, known.high):
                self.grid(name, {**first, key: value})
        config = self.config(name)
        looks_at = config.train.looks_every or self.validation.every
        if config.train.looks_every and self.validation != ValidationPlan():
            raise self._file.error(
                ("validation",),
                "validation has no effect with train.select: best or train.validate_every, whose looks are "
                "at all validation cases: leave it out",
            )
        if config.train.looks_every and self.goal == "worst" and self.pruner.name != "none":
            raise self._file.error(
                ("goal",),
                "goal: worst judges a trial by its worst subset, the looks of train.select: best and "
                "train.validate_every by the mean of all: leave them out, or set pruner: none or goal: mean",
            )
        if self.pruner.name != "none" and looks_at >= config.train.epochs:
            raise self._file.error(
                ("validation",),
                f"pruner {self.pruner.name} has no effect, as the first look comes after {looks_at} of "
                f"{config.train.epochs} epochs: lower validation.every, or set pruner: none",
            )

    def config(self, name: str) -> RunConfig:
        """The run that is tried first."""
        return self.grid(name, {}).configs[-1]

    def looked_at(self, parts: Split) -> tuple[str, ...]:
        """The validation cases of a look while a trial trains: the same for all, drawn with the seed."""
        order = generator(self.seed, "validation cases").permutation(len(parts.val))
        return tuple(sorted(parts.val[i] for i in order[: self.validation.cases]))


def check_parts(name: str, parts: Split) -> None:
    """Raise `InputError` where a study has no validation cases or would see the test cases."""
    if not parts.val:
        raise InputError(
            f"study {name}: the split has no validation cases, and a study never sees the test cases: use a "
            "fold, such as split: fold0of5 in base"
        )
    if shared := sorted(set(parts.val) & set(parts.test)):
        raise InputError(
            f"study {name}: {len(shared)} validation cases are test cases ({shared[0]}), which a study never "
            "sees: use split: auto, or a fold"
        )


def load_parameters(path: Path, settings: Sequence[str] = ()) -> Grid:
    """Return the grid of the one run that a file of parameters is of, as a study writes it: `best.yaml`.

    It is of the study's folder, so that the trial's own run is tested instead of trained again. `settings`
    as in `load_grid`: another seed, say.
    """
    file = read_yaml("file of parameters", path, "give the best.yaml of a study")
    parameters = file.check(_Parameters)
    name, data = parameters.study, parameters.data
    return _one_run(name, file, "params", parameters.params, parameters.base, data, settings)


class _Parameters(Frozen):
    """What a study writes of its best trial."""

    study: str
    params: dict[str, Choice]
    base: dict[str, Any]
    data: dict[str, dict[str, Any]] = Field(default_factory=dict)


def _one_run(
    name: str,
    file: Document,
    section: str,
    params: dict[str, Any],
    base: dict[str, Any],
    data: dict[str, dict[str, Any]],
    settings: Sequence[str] = (),
) -> Grid:
    """Return the grid of one run; `params` stand in a section of the file, or in a range of it."""
    content = {"axes": {key: [value] for key, value in params.items()}, "base": base, "data": data}
    marks = dict(file.marks)
    marks |= {("axes", key): file.mark((section, key)) for key in params}
    return make_grid(name, Document(content, file.source, marks), settings)


def _different(values: Sequence[Choice]) -> int:
    return len({(isinstance(value, bool), value) for value in values})


def search_names() -> list[str]:
    """Names of the shipped studies."""
    return sorted(p.stem for p in SPACES.glob("*.yaml"))


def search_lines() -> list[tuple[str, str]]:
    """Names of the shipped studies, each with what it is about."""
    return [(name, load_search(name)[1].about) for name in search_names()]


def load_search(name_or_path: str) -> tuple[str, Search]:
    """Read a study file; return its name and what it says, or raise `InputError`."""
    file = read_named("study", name_or_path, SPACES)
    search = file.check(Search)
    search._file = file
    return Path(name_or_path).stem, search
