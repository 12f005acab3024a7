"""The text of a grid file, with the line of everything in it: ``read_grid_file(path)``.

A `Setting` is one value that a grid file or the command line gives to a key of the configuration. It knows
where it stands, so that whatever is wrong with it can be told with its line.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench_errors import InputError

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Setting:
    """`value` for the configuration's key `keys`, as it stands at `place` of the grid file.

    `place` is empty for a value of the command line.
    """

    keys: tuple[str, ...]
    value: Any
    place: Place = ()

    def holds(self, keys: tuple[str, ...]) -> bool:
        """Say whether the value is that of `keys`, or a mapping with it."""
        if keys[: len(self.keys)] != self.keys:
            return False
        value = self.value
        for key in keys[len(self.keys) :]:
            if not isinstance(value, dict) or key not in value:
                return False
            value = value[key]
        return True


@dataclass(frozen=True)
class GridFile:
    """A grid file as read: its path, its content, and the line of each place in it.

    `lines` is empty where the content was not written by hand.
    """

    path: Path
    content: Any
    lines: dict[Place, int]

    def error(self, place: Place, text: str) -> InputError:
        """Return the error `text` with the file and the line of `place`, or of what is around it."""
        while place and place not in self.lines:
            place = place[:-1]
        line = f", line {self.lines.get(place, 1)}" if self.lines else ""
        return InputError(f"{self.path}{line}: {text}")


def read_grid_file(path: Path) -> GridFile:
    """Read a YAML file; raise `InputError` where it is none, or gives a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
        node, content = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())}): mend the file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    lines: dict[Place, int] = {}
    if node is not None:
        _note_lines(path, node, (), node.start_mark.line + 1, lines)
    return GridFile(path, content, lines)


def _note_lines(path: Path, node: yaml.Node, place: Place, line: int, lines: dict[Place, int]) -> None:
    """Note the lines below `node`; a value has its key's line, so that aliases stand where they are used."""
    lines[place] = line
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            # What an alias stands for was written further up: the list is nearer.
            _note_lines(path, item, (*place, i), max(line, item.start_mark.line + 1), lines)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            at = max(line, key.start_mark.line + 1)
            if key.value in seen and key.value != "<<":
                raise InputError(f"{path}, line {at}: the key {key.value} stands there twice: remove one")
            seen.add(key.value)
            _note_lines(path, value, (*place, key.value), at, lines)
