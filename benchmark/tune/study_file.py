"""Study files: YAML that says what `bench tune` searches, on which runs, and for what.

    name, plan = load_plan("tune-passion")      # a shipped study, or the path of a YAML file
    plan.grid(name, {"objective.tau": 8.0})     # the run of one trial, with its teacher where it has one

A file has `space` (key of a run's configuration -> a range or a list of choices), `base` (what all trials
share, as in a grid file), and optionally `about`, `data` (as in a grid file), `goal`, `validation`, `pruner`,
`sampler` and `seed`. The values of `base`, by default those of the paper, are tried first.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from bench_errors import InputError
from bench_options import Frozen, readable_errors
from bench_registry import unknown
from benchmark.config.grid import Grid, make_grid
from benchmark.config.grid_file import GridFile
from benchmark.config.run_config import RunConfig
from datasets.batches.split import Split
from datasets.randomness import generator

SPACES = Path(__file__).parent / "spaces"
MEASURES = ("dataset", "profile", "table_seed", "split", "seed", "test.policy", "test.outside")
"""Keys that say what a run is measured on or by: searching over them would not make it better."""
Number = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]
Choice = bool | Number | str


class Range(Frozen):
    """All numbers from `low` to `high`: whole ones where both are written so. `log`: evenly in logarithms."""

    low: Number
    high: Number
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

    Its value at the end is over all of them. A run with `train.select: best` has looks of its own.
    """

    every: int = Field(10, ge=1)
    cases: int = Field(8, ge=1)

    @field_validator("cases", mode="before")
    @classmethod
    def _refuse_test(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(
                f"validation.cases is '{value}', expected how many of the validation cases to look at; a "
                "study never sees the test cases"
            )
        return value


class MedianPlan(Frozen):
    """Give up what is below the median of `startup` or more trials, not before `first` epochs."""

    name: Literal["median"] = "median"
    startup: int = Field(5, ge=1)
    first: int = Field(0, ge=0)


class HalvingPlan(Frozen):
    """Successive halving: after `first` epochs, `first` * `factor`, ..., one in `factor` goes on."""

    name: Literal["asha", "hyperband"]
    first: int | None = Field(None, ge=1)
    factor: int = Field(3, ge=2)


class NoPruning(Frozen):
    """Every trial is trained to its end."""

    name: Literal["none"] = "none"


PrunerPlan = Annotated[MedianPlan | HalvingPlan | NoPruning, Field(discriminator="name")]


class Plan(Frozen):
    """A study file.

    `goal`: `mean` Dice over all subsets and regions on the validation cases, that of the `worst` subset, or
    `both`. `sampler`: `tpe` (multivariate; what runs counts as bad until it is done) or `random`.
    """

    about: str = ""
    space: dict[str, Range | list[Choice]] = Field(min_length=1)
    base: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, dict[str, Any]] = Field(default_factory=dict)
    goal: Literal["mean", "worst", "both"] = "mean"
    validation: ValidationPlan = ValidationPlan()
    pruner: PrunerPlan = MedianPlan()
    sampler: Literal["tpe", "random"] = "tpe"
    seed: int = Field(0, ge=0)

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
    def _check(self) -> "Plan":
        for key, values in self.space.items():
            if key in MEASURES:
                raise ValueError(
                    f"space: {key} says what a run is measured on or by, not how good it is: put it into base"
                )
            if isinstance(values, list) and (
                len(values) < 2 or any(v in values[:i] for i, v in enumerate(values))
            ):
                raise ValueError(f"space: {key}: expected two or more different choices, found {values}")
        if self.goal == "both" and self.pruner.name != "none":
            raise ValueError(f"pruner: {self.pruner.name} has no effect with goal: both; leave it out")
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
        return _one_run(name, params, self.base, self.data)

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
                raise InputError(
                    f"study {name}: {key} is {found!r} in base (or by default), which the space has not: "
                    "the study tries it first, so widen the space or set another in base"
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
                try:
                    self.grid(name, {**first, key: value})
                except InputError as error:
                    raise InputError(f"study {name}: space: {key}: {value}: {error}") from None
        config = self.config(name)
        looks_at = (
            config.train.validate_every or 10 if config.train.select == "best" else self.validation.every
        )
        if config.train.select == "best" and self.validation != ValidationPlan():
            raise InputError(
                f"study {name}: validation has no effect with train.select: best, whose looks are at all "
                "validation cases every test.validate_every epochs: leave it out"
            )
        if self.pruner.name != "none" and looks_at >= config.train.epochs:
            raise InputError(
                f"study {name}: pruner {self.pruner.name} has no effect, as the first look comes after "
                f"{looks_at} of {config.train.epochs} epochs: lower validation.every, or set pruner: none"
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
    content = _read(path, "file of parameters")
    keys = ("study", "params", "base", "data")
    if not {"study", "params", "base"} <= set(content) <= set(keys):
        raise InputError(f"{path} is no file of parameters: expected the keys {', '.join(keys)}")
    return _one_run(content["study"], content["params"], content["base"], content.get("data") or {}, settings)


def _one_run(
    name: str,
    params: dict[str, Any],
    base: dict[str, Any],
    data: dict[str, Any],
    settings: Sequence[str] = (),
) -> Grid:
    content = {"axes": {key: [value] for key, value in params.items()}, "base": base, "data": data}
    return make_grid(GridFile(Path(f"{name}.yaml"), content, {}), settings)


def plan_names() -> list[str]:
    """Names of the shipped studies."""
    return sorted(p.stem for p in SPACES.glob("*.yaml"))


def plan_lines() -> list[tuple[str, str]]:
    """Names of the shipped studies, each with what it is about."""
    return [(name, load_plan(name)[1].about) for name in plan_names()]


def load_plan(name_or_path: str) -> tuple[str, Plan]:
    """Read a study file; return its name and what it says, or raise `InputError`."""
    path = SPACES / f"{name_or_path}.yaml"
    if not path.is_file():
        if not name_or_path.endswith((".yaml", ".yml")):
            raise InputError(unknown("study", name_or_path, plan_names()))
        path = Path(name_or_path)
    content = _read(path, "study file")
    if "space" not in content:
        keys = ", ".join(Plan.model_fields)
        raise InputError(f"{path} is no study: expected a mapping with the keys {keys}")
    try:
        return path.stem, Plan.model_validate(content)
    except ValidationError as error:
        raise InputError(f"study {path.stem}: {readable_errors(error.errors())}") from None


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())}): mend the file") from None
    except OSError as error:
        raise InputError(
            f"the {what} {path} cannot be read ({error.strerror}): give the path of a YAML file"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no {what}: expected a mapping")
    return content
