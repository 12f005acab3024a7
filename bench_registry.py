"""Names to things, resolved on first use.

    BACKBONES = Registry("backbone", {"rfnet": ("backbones.rfnet:RFNet", "region-aware fusion")})
    BACKBONES.get("rfnet")
    BACKBONES.add("MyNet", "my_package.my_module:MyNet")
    BACKBONES.get("my_package.my_module:MyNet")

Beside its own names a registry knows those that installed packages offer as entry points of the group
``passion_bench.<kind>s``, and ``module:attribute`` once a user has asked for it, by `add` or in the variable
`PLUGINS`, which reaches worker processes. A name in a file may come from anybody: it imports nothing that was
not asked for. A leaf that every room may import; it imports nothing heavy, so names can be listed without
torch.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from typing import Any

from bench_errors import InputError

PLUGINS = "PASSION_BENCH_PLUGINS"
"""Variable with each ``module:attribute`` that may be imported, separated by commas."""


class Registry:
    """Maps a name to ``"module:attribute"`` and imports the module when the name is first asked for.

    Args:
        kind: what the names stand for, in the singular.
        entries: our own: name to ``"module:attribute"``, or to that and a line that says what it is.
        families: prefix to ``"module:function"`` and a line; the name ``prefix:rest`` is what the function
            makes of ``rest``.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, str | tuple[str, str]],
        families: Mapping[str, tuple[str, str]] | None = None,
    ):
        self.kind = kind
        self._own = {name: (e, "") if isinstance(e, str) else e for name, e in entries.items()}
        self._families = dict(families or {})
        self._added: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._own, *self._offered, *self._added)))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._offered or name in self._added

    def lines(self) -> list[tuple[str, str]]:
        """Every name with a line that says what it is; families as ``prefix:<Name>``."""
        families = [(f"{prefix}:<Name>", about) for prefix, (_, about) in self._families.items()]
        return [(name, self._about(name)) for name in self] + families

    def kind_of(self, name: str) -> str:
        """Say where `name` belongs: ``own``, the prefix of a family, or ``plugin`` (also an unknown name)."""
        return "own" if name in self._own else self._family(name) or "plugin"

    def check(self, name: str) -> str:
        """Return the name to keep in a configuration: `name`, or ``module:attribute`` for one given by `add`.

        Raises `InputError` naming the nearest entries for an unknown name, for ``module:attribute`` that
        nobody asked for, and for that and families, what cannot be imported.
        """
        name = self._added.get(name, name)
        if family := self._family(name):
            attribute(self._families[family][0])(name.partition(":")[2])
        elif ":" in name:
            if name not in (*self._added.values(), *os.environ.get(PLUGINS, "").split(",")):
                raise InputError(
                    f"{self.kind} {name} is code of a file or package: if you trust it, let it be imported "
                    f"by --plugin {name}"
                )
            load(name)
        elif name not in self:
            raise InputError(unknown(self.kind, name, list(self)))
        return name

    def get(self, name: str) -> Any:
        """Import and return what `name` stands for; raise `InputError` for an unknown name."""
        if family := self._family(name):
            return attribute(self._families[family][0])(name.partition(":")[2])
        if name in self._own:
            return attribute(self._own[name][0])
        self.check(name)
        return load(self._target(name))

    def add(self, name: str, target: str) -> None:
        """Let `name` and ``module:attribute`` itself stand for the latter, in this process.

        Raises `InputError` for a `name` that is taken.
        """
        if self._added.get(name, target) != target or name in self._own or name in self._offered:
            raise InputError(f"there is a {self.kind} '{name}' already: give it another name")
        self._added[name] = target

    def origin(self, name: str) -> str:
        """Where a plugin comes from: ``my_package.net:Net (my-package 1.2)``, or the first part alone."""
        target = self._target(name)
        if name in self._offered and (package := self._offered[name].dist):
            return f"{target} ({package.name} {package.version})"
        packages = _packages(tuple(sys.path)).get(target.partition(".")[0].partition(":")[0], [])
        return f"{target} ({packages[0]} {version(packages[0])})" if packages else target

    @cached_property
    def _offered(self) -> dict[str, EntryPoint]:
        """What installed packages offer; our own names stand before theirs."""
        group = entry_points(group=f"passion_bench.{self.kind}s")
        return {point.name: point for point in group if point.name not in self._own}

    def _target(self, name: str) -> str:
        return self._offered[name].value if name in self._offered else self._added.get(name, name)

    def _family(self, name: str) -> str:
        prefix = name.partition(":")[0]
        return prefix if ":" in name and prefix in self._families else ""

    def _about(self, name: str) -> str:
        return self._own[name][1] if name in self._own else f"plugin {self.origin(name)}"


@cache
def _packages(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Which packages each module comes from; finding that out takes half a second for each `path`."""
    return packages_distributions()


def load(target: str) -> Any:
    """Import ``module:attribute`` of a plugin, from an installed package or the current folder.

    Raises `InputError` saying what cannot be imported.
    """
    module, _, attribute = target.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            raise InputError(
                f"{target}: there is no module {error.name}: install its package, or start bench in the "
                "folder that holds it"
            ) from None
        raise InputError(f"{target}: {module} needs the module {error.name}: install it") from None
    except Exception as error:  # whatever a user's module does when it is imported
        raise InputError(f"{target} cannot be imported: {type(error).__name__}: {error}") from None
    if not attribute or not hasattr(found, attribute):
        names = [name for name, value in vars(found).items() if inspect.isclass(value)]
        raise InputError(f"{target}: {unknown('class', attribute, names)}")
    return getattr(found, attribute)


def construct(what: str, make: Callable[..., Any], facts: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """Call `make` with keywords: those of `facts` that it takes, and all of `arguments`.

    Raises `InputError` naming `what` for an argument that `make` does not take, needs in vain, or that is a
    fact and so not the user's to choose; and for a fact `options` that it does not take.
    """
    if not callable(make):
        raise InputError(f"{what} is a {type(make).__name__}, expected a class: name the class")
    parameters = inspect.signature(make).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    free = [p.name for p in named if p.name not in facts]
    if "options" in facts and "options" not in parameters and not open_ended:
        raise InputError(f"{what} takes no options: let its __init__ take `options` and pass it on")
    for argument in arguments:
        if argument in facts:
            raise InputError(f"{what}: the argument {argument} follows from the run: leave it out")
        if argument not in free and not open_ended:
            raise InputError(f"{what}: {unknown('argument', argument, free)}")
    given = {name: value for name, value in facts.items() if open_ended or name in parameters} | arguments
    missing = [p.name for p in named if p.default is p.empty and p.name not in given]
    if missing:
        raise InputError(f"{what} needs the arguments {', '.join(missing)}: give them under arguments")
    try:
        return make(**given)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise InputError(f"{what}: {error}") from None
        raise


def unknown(kind: str, name: str, known: list[str]) -> str:
    """Say that `name` is no `kind`, with the nearest of the `known` names and the list of all."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} '{name}': {hint}known are {', '.join(known) or 'none'}"


def attribute(target: str) -> Any:
    """Import ``module:attribute`` of ours, when it is needed."""
    module, name = target.split(":")
    return getattr(import_module(module), name)
