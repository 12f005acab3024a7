"""Grid files: YAML that names axes and what all runs share, expanded into `RunConfig`s.

    grid = load_grid("demo")                                # a shipped grid, or the path of a YAML file
    grid = load_grid("demo", ["train.epochs=2"])            # with settings for all of its runs
    grid.configs                                            # one RunConfig per point

A file has `about` (what it costs and shows), `axes` (lists; every combination is one run; or several such
mappings, whose runs are put together), `base` (settings that all share), and optionally `exclude` (a list of
mappings: the points that have all values of one are left out), `include` (a list of mappings: a point more
each, over `base`) and `data`: phantom studies that the grid makes for itself, name -> cases, size, seed.

An entry of the backbone or objective axis is a name or a mapping with `name`. An entry of any axis may carry
settings for its points under `with`: ``{value: myops2020, with: {train.crop: 256}}``.
"""

import itertools
import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from backbones import BACKBONES
from bench_errors import InputError
from bench_options import Frozen, error_key, readable_errors
from bench_registry import Registry, unknown
from benchmark.config.grid_file import GridFile, Place, Setting, read_grid_file
from benchmark.config.run_config import NAMED, RunConfig
from datasets.missingness.availability import pinned
from datasets.studies.names import DATASETS
from datasets.vocabulary import Description
from passion import OBJECTIVES

GRIDS = Path(__file__).parent / "grids"
_KEYS = ("about", "axes", "base", "include", "exclude", "data")
Point = tuple[Setting, ...]
"""What decides one run: later settings stand above earlier ones."""


class PhantomOptions(Frozen):
    """The phantom study of a grid: how many cases, their edge (or edges) in voxels, the seed, whose files."""

    cases: int = Field(40, ge=1)
    size: int | str = 64
    seed: int = Field(0, ge=0)
    layout: Literal["brats", "myops"] = "brats"


@dataclass(frozen=True)
class Grid:
    """A grid: its name, what it is about, its runs, their datasets, the phantom studies it makes itself.

    `configs` are all runs, those that teach others first; `teachers` are those among them that are no points
    of the grid.
    """

    name: str
    about: str
    configs: tuple[RunConfig, ...]
    datasets: dict[str, Description]
    teachers: tuple[RunConfig, ...] = ()
    data: dict[str, dict[str, Any]] = field(default_factory=dict)


def grid_names() -> list[str]:
    """Names of the shipped grids."""
    return sorted(p.stem for p in GRIDS.glob("*.yaml"))


def is_grid(name_or_path: str) -> bool:
    """Whether it is the name of a shipped grid, or the path of a file."""
    return name_or_path in grid_names() or Path(name_or_path).is_file()


def grid_lines() -> list[tuple[str, str]]:
    """Names of the shipped grids, each with what it is about."""
    return [(name, _about(yaml.safe_load(_find(name).read_text(encoding="utf-8")))) for name in grid_names()]


def load_grid(name_or_path: str, settings: Sequence[str] = ()) -> Grid:
    """Read and check a grid; raise `InputError` for anything that could not run, before anything starts.

    `settings` are ``key=value`` for all of its runs; points that become equal by them are one run.
    """
    return make_grid(read_grid_file(_find(name_or_path)), settings)


def make_grid(file: GridFile, settings: Sequence[str] = ()) -> Grid:
    """Return the grid of a file's content, as `load_grid`."""
    content = file.content
    if not isinstance(content, dict) or not isinstance(content.get("axes"), dict | list):
        raise InputError(f"{file.path} is no grid: expected a mapping with the keys {', '.join(_KEYS)}")
    for key in content:
        if key not in _KEYS:
            raise file.error((key,), unknown("key", str(key), list(_KEYS)))
    given = tuple(parse_setting(text) for text in settings)
    found: dict[RunConfig, tuple[Point, Description]] = {}
    check = _Checker(file)
    for point in _points(file):
        config, description = check.config((*point, *given))
        if config in found and not given:
            raise file.error(
                _place_of_repeat(point, found[config][0]),
                "two points of the grid are the same run; remove the repeated value",
            )
        found.setdefault(config, (point, description))
    configs = list(found)
    datasets = {description.name: description for _, description in found.values()}
    taught = list(dict.fromkeys(c.teacher for c in configs if c.teacher))
    return Grid(
        name=file.path.stem,
        about=_about(content),
        configs=tuple(dict.fromkeys([*taught, *configs])),
        datasets=datasets,
        teachers=tuple(c for c in taught if c not in found),
        data=_data(file, list(datasets), bool(given)),
    )


def parse_setting(text: str) -> Setting:
    """Read ``key=value`` of the command line, the value as YAML; raise `InputError` for anything else."""
    key, equals, value = text.partition("=")
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        read = None
    if not (key and equals) or read is None:
        raise InputError(f"--set {text}: expected KEY=VALUE, such as train.epochs=20")
    return _setting(key, read)


def _about(content: dict[str, Any]) -> str:
    return " ".join(str(content.get("about", "")).split())


def _find(name_or_path: str) -> Path:
    shipped = GRIDS / f"{name_or_path}.yaml"
    if shipped.is_file():
        return shipped
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if path.is_file():
            return path
        raise InputError(
            f"no grid file {path}: give the path of a YAML file or one of {', '.join(grid_names())}"
        )
    raise InputError(unknown("grid", name_or_path, grid_names()))


def _data(file: GridFile, datasets: list[str], changed: bool) -> dict[str, dict[str, Any]]:
    data = _mapping(file, ("data",))
    for name in data:
        options = _mapping(file, ("data", name))
        if name not in datasets and not changed:
            raise file.error(
                ("data", name), f"data.{name} has no effect, the runs use {', '.join(datasets)}: remove it"
            )
        try:
            PhantomOptions.model_validate(options)
        except ValidationError as error:
            errors = error.errors()
            place = ("data", name, *error_key(errors[0]))
            raise file.error(place, f"data.{name}: {readable_errors(errors)}") from None
    return data


def _mapping(file: GridFile, place: Place) -> dict[str, Any]:
    value = _at(file, place)
    if value is not None and not isinstance(value, dict):
        raise file.error(place, f"{'.'.join(map(str, place))}: expected a mapping, found {value!r}")
    return value or {}


def _at(file: GridFile, place: Place) -> Any:
    value: Any = file.content
    for key in place:
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


def _points(file: GridFile) -> list[Point]:
    """The points of the axes but those that a rule excludes, and those that are included."""
    axes = file.content["axes"]
    blocks: list[Place] = [("axes", i) for i in range(len(axes))] if isinstance(axes, list) else [("axes",)]
    base = _settings(file, ("base",))
    points = [(*base, *point) for block in blocks for point in _block_points(file, block)]
    for place, rule in _rules(file, "exclude"):
        left = [point for point in points if not _matches(point, rule)]
        if len(left) == len(points):
            raise file.error(place, "this rule excludes no point of the grid: correct or remove it")
        points = left
    points += [(*base, *rule) for _, rule in _rules(file, "include")]
    if not points:
        raise file.error(("exclude",), "the rules exclude every point of the grid: remove one")
    return points


def _rules(file: GridFile, name: str) -> list[tuple[Place, Point]]:
    rules = file.content.get(name) or []
    if not isinstance(rules, list):
        raise file.error((name,), f"{name}: expected a list of mappings, found {rules!r}")
    for i in range(len(rules)):
        if not _mapping(file, (name, i)):
            raise file.error(
                (name, i), f"{name}: expected mappings such as {{seed: 1037}}, found an empty one"
            )
    return [((name, i), _settings(file, (name, i))) for i in range(len(rules))]


def _block_points(file: GridFile, block: Place) -> list[Point]:
    """Every combination of the entries of a block of axes."""
    axes = []
    for name, values in _mapping(file, block).items():
        if not isinstance(values, list) or not values:
            raise file.error((*block, name), f"axis {name}: expected a non-empty list, found {values!r}")
        axes.append([_entry(file, (*block, name, i)) for i in range(len(values))])
    return [tuple(itertools.chain(*entries)) for entries in itertools.product(*axes)]


def _entry(file: GridFile, place: Place) -> Point:
    """One entry of an axis and the settings that it carries under `with`."""
    name, value = str(place[-2]), _at(file, place)
    if not isinstance(value, dict) or "with" not in value:
        return (_setting(name, value, place),)
    own = {key: entry for key, entry in value.items() if key != "with"}
    if name not in NAMED:
        if list(own) != ["value"]:
            raise file.error(
                place, f"axis {name}: an entry with settings is {{value: ..., with: {{...}}}}, found {value}"
            )
        own = own["value"]
    return (_setting(name, own, place), *_settings(file, (*place, "with")))


def _settings(file: GridFile, place: Place) -> Point:
    return tuple(_setting(str(key), value, (*place, key)) for key, value in _mapping(file, place).items())


def _setting(key: str, value: Any, place: Place = ()) -> Setting:
    if key in NAMED and isinstance(value, str):
        value = {"name": value}
    return Setting(tuple(key.split(".")), value, place)


def _matches(point: Point, rule: Point) -> bool:
    """Say whether a point has all values of a rule; a mapping has those of a smaller one."""
    tree = _tree(point)
    return all(_has(tree, wanted.keys, wanted.value) for wanted in rule)


def _has(tree: Any, keys: tuple[str, ...], wanted: Any) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    if isinstance(wanted, dict):
        return all(_has(tree, (key,), value) for key, value in wanted.items())
    return bool(tree == wanted)


def _tree(point: Point) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for setting in point:
        _set(tree, setting.keys, setting.value)
    return tree


def _set(tree: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    for key in keys[:-1]:
        branch = tree.get(key)
        tree[key] = branch if isinstance(branch, dict) else {}
        tree = tree[key]
    before = tree.get(keys[-1])
    if isinstance(value, dict):
        value = {**before, **deepcopy(value)} if isinstance(before, dict) else deepcopy(value)
    tree[keys[-1]] = value


class _Checker:
    """Turns points into runs; a part that many points share is checked once, as a grid may have thousands."""

    def __init__(self, file: GridFile):
        self._file = file
        self._parts: dict[tuple[str, str], Any] = {}
        self._pinned = cache(lambda profile, dataset: pinned(profile, DATASETS.get(dataset)))

    def config(self, point: Point) -> tuple[RunConfig, Description]:
        """One run and its dataset, which the run knows by name where the grid gives the path of its file."""
        tree = _tree(point)
        key = ""
        try:
            for key, registry in (("backbone", BACKBONES), ("objective", OBJECTIVES), ("dataset", DATASETS)):
                if (key, repr(tree.get(key))) not in self._parts:
                    _check_name(tree, key, registry)
            config = self._validated(tree)
            key = "dataset"
            description = DATASETS.get(config.dataset)
            key = "profile"
            profile = self._pinned(config.profile, config.dataset)
        except ValidationError as error:
            errors = error.errors()
            raise _error(self._file, point, error_key(errors[0]), readable_errors(errors)) from None
        except InputError as error:
            raise _error(self._file, point, (key,), str(error)) from None
        filled = {"dataset": description.name, "profile": profile, "description": description.digest}
        config = config.model_copy(update=filled)
        return config, description

    def _validated(self, tree: dict[str, Any]) -> RunConfig:
        texts = {key: (key, repr(value)) for key, value in tree.items() if isinstance(value, dict)}
        known = {key: self._parts[text] for key, text in texts.items() if text in self._parts}
        config = RunConfig.model_validate({**tree, **known})
        self._parts |= {text: getattr(config, key) for key, text in texts.items() if key not in known}
        return config


def _check_name(tree: dict[str, Any], key: str, registry: Registry) -> None:
    value = tree.get(key)
    name = value.get("name") if isinstance(value, dict) else value
    if isinstance(name, str):
        known = registry.check(name)
        tree[key] = {**value, "name": known} if isinstance(value, dict) else known


def _error(file: GridFile, point: Point, keys: tuple[str, ...], text: str) -> InputError:
    """Return the error of a point with the line of the setting that it is about.

    An error of a combination has no key of its own: it stands where the first key that it names does.
    """
    settings = list(reversed(point))
    if path := re.match(r"[a-z_0-9]+(?:\.[a-z_0-9]+)+", text):  # more exact than the section that it is of
        exact = tuple(path[0].split("."))
        keys = exact if any(setting.holds(exact) for setting in settings) else keys
    named = [s for s in settings if not keys and (".".join(s.keys) in text or s.keys[-1] in text.split())]
    about = (
        [s for s in settings if keys and s.holds(keys)] or [s for s in settings if s.keys[0] in keys] or named
    )
    if not about:
        return file.error(("axes",), text)
    setting = about[0]
    if not setting.place:
        return InputError(f"--set {'.'.join(setting.keys)}={setting.value}: {text}")
    return file.error((*setting.place, *keys[len(setting.keys) :]), text)


def _place_of_repeat(point: Point, earlier: Point) -> Place:
    """Where a point that is there already differs from the earlier one in what was written."""
    before = {setting.place for setting in earlier}
    return next((setting.place for setting in point if setting.place not in before), ("axes",))
