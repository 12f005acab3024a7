"""What a file or a part of it may say, as pydantic models, and all that is wrong with it in our words.

    class Range(Frozen):
        low: float
        high: float

    Range.model_validate({"low": 3, "hihg": 4})    # ValidationError: hihg, did you mean high; high is missing

A leaf that every room may import; `bench_yaml` adds file and line.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]
"""The keys and indices that lead to a part of a file."""
Problem = tuple[Location, str]
"""Where something is wrong, and what."""

_KEY, _VALUE = "wrong_key", "wrong_value"
"""The types of our errors: the location of the first ends with a key that may be absent."""
_LONGEST = 80
"""Characters of a value that are shown."""
_EXPECTED = {
    "model_type": "a mapping with the keys {keys}",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
    "multiple_of": "a multiple of {multiple_of:g}",
    "too_short": "{min_length} or more entries",
    "too_long": "{max_length} or fewer entries",
    "string_too_short": "text",
    "literal_error": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "union_tag_not_found": "a mapping with {discriminator}",
}
"""What each of pydantic's errors expects, in words of YAML."""


class Frozen(BaseModel):
    """A part of a file: immutable, without unknown keys, of exact types and finite numbers.

    Validators say what is wrong with their value by a `ValueError`, and with parts of it by `refuse`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _word_errors(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            options = [name for name, field in cls.model_fields.items() if field.init is not False]
            details = [_worded(detail, options) for detail in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(cls.__name__, details)


def refuse(problems: Mapping[Location, str]) -> None:
    """Raise the error of a validator whose value has problems: where in it, and what is wrong."""
    details = [_detail(_KEY if location else _VALUE, location, text) for location, text in problems.items()]
    if details:
        raise ValidationError.from_exception_data("refused", details)


def problems_of(content: Any, error: ValidationError) -> list[Problem]:
    """Return what a model found wrong with the content, without what pydantic puts in for unions."""
    return [(_location(content, detail), detail["msg"]) for detail in error.errors(include_url=False)]


def _worded(detail: ErrorDetails, keys: list[str]) -> InitErrorDetails:
    """Put an error of pydantic into our words; `keys` are those of the model, for errors of itself."""
    kind, location, text = detail["type"], detail["loc"], detail["msg"]
    if kind in (_KEY, _VALUE):
        return _detail(kind, location, text)
    if kind == "missing":
        return _detail(_KEY, location, "is missing: add it")
    if kind == "extra_forbidden":
        near = get_close_matches(str(location[-1]), keys, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else "remove it;"
        return _detail(_KEY, location, f"no such option here, {advice} known are {', '.join(keys)}")
    if kind == "value_error":
        return _detail(_VALUE, location, text.removeprefix("Value error, "))
    if kind in _EXPECTED:
        text = "expected " + _EXPECTED[kind].format(keys=", ".join(keys), **detail.get("ctx", {}))
    value = repr(detail["input"])
    return _detail(_VALUE, location, f"{text}, found {value if len(value) < _LONGEST else value[:_LONGEST]}")


def _detail(kind: str, location: Location, text: str) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError(kind, "{text}", {"text": text}), loc=location, input=None
    )


def _location(content: Any, detail: ErrorDetails) -> Location:
    """Return where an error of a model is in the content: pydantic names the members of unions too."""
    location: list[str | int] = []
    for i, part in enumerate(detail["loc"]):
        absent = i == len(detail["loc"]) - 1 and detail["type"] == _KEY
        if isinstance(content, dict) and (part in content or absent):
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part]
        else:
            continue
        location.append(part)
    return tuple(location)
