"""Grid files: YAML that names axes and what all runs share, expanded into `RunConfig`s.

    grid = load_grid("demo")                                # a shipped grid, or the path of a YAML file
    grid = load_grid("demo", ["train.epochs=2"])            # with settings for all of its runs
    grid.configs                                            # one RunConfig per point

A file has `about` (what it costs and shows), `axes` (lists; every combination is one run; or several such
mappings, whose runs are put together), `base` (settings that all share), and optionally `exclude` (a list of
mappings: the points that have all values of one are left out), `include` (a list of mappings: a point more
each, over `base`) and `data`: phantom studies that the grid makes for itself, name -> cases, size, seed.

An entry of the backbone or objective axis is a name or a mapping with `name`. An entry of any axis may carry
settings for its points under `with`: ``{value: myops2020, with: {train.crop: 256}}``. Axes stand above
`base`, the command line above both; at one level a key is given once. A point with `train.subset: all` is
a run for each subset of modalities.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backbones import BACKBONES
from bench_edges import space_of
from bench_errors import InputError
from bench_registry import Registry
from bench_schema import Location, problems_of
from bench_yaml import Document, read_named
from benchmark.config.grid_file import GridContent, Point, command_line_point, configuration, grid_points
from benchmark.config.initial_weights import pinned_weights
from benchmark.config.run_config import RunConfig, TestConfig, TrainConfig
from datasets.missingness.availability import pinned
from datasets.studies.names import DATASETS
from datasets.vocabulary import Description, subset_name, subsets
from passion import OBJECTIVES

GRIDS = Path(__file__).parent / "grids"
SUBSET = ("train", "subset")
LONGEST = 200
"""Bytes of a run folder's name: file systems take 255, and what is written beside it has a longer one."""


@dataclass(frozen=True)
class Grid:
    """A grid: its name, what it is about, its runs, their datasets, the phantom studies it makes itself.

    `configs` are all runs, those that others need first; `needed` are those among them that are no points
    of the grid. `file` is where the grid was read from.
    """

    name: str
    about: str
    configs: tuple[RunConfig, ...]
    datasets: dict[str, Description]
    needed: tuple[RunConfig, ...] = ()
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    file: Path | None = None


def grid_names() -> list[str]:
    """Names of the shipped grids."""
    return sorted(p.stem for p in GRIDS.glob("*.yaml"))


def is_grid(name_or_path: str) -> bool:
    """Whether it is the name of a shipped grid, or the path of a file."""
    return name_or_path in grid_names() or Path(name_or_path).is_file()


def grid_lines() -> list[tuple[str, str]]:
    """Names of the shipped grids, each with what it is about."""
    return [(name, read_named("grid", name, GRIDS).check(GridContent).about) for name in grid_names()]


def load_grid(name_or_path: str, settings: Sequence[str] = ()) -> Grid:
    """Read and check a grid; raise `InputError` for anything that could not run, before anything starts.

    `settings` are ``key=value`` for all of its runs; points that become equal by them are one run.
    """
    document = read_named("grid", name_or_path, GRIDS)
    grid = make_grid(Path(name_or_path).stem, document, settings)
    if not settings:  # which may cut the epochs to try a grid
        _check_looks(document, [config.train for config in grid.configs])
    file = GRIDS / f"{name_or_path}.yaml" if name_or_path in grid_names() else Path(name_or_path)
    return replace(grid, file=file)


def _check_looks(file: Document, trainings: Sequence[TrainConfig]) -> None:
    """Raise `InputError` for a `validate_every` that is beyond the epochs of all runs that have one."""
    few = [train.epochs < train.validate_every for train in trainings if train.validate_every]
    if few and all(few):
        written = (keys for keys in file.marks if keys and str(keys[-1]).endswith("validate_every"))
        raise file.error(
            next(written, ()),
            "validate_every has no effect: no run of the grid has so many epochs; lower it, or leave it out",
        )


def make_grid(name: str, file: Document, settings: Sequence[str] = ()) -> Grid:
    """Return the grid of a file's content, as `load_grid`."""
    content = file.check(GridContent)
    given = command_line_point(settings)
    points: dict[RunConfig, Point] = {}
    named: dict[tuple[str, str], Point] = {}
    datasets: dict[str, Description] = {}
    check = _Checker(file)
    for point in _each_subset([point | given for point in grid_points(file, content)]):
        config, description = check.config(point)
        earlier = named.setdefault(_key(config), point)
        if earlier is not point:
            if config.test_name and not given:
                raise file.error(
                    _location_of_repeat(point, earlier),
                    "two points of the grid are the same run; remove the repeated value",
                )
            continue
        points[config] = point
        datasets[description.name] = description
    for data in content.data or {}:
        if data not in datasets and not given:
            raise file.error(
                ("data", data), f"data.{data} has no effect, the runs use {', '.join(datasets)}: remove it"
            )
    needed = {_key(run): run for config in points for run in _needed(config)}
    return Grid(
        name=name,
        about=" ".join(content.about.split()),
        configs=tuple((needed | {_key(run): run for run in points}).values()),
        datasets=datasets,
        needed=tuple(run for key, run in needed.items() if key not in named),
        data=file.content.get("data") or {},
    )


def _key(config: RunConfig) -> tuple[str, str]:
    """What tells the points of a grid apart: a run's folder and the name of its test."""
    return config.folder, config.test_name


def _each_subset(points: Sequence[Point]) -> Iterator[Point]:
    """Yield a point for each subset of its study's modalities where `train.subset` is `all`."""
    for point in points:
        setting, dataset = point.get(SUBSET), point.get(("dataset",))
        if setting is None or setting.value != "all":
            yield point
            continue
        name = dataset.value if dataset else RunConfig.model_fields["dataset"].default
        try:
            modalities = DATASETS.get(name).modalities
        except InputError:
            yield point  # whose dataset is told as wrong
            continue
        for subset in subsets(modalities):
            yield {**point, SUBSET: replace(setting, value=subset_name(subset, modalities))}


def _needed(config: RunConfig) -> list[RunConfig]:
    """All that has to be done before a run, each after what it needs itself."""
    return [run for need in config.needs for run in (*_needed(need), need)]


class _Checker:
    """Turns points into runs; a part that many points share is checked once, as a grid may have thousands."""

    def __init__(self, file: Document):
        self._file = file
        self._parts: dict[tuple[str, str], Any] = {}
        self._pinned_weights = cache(pinned_weights)
        self._pinned = cache(lambda profile, dataset: pinned(profile, DATASETS.get(dataset)))

    def config(self, point: Point) -> tuple[RunConfig, Description]:
        """One run and its dataset, which the run knows by name where the grid gives the path of its file."""
        document = configuration(self._file, point)
        blamed: Sequence[Location] = ()
        try:
            for key, registry in (("backbone", BACKBONES), ("objective", OBJECTIVES), ("dataset", DATASETS)):
                blamed = [(key, "name")]
                if (key, repr(document.content.get(key))) not in self._parts:
                    _check_name(document.content, key, registry)
            config = self._validated(document.content)
            blamed = [("dataset",)]
            description = DATASETS.get(config.dataset)
            for option, edges in (("train", "crop"), config.train.crop), (("test", "window"), config.window):
                blamed = [option, ("dataset",)]
                space_of(edges, description.spatial_dims)
            for name, why in _idle_test_options(config, description).items():
                blamed = [("test", name)]
                raise InputError(f"test.{name} has no effect: {why}; leave it out")
            blamed = [SUBSET]
            changed: dict[str, str] = {}
            if subset := config.subset(description.modalities):
                changed["subset"] = subset_name(subset, description.modalities)
            if config.train.init:
                blamed = [("train", "init")]
                changed["init"] = self._pinned_weights(config.train.init)
            blamed = [("profile",), ("dataset",)]
            profile = self._pinned(config.profile, config.dataset)
            filled = {
                "dataset": description.name,
                "profile": profile,
                "train": config.train.model_copy(update=changed),
                "description": description.digest,
            }
            config = config.model_copy(update=filled)
            if (length := len(os.fsencode(config.folder))) > LONGEST:
                raise InputError(
                    f"the run's folder would have a name of {length} bytes, expected at most {LONGEST}: give "
                    "the files of profile and dataset shorter names"
                )
        except ValidationError as error:
            raise document.errors(problems_of(document.content, error)) from None
        except InputError as error:
            location = next((keys for keys in blamed if keys in document.marks), blamed[-1])
            raise document.error(location, str(error)) from None
        return config, description

    def _validated(self, content: dict[str, Any]) -> RunConfig:
        texts = {key: (key, repr(value)) for key, value in content.items() if isinstance(value, dict)}
        known = {key: self._parts[text] for key, text in texts.items() if text in self._parts}
        config = RunConfig.model_validate({**content, **known})
        self._parts |= {text: getattr(config, key) for key, text in texts.items() if key not in known}
        return config


def _idle_test_options(config: RunConfig, description: Description) -> dict[str, str]:
    """Options of the test that change no number of this run, each with the reason."""
    test, usual = config.test, TestConfig()
    volumes = description.spatial_dims == 3
    no_slices = f"{config.dataset} is no study of slices" if volumes else "cases are scored as volumes"
    idle = {
        "outside": (bool(config.train.subset), "a dedicated network sees its subset alone"),
        "slices": (volumes, no_slices),
        "empty_slices": (volumes or test.slices == "per-volume", no_slices),
    }
    return {k: why for k, (off, why) in idle.items() if off and getattr(test, k) != getattr(usual, k)}


def _check_name(content: dict[str, Any], key: str, registry: Registry) -> None:
    value = content.get(key)
    name = value.get("name") if isinstance(value, dict) else value
    if isinstance(name, str):
        checked = registry.check(name)
        content[key] = {**value, "name": checked} if isinstance(value, dict) else checked


def _location_of_repeat(point: Point, earlier: Point) -> Location:
    """Where a point that is there already differs from the earlier one in what was written."""
    before = {setting.location for setting in earlier.values()}
    new = (setting.location for setting in point.values() if setting.location not in before)
    return next(new, ("axes",))
