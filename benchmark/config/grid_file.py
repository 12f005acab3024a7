"""What a grid file says, and the points that it makes: ``grid_points(file, file.check(GridContent))``.

A point has a `Setting` for each key of the configuration that it gives. A setting knows where it was written,
so that whatever is wrong with a run is told with the line that decides it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from bench_errors import InputError
from bench_schema import Frozen, Location
from bench_yaml import Document, parse_yaml
from benchmark.config.run_config import NAMED

Axes = dict[str, Annotated[list[Any], Field(min_length=1)]]
Rules = list[Annotated[dict[str, Any], Field(min_length=1)]] | None


class PhantomOptions(Frozen):
    """The phantom study of a grid.

    `cases`: how many. `size`: their edge in voxels, or three as in 64x64x48. `seed`: of all draws. `layout`:
    whose files and contrasts they have.
    """

    cases: int = Field(40, ge=1)
    size: int | str = 64
    seed: int = Field(0, ge=0)
    layout: Literal["brats", "gliomas", "myops"] = "brats"


class GridContent(Frozen):
    """What a grid file says; `benchmark.config.grid` explains it.

    `about`: what it costs and shows. `axes`: options with a list each, every combination is a run; or several
    such mappings, whose runs are put together. `base`: what all runs share. `include`: a run more each, over
    `base`. `exclude`: a combination that has all values of one is left out. `data`: phantom studies that the
    grid makes for itself, by name.
    """

    about: str = ""
    axes: Annotated[
        Annotated[Axes, Tag("axes")] | Annotated[list[Axes], Field(min_length=1), Tag("blocks")],
        Discriminator(lambda value: "blocks" if isinstance(value, list) else "axes"),
    ]
    base: dict[str, Any] | None = None
    include: Rules = None
    exclude: Rules = None
    data: dict[str, PhantomOptions] | None = None


@dataclass(frozen=True)
class Setting:
    """A value that is no mapping, as it stands at `location` of a document."""

    value: Any
    document: Document
    location: Location

    @property
    def mark(self) -> str:
        """Where it stands, for messages."""
        return self.document.mark(self.location)


Point = dict[Location, Setting]
"""What decides one run: the keys that lead to an option, and its setting; the last of a key counts."""


def command_line_point(texts: Sequence[str]) -> Point:
    """Read each ``key=value``, the value as YAML; raise `InputError` for anything else and for keys twice."""
    points = []
    for text in texts:
        key, equals, value = text.partition("=")
        document = parse_yaml(value, f"--set {text if len(text) < 80 else f'{text[:77]}...'}")
        if not (key and equals) or document.content is None:
            raise InputError(f"{document.source}: expected KEY=VALUE, such as train.epochs=20")
        points.append(_point(document, (), key, document.content))
    return _joined(points)


def grid_points(file: Document, grid: GridContent) -> list[Point]:
    """Return the points of the axes but those that a rule excludes, and those that are included.

    Raises `InputError` for a key that is given twice at one level, and for a rule without effect.
    """
    blocks: dict[Location, Axes] = {("axes",): grid.axes} if isinstance(grid.axes, dict) else {}
    blocks |= {("axes", i): block for i, block in enumerate(grid.axes) if isinstance(block, dict)}
    base = _mapping(file, ("base",), grid.base or {})
    points = []
    for location, axes in blocks.items():
        entries = [
            [_entry(file, (*location, name, i), name, value) for i, value in enumerate(values)]
            for name, values in axes.items()
        ]
        points += [base | _joined(combination) for combination in product(*entries)]
    for i, rule in enumerate(grid.exclude or []):
        wanted = _mapping(file, ("exclude", i), rule)
        left = [point for point in points if not _matches(point, wanted)]
        if len(left) == len(points):
            raise file.error(("exclude", i), "this rule excludes no point of the grid: correct or remove it")
        points = left
    points += [base | _mapping(file, ("include", i), rule) for i, rule in enumerate(grid.include or [])]
    if not points:
        raise file.error(("exclude",), "the rules exclude every point of the grid: remove one")
    return points


def configuration(file: Document, point: Point) -> Document:
    """Return what a point says of a run, each part marked with where it was written."""
    content: dict[str, Any] = {}
    marks: dict[Location, str] = {(): file.mark(("axes",))}
    for keys, setting in point.items():
        section = content
        for end, key in enumerate(keys[:-1], 1):
            if not isinstance(section.get(str(key)), dict):
                section[str(key)] = {}
            section = section[str(key)]
            marks[keys[:end]] = setting.mark
        section[str(keys[-1])] = setting.value
        marks[keys] = setting.mark
    return Document(content, file.source, marks)


def _entry(file: Document, location: Location, axis: str, value: Any) -> Point:
    """One entry of an axis with the settings that it carries under `with`."""
    if not isinstance(value, dict) or "with" not in value:
        return _point(file, location, axis, value)
    carried, rest = value["with"], {key: part for key, part in value.items() if key != "with"}
    if (axis not in NAMED and list(rest) != ["value"]) or not isinstance(carried, dict):
        shape = "{name: ..., with: {...}}" if axis in NAMED else "{value: ..., with: {...}}"
        raise file.error(location, f"axis {axis}: an entry with settings is {shape}, found {value}")
    entry = _point(file, location, axis, rest if axis in NAMED else rest["value"])
    return _joined([entry, _mapping(file, (*location, "with"), carried)])


def _mapping(file: Document, location: Location, mapping: dict[str, Any]) -> Point:
    return _joined(_point(file, (*location, key), key, value) for key, value in mapping.items())


def _point(document: Document, location: Location, key: str, value: Any) -> Point:
    """The settings of a value and all that is in it, for a key that may lead through sections."""
    if key in NAMED and isinstance(value, str):
        key = f"{key}.name"
    above = tuple(key.split("."))
    if not isinstance(value, dict):
        return {above: Setting(value, document, location)}
    parts = (_point(document, (*location, below), below, part) for below, part in value.items())
    return {(*above, *keys): setting for part in parts for keys, setting in part.items()}


def _joined(points: Iterable[Point]) -> Point:
    """Put together what stands side by side; raise `InputError` where one setting hides another."""
    joined: Point = {}
    for point in points:
        for keys, setting in point.items():
            for other in joined:
                if other[: len(keys)] == keys[: len(other)]:
                    raise setting.document.error(
                        setting.location,
                        f"{'.'.join(map(str, keys))} is given at {joined[other].mark} too: leave one of them",
                    )
        joined |= point
    return joined


def _matches(point: Point, rule: Point) -> bool:
    """Say whether a point has all values of a rule."""
    return all(keys in point and point[keys].value == wanted.value for keys, wanted in rule.items())
