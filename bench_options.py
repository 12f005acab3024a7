"""Typed options: what a section of a configuration may say, and what a backbone or an objective takes.

    class RFNet(Backbone):
        class Options(MethodOptions):
            \"\"\"`width`: channels of the finest level.\"\"\"

            width: int = Field(8, ge=1)

        def __init__(self, modalities: int, classes: int, options: Options): ...

    options = read_options(BACKBONES, KeywordOptions, {"name": "rfnet", "width": 4})     # RFNet.Options
    network = build(BACKBONES, Backbone, options, {"modalities": 4, "classes": 4})

A class declares its options in itself; a configuration finds them by the registry. The class of another
package may do the same, or take keywords, which a configuration gives under `arguments`. An option that a
section does not have is an error that names the nearest.
"""

from typing import Annotated, Any

from pydantic import Field, JsonValue, PlainSerializer, ValidationError

from bench_errors import InputError
from bench_registry import Registry, construct
from bench_schema import Frozen, problems_of
from bench_yaml import Document


def _as_hashed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_hashed(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_as_hashed(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


Arguments = Annotated[dict[str, JsonValue], PlainSerializer(_as_hashed, when_used="json")]
"""Keywords of a class that takes what it likes. As JSON, for a hash, equal numbers are written equally."""


class MethodOptions(Frozen):
    """What the options of all backbones and objectives have: the `name` in the registry.

    `origin` is filled in for a class of another package: where it comes from, and its version.
    """

    name: str
    origin: str = Field("", init=False, exclude_if=lambda origin: not origin)


class KeywordOptions(MethodOptions):
    """The options of a class of another package that declares none: `arguments` are its keywords."""

    arguments: Arguments = Field(default_factory=dict)


def read_options(registry: Registry, keyword_class: type[KeywordOptions], section: Any) -> Any:
    """Return the options that a section of a configuration states, a mapping with `name`.

    Options are returned as they are, and so is what is no such section: pydantic names what is wrong with it.

    Args:
        registry: of the backbones or of the objectives.
        keyword_class: options of those classes of other packages that declare none.
        section: what the configuration holds.

    Raises `InputError` for an unknown name, and for a plugin that is not the recorded one: the hash of a run
    covers the version of a plugin, and a run is not finished with another. Raises pydantic's
    `ValidationError` for wrong options.
    """
    name = section.get("name") if isinstance(section, dict) else None
    if not isinstance(name, str):
        return section
    options_class = _options_class(registry, keyword_class, name)
    origin = registry.origin(name) if registry.kind_of(name) == "plugin" else ""
    if section.get("origin", "") not in ("", origin):
        raise InputError(
            f"{registry.kind} {name} was {section['origin']} when the run was begun and is "
            f"{origin or 'one of ours'} now: install that again, or remove the run folder to start afresh"
        )
    return options_class.model_validate({**section, "origin": origin})


def options_of(
    registry: Registry,
    keyword_class: type[KeywordOptions],
    method: str | MethodOptions,
    keywords: dict[str, Any],
) -> Any:
    """Return the options that a name and keywords state; `method` itself where it is options already.

    Where a method has `arguments`, the keywords that are no options are those. Raises `InputError` for an
    unknown name or a wrong option.
    """
    if isinstance(method, MethodOptions):
        if keywords:
            raise TypeError(f"{', '.join(keywords)}: the options of {method.name} are given already")
        return method
    fields = _options_class(registry, keyword_class, method).model_fields
    if "arguments" in fields and "arguments" not in keywords:
        arguments = {key: value for key, value in keywords.items() if key not in fields}
        keywords = {key: value for key, value in keywords.items() if key in fields}
        keywords["arguments"] = arguments
    section = {"name": method, **keywords}
    try:
        return read_options(registry, keyword_class, section)
    except ValidationError as error:
        raise Document(section, f"{registry.kind} {method}").errors(problems_of(section, error)) from None


def build(registry: Registry, contract: type, options: MethodOptions, facts: dict[str, Any]) -> Any:
    """Construct what `options` are of, from them and those of `facts` that it takes.

    Raises `InputError` for a class that does not derive from `contract` or does not take its options.
    """
    method = registry.get(options.name)
    is_one = isinstance(method, type) and issubclass(method, contract)
    if not is_one and registry.kind_of(options.name) in ("own", "plugin"):  # a family makes what is called
        raise InputError(
            f"{options.name} is no {registry.kind}: derive a class from "
            f"{contract.__module__}.{contract.__name__}"
        )
    arguments = options.arguments if isinstance(options, KeywordOptions) else {}
    if type(options) is not KeywordOptions:  # which holds nothing beside the arguments
        facts = {**facts, "options": options}
    return construct(f"{registry.kind} {options.name}", method, facts, arguments)


def _options_class(registry: Registry, keyword_class: type[KeywordOptions], name: str) -> type[MethodOptions]:
    shared: type[MethodOptions] = keyword_class.__bases__[0]  # from which all options of the kind derive
    declared: Any = getattr(registry.get(name), "Options", shared)
    if not (isinstance(declared, type) and issubclass(declared, shared)):
        raise InputError(
            f"{registry.kind} {name} has Options {declared!r}, expected a class: derive it from "
            f"{shared.__module__}.{shared.__name__}"
        )
    return keyword_class if declared is shared and registry.kind_of(name) == "plugin" else declared
