"""Where the options of other packages go: under `arguments`, and `origin` is filled in."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import JsonValue, PlainSerializer

from bench_registry import Registry


def _as_hashed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_hashed(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_as_hashed(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


Arguments = Annotated[dict[str, JsonValue], PlainSerializer(_as_hashed, when_used="json")]
"""Keywords of a class that takes what it likes. As JSON, for a hash, equal numbers are written equally."""


def kind_of(registry: Registry) -> Callable[[Any], str]:
    """Return what tells the kinds of a section apart by its name: see `Registry.kind_of`."""

    def kind(value: Any) -> str:
        name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
        return registry.kind_of(name) if isinstance(name, str) else "own"

    return kind


def origin_of(registry: Registry, name: str, recorded: str) -> str:
    """Return where the plugin `name` comes from; raise `ValueError` if that is not what was `recorded`.

    So the hash of a run covers the version of a plugin, and a run is not finished with another one.
    """
    found = registry.origin(registry.check(name))
    if recorded not in ("", found):
        raise ValueError(
            f"{registry.kind} {name} was {recorded} when the run was begun and is {found} now: install that "
            "again, or remove the run folder to start afresh"
        )
    return found
