"""Pages made from the code: `PAGES` has each page's path and the function that returns its Markdown."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import cleandoc
from typing import Any

import typer
from pydantic import BaseModel
from typer.cli import get_docs_for_click

from backbones import BACKBONES
from bench_options import MethodOptions
from bench_registry import Registry
from benchmark.commands.app import app
from benchmark.commands.lists import list_lines
from benchmark.config.grid import GRIDS
from benchmark.config.grid_file import GridContent, PhantomOptions
from benchmark.config.run_config import NAMED, PretrainConfig, RunConfig, TestConfig, TrainConfig
from benchmark.evaluation.metrics import METRICS, POLICIES
from benchmark.tune.study_file import SPACES
from datasets.batches.split import named_splits
from passion import OBJECTIVES
from passion.options import ObjectiveOptions

MODULES = {
    "passion_bench": "The suite in your own code",
    "backbones.contract": "The contract of backbones",
    "passion.objective": "The contract of training objectives",
    "bench_options": "Options of backbones and objectives",
    "datasets.vocabulary": "What is known of a study",
    "benchmark.run_folder.folder": "A run folder on disk",
}
"""Those that others write against, and what each is to them."""
SECTIONS = {
    "TrainConfig": "[`train`](#train)",
    "TestConfig": "[`test`](#test)",
    "PretrainConfig": "[`pretrain`](#pretrain)",
}
"""What the page of options calls a model."""


def _commands() -> str:
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="bench"), name="bench")
    text = re.sub(r"^\*\*Commands\*\*:\n\n(\* .*\n)+\n?", "", text, flags=re.MULTILINE)
    return "# Commands\n\n" + re.sub(r"^# .*\n", "", text)


def _options() -> str:
    sections: dict[str, type[BaseModel]] = {
        "A run": RunConfig,
        "`train`": TrainConfig,
        "`test`": TestConfig,
        "`pretrain`": PretrainConfig,
        "A grid file": GridContent,
        "`data` of a grid file": PhantomOptions,
    }
    parts = [f"## {title}\n\n{_model(model)}" for title, model in sections.items()]
    about = (
        "What a [grid file](../docs/run-a-grid.md) may say under `base`, in an axis, and on the command line "
        "as `--set KEY=VALUE`. `backbone` and `objective` are a name, or a mapping with `name` and the "
        "options of [that network](backbones.md) or [that objective](objectives.md)."
    )
    return "\n\n".join(["# Options of a run", about, *parts])


def _methods(registry: Registry, title: str, about: str, shared: type[MethodOptions]) -> str:
    parts = [f"# {title}\n\n{about}"]
    if set(shared.model_fields) - {"name", "origin"}:
        parts.append(f"## All of them\n\n{_model(shared)}")
    for name, line in registry.lines():
        if "<" in name:
            parts.append(f"## `{name}`\n\n{line}")
            continue
        options = registry.get(name).Options
        parts.append(f"## `{name}`\n\n{line[0].upper()}{line[1:]}.\n\n{_model(options, beside=shared)}")
    return "\n\n".join(parts)


def _shipped() -> str:
    kinds: dict[str, list[tuple[str, str]]] = {}
    for kind, name, about in list_lines():
        kinds.setdefault(kind, []).append((f"`{name}`", about))
    parts = ["# What is shipped\n\nBy name, as `bench list` prints it."]
    plurals = {"study": "Studies of options"}
    for kind, lines in kinds.items():
        parts.append(
            f"## {plurals.get(kind, f'{kind}s'.capitalize())}\n\n{_table(('name', 'what it is'), lines)}"
        )
    metrics = [
        (f"`{m.name}`", "higher" if m.higher_is_better else "lower", m.unit or "%") for m in METRICS.values()
    ]
    parts.append(f"## Metrics\n\n{_table(('name', 'better', 'unit'), metrics)}")
    parts.append("## Policies of metrics\n\n" + "\n".join(f"- `{name}`" for name in POLICIES))
    splits = [(f"`{name}`", f"`{dataset}`") for name, dataset in named_splits().items()]
    parts.append(f"## Published splits\n\n{_table(('name', 'dataset'), splits)}")
    for title, folder in (("grids", GRIDS), ("studies of options", SPACES)):
        files = [
            f"### `{path.stem}`\n\n```yaml\n{path.read_text()}```" for path in sorted(folder.glob("*.yaml"))
        ]
        parts.append("\n\n".join([f"## The {title} as files", *files]))
    return "\n\n".join(parts)


def _module(module: str, title: str) -> str:
    return f"# {title}\n\n`{module}`\n\n::: {module}\n"


def _model(model: type[BaseModel], beside: type[BaseModel] = BaseModel) -> str:
    """Say what a model is and list what a user may set of it, but for the fields of another."""
    schema = model.model_json_schema()
    text = cleandoc(model.__doc__ or "")
    said: dict[str, str] = {}
    for base in reversed(model.__mro__):
        said |= _descriptions(base.__doc__ or "")
    rows = [
        (f"`{name}`", _words(field), _default(name, schema), said.get(name, ""))
        for name, field in schema["properties"].items()
        if name not in beside.model_fields and name not in ("name", "origin", "description")
    ]
    first = re.split(r"(?:^|\s)`\w+`(?:, `\w+`)*: ", text)[0].strip()
    declared = beside is BaseModel or model.__qualname__.endswith(".Options")  # not taken from another
    about = [first] if first and declared else []
    table = (
        _table(("option", "value", "default", "what it does"), rows)
        if rows
        else "It has no options of its own."
    )
    return "\n\n".join([*about, table])


def _descriptions(text: str) -> dict[str, str]:
    """What a docstring says of each field: it names one or several in backticks, before a colon."""
    found: dict[str, str] = {}
    parts = re.split(r"(?:^|(?<=\s))((?:`\w+`(?:, )?)+): ", " ".join(text.split()))
    for names, words in zip(parts[1::2], parts[2::2], strict=True):
        found |= dict.fromkeys(re.findall(r"\w+", names), words.strip())
    return found


def _default(name: str, schema: dict[str, Any]) -> str:
    if name in schema.get("required", ()):
        return f"`{NAMED[name]}`" if schema["title"] == "RunConfig" else "has to be given"
    value = schema["properties"][name].get("default")
    if isinstance(value, dict):
        return "its defaults"
    if isinstance(value, list):
        value = f"[{', '.join(map(str, value))}]"
    return "" if value in (None, "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _words(field: dict[str, Any]) -> str:
    """Say in words which values a field of a JSON schema takes."""
    if "$ref" in field:
        return SECTIONS.get(field["$ref"].rpartition("/")[2], "name or mapping")
    if choices := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(_words(choice) for choice in choices if choice.get("type") != "null")
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kinds = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
    kinds |= {"object": "mapping"}
    kind = field.get("type", "")
    if kind == "array":
        return f"list: {_words(field.get('items', {}))}".removesuffix(": ")
    bounds = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
        "multipleOf": "in steps of {}",
    }
    limits = [words.format(f"{field[key]:g}") for key, words in bounds.items() if key in field]
    return " ".join([kinds.get(kind, ""), *limits])


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": _commands,
    "reference/options.md": _options,
    "reference/backbones.md": partial(
        _methods,
        BACKBONES,
        "Options of networks",
        "As `backbone: {name: rfnet, width: 8}`. Where each comes from: [methods](../docs/methods.md).",
        MethodOptions,
    ),
    "reference/objectives.md": partial(
        _methods,
        OBJECTIVES,
        "Options of objectives",
        "As `objective: {name: passion, tau: 4}`. Where each comes from: [methods](../docs/methods.md).",
        ObjectiveOptions,
    ),
    "reference/shipped.md": _shipped,
    **{f"reference/{module}.md": partial(_module, module, title) for module, title in MODULES.items()},
}
