"""What the sections of a configuration have in common, and where the options of other packages go.

An option that a section does not have is an error that names the nearest. What comes from another package
takes its options under `arguments`, and its `origin` is filled in.
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from bench_registry import Registry

Arguments = dict[str, JsonValue]


class Frozen(BaseModel):
    """A part of a configuration: immutable, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: Any) -> Any:
        known = list(cls.model_fields)
        wrong = [str(key) for key in data if key not in known] if isinstance(data, dict) else []
        if wrong:
            near = get_close_matches(wrong[0], known, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]}?" if near else "remove it;"
            raise PydanticCustomError(
                "unknown_option",
                "no such option here, {advice} known are {known}",
                {"option": wrong[0], "advice": advice, "known": ", ".join(known)},
            )
        return data


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
