"""YAML that users write, read strictly and with the line of every part of it.

    file = read_yaml("grid", Path("mine.yaml"), "give the path of a YAML file")
    content = file.check(GridContent)            # a model derived from `Frozen`, or an `InputError`
    raise file.error(("axes", "seed"), "...")    # grid mine.yaml, line 3: ...

Keys are text as they are written, and numbers are those of YAML 1.2: ``1e-1`` is one. Refused are a key that
stands twice, words that readers of YAML take for different things (``yes``, ``010``, ``1:30``), and numbers
that are not finite. All that is wrong is said at once, in one line: place, key, what was found, what was
expected. A leaf that every room may import.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from bench_errors import InputError
from bench_registry import unknown
from bench_schema import Frozen, Location, Problem, problems_of

_LEVELS, _PARTS, _DIGITS = 32, 100_000, 18
"""Limits of what a person writes: levels and parts of a file, digits of a whole number (63 bits)."""
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(rf"[-+]?(0|[1-9][0-9]{{,{_DIGITS - 1}}})")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_DIFFERS = re.compile(
    r"(?i:yes|no|on|off|[-+]?\.inf|\.nan|[-+]?0[box][0-9a-f_]+)|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])*(\.[0-9_]*)?"
)
"""What some readers of YAML take for a boolean or a number, and is no word or number of ours."""
_VERBS = ("has ", "is ", "stands ")
"""What is said of a key goes on from its name if it begins so."""

Model = TypeVar("Model", bound=Frozen)


@dataclass(frozen=True)
class Document:
    """What a user has written.

    Attributes:
        content: mappings with text as keys, lists, text, numbers, booleans and None.
        source: what messages call the whole, such as the path of a file.
        marks: what messages call the parts, such as ``grid mine.yaml, line 3``; a part without a mark has
            that of what it is in.
    """

    content: Any
    source: str
    marks: Mapping[Location, str] = field(default_factory=dict)

    def mark(self, location: Location) -> str:
        """Say where a part stands, or what it would be in."""
        around = (location[:end] for end in range(len(location), -1, -1))
        return next((self.marks[part] for part in around if part in self.marks), self.source)

    def error(self, location: Location, text: str) -> InputError:
        """Return the error `text` with the place of a part before it."""
        return InputError(f"{self.mark(location)}: {text}")

    def errors(self, problems: Sequence[Problem]) -> InputError:
        """Return one error of all that is wrong: the place, the key and the text of each."""
        texts: dict[str, None] = {}
        for location, text in problems:
            mark = self.mark(location)
            if texts:
                mark = "" if mark == self.source else mark.removeprefix(f"{self.source}, ")
            texts[": ".join(filter(None, (mark, _sentence(location, text))))] = None
        return InputError("; ".join(texts).replace("\n", " "))

    def check(self, model: type[Model], context: Any = None) -> Model:
        """Return the content as a model; raise `InputError` with all that is wrong.

        `context` is what the model's validators need to know beside the content.
        """
        try:
            return model.model_validate(self.content, context=context)
        except ValidationError as error:
            raise self.errors(problems_of(self.content, error)) from None


def read_named(kind: str, name_or_path: str, folder: Path) -> Document:
    """Read a YAML file by its path or, of those in `folder`, by its name; raise `InputError`."""
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name_or_path in names:
        return read_yaml(kind, folder / f"{name_or_path}.yaml", "install passion-bench again")
    if not name_or_path.endswith((".yaml", ".yml")):
        raise InputError(unknown(kind, name_or_path, names))
    return read_yaml(kind, Path(name_or_path), f"give the path of a YAML file or one of {', '.join(names)}")


def read_yaml(kind: str, path: Path, advice: str) -> Document:
    """Read a file, which messages call `kind` and path; raise `InputError`, with `advice` if it is absent."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{kind} {path} cannot be read ({reason}): {advice}") from None
    return parse_yaml(text, f"{kind} {path}", "{}, line {}")


def parse_yaml(text: str, source: str, mark: str = "{}") -> Document:
    """Read text; `mark` is the pattern of what messages call a part, by its source and its line.

    Raises `InputError` for what is not YAML, and with all that has no clear meaning.
    """
    try:
        node = yaml.compose(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise InputError(f"{source} is not YAML ({reason}): mend it") from None
    reader = _Reader(source)
    content = None if node is None else reader.read(node, (), 1)
    marks = {location: mark.format(source, line) for location, line in reader.lines.items()}
    document = Document(content, source, marks)
    if reader.problems:
        raise document.errors(reader.problems)
    return document


class _Loader(yaml.SafeLoader):
    """Leaves the meaning of words to us."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012, as in PyYAML


class _Reader:
    """Turns the nodes of YAML into content, and notes the line of each part and what is wrong."""

    def __init__(self, source: str):
        self.lines: dict[Location, int] = {}
        self.problems: list[Problem] = []
        self._source = source
        self._parts = 0

    def read(self, node: yaml.Node, location: Location, line: int) -> Any:
        """Return the content of a node; a value has the line of its key, also where it is an alias."""
        self.lines[location] = line
        self._parts += 1
        if len(location) > _LEVELS or self._parts > _PARTS:
            raise InputError(
                f"{self._source}, line {line}: expected at most {_LEVELS} levels and {_PARTS} parts, found "
                "more: look for an alias of what it stands in"
            )
        if not node.tag.endswith((":str", ":seq", ":map")):
            self.problems.append((location, f"has the tag {node.tag}, expected none: remove it"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location, line)
        if isinstance(node, yaml.SequenceNode):
            # What an alias stands for was written further up: the list is nearer.
            return [
                self.read(item, (*location, i), max(line, item.start_mark.line + 1))
                for i, item in enumerate(node.value)
            ]
        quoted = isinstance(node, yaml.ScalarNode) and node.style is not None
        return node.value if quoted else self._scalar(node.value, location)

    def _mapping(self, node: yaml.MappingNode, location: Location, line: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        written: set[str] = set()
        # What is merged (<<) goes first: the mapping's keys stand above it.
        for key, value in sorted(node.value, key=lambda pair: pair[0].value != "<<"):
            at = max(line, key.start_mark.line + 1)
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append((location, "expected words as keys"))
            elif key.value == "<<":
                parents = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for merged in (self.read(parent, location, at) for parent in reversed(parents)):
                    content |= merged if isinstance(merged, dict) else {"<<": merged}
            else:
                if key.value in written:
                    self.problems.append(((*location, key.value), "stands there twice: remove one"))
                written.add(key.value)
                content[key.value] = self.read(value, (*location, key.value), at)
        return content

    def _scalar(self, text: str, location: Location) -> Any:
        """Return the value of a word without quotes; note one whose meaning is not clear."""
        if text in _WORDS:
            return _WORDS[text]
        if _WHOLE.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            if isfinite(value := float(text)):
                return value + 0.0  # minus zero is zero
        elif not _DIFFERS.fullmatch(text):
            return text
        expected = f"a finite decimal number (a whole one of at most {_DIGITS} digits) or text in quotes"
        self.problems.append((location, f"found {text[:40]}, expected true, false, {expected}"))
        return None


def _sentence(location: Location, text: str) -> str:
    """Say `text` of a part: ``rules, entry 1.absent: ...``, ``train.lr has ...``."""
    if not location:
        return text
    parts = [f", entry {part + 1}" if isinstance(part, int) else f".{part}" for part in location]
    return f"{''.join(parts).lstrip('.')}{' ' if text.startswith(_VERBS) else ': '}{text}"
