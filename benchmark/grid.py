"""Grid files: YAML that names axes and what all runs share, expanded into `RunConfig`s.

    grid = load_grid("demo")          # a shipped grid, or the path of a YAML file
    grid.configs                      # one RunConfig per point

A file has `about` (what it costs and shows), `axes` (lists; every combination is one run; an entry of the
backbone or objective axis is a name or a mapping with `name`; or several such mappings, whose runs are put
together), `base` (settings that all share), and optionally `data`: phantom studies that the grid makes for
itself, name -> cases, size, seed.
"""

import itertools
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from backbones import BACKBONES
from bench_errors import InputError
from bench_registry import unknown
from benchmark.config import RunConfig, readable_errors
from datasets import DATASETS
from datasets.missing import pinned
from datasets.vocabulary import Description
from passion import OBJECTIVES

GRIDS = Path(__file__).parent / "grids"
_KEYS = ("about", "axes", "base", "data")
_PHANTOM_KEYS = ("cases", "size", "seed", "layout")


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


def grid_lines() -> list[tuple[str, str]]:
    """Names of the shipped grids, each with what it is about."""
    return [(name, _about(yaml.safe_load(_find(name).read_text(encoding="utf-8")))) for name in grid_names()]


def load_grid(name_or_path: str) -> Grid:
    """Read and check a grid; raise `InputError` for anything that could not run, before anything starts."""
    path = _find(name_or_path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())}): mend the file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    if not isinstance(content, dict) or not isinstance(content.get("axes"), dict | list):
        raise InputError(f"{path} is no grid: expected a mapping with the keys {', '.join(_KEYS)}")
    for key in content:
        if key not in _KEYS:
            raise InputError(f"{path}: {unknown('key', str(key), list(_KEYS))}")
    return make_grid(path.stem, content)


def make_grid(name: str, content: dict[str, Any]) -> Grid:
    """Return the grid `name` of a grid file with this content; raise `InputError` as `load_grid`."""
    try:
        points = [_config(point) for point in _points(content)]
    except InputError as error:
        raise InputError(f"grid {name}: {error}") from None
    configs = [config for config, _ in points]
    if len({c.hash for c in configs}) < len(configs):
        raise InputError(f"grid {name}: two points of the grid are the same run; remove the repeated value")
    data = content.get("data") or {}
    for study, options in data.items():
        for key in options:
            if key not in _PHANTOM_KEYS:
                raise InputError(f"grid {name}: data.{study}: {unknown('key', key, list(_PHANTOM_KEYS))}")
    taught = list(dict.fromkeys(c.teacher for c in configs if c.teacher))
    return Grid(
        name=name,
        about=_about(content),
        configs=tuple(dict.fromkeys([*taught, *configs])),
        datasets={description.name: description for _, description in points},
        teachers=tuple(c for c in taught if c not in configs),
        data=data,
    )


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


def _points(content: dict[str, Any]) -> list[dict[str, Any]]:
    blocks = content["axes"] if isinstance(content["axes"], list) else [content["axes"]]
    return [point for axes in blocks for point in _block_points(axes, content.get("base") or {})]


def _block_points(axes: dict[str, Any], base: dict[str, Any]) -> list[dict[str, Any]]:
    for name, values in axes.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"axis {name}: expected a non-empty list, found {values!r}")
    points = []
    for values in itertools.product(*axes.values()):
        point = deepcopy(base)
        for name, value in zip(axes, values, strict=True):
            if name in ("backbone", "objective") and isinstance(value, str):
                value = {"name": value}
            _set(point, name.split("."), value)
        points.append(point)
    return points


def _set(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    if isinstance(value, dict) and isinstance(tree.get(keys[-1]), dict):
        tree[keys[-1]] = {**tree[keys[-1]], **value}
    else:
        tree[keys[-1]] = value


def _config(point: dict[str, Any]) -> tuple[RunConfig, Description]:
    """One run and its dataset, which the run knows by name where the grid gives the path of its file."""
    _check_names(point)
    try:
        config = RunConfig.model_validate(point)
    except ValidationError as error:
        raise InputError(readable_errors(error.errors())) from None
    description = DATASETS.get(config.dataset)
    profile = pinned(config.profile, description)
    return config.model_copy(update={"dataset": description.name, "profile": profile}), description


def _check_names(point: dict[str, Any]) -> None:
    for key, registry in (("backbone", BACKBONES), ("objective", OBJECTIVES), ("dataset", DATASETS)):
        value = point.get(key)
        name = value.get("name") if isinstance(value, dict) else value
        if isinstance(name, str):
            known = registry.check(name)
            point[key] = {**value, "name": known} if isinstance(value, dict) else known
