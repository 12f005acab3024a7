"""`bench list`, `bench check-backbone` and `bench check-objective`: what there is, and whether yours fits."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from backbones import BACKBONES
from bench_errors import InputError
from bench_registry import Registry
from benchmark.commands.options import ArgumentOption, PluginOption, register
from datasets.studies.names import CUSTOM, DATASETS
from datasets.vocabulary import Description
from passion import OBJECTIVES


def list_names(plugin: PluginOption = None) -> None:
    """List backbones, objectives, datasets, profiles and grids with what they are, one a line."""
    register(plugin)
    print_list()


def check_backbone(
    name: Annotated[str, typer.Argument(help="Name (see bench list), monai:NAME or module:Class.")],
    crop: Annotated[int, typer.Option("--crop", min=1, help="Edge of the test volumes in voxels.")] = 32,
    modalities: Annotated[int, typer.Option("--modalities", min=1)] = 3,
    argument: ArgumentOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check a backbone against the contract on random volumes; stop at what it does not keep."""
    register([*(plugin or []), *_typed(BACKBONES, name)])
    print_backbone_check(name, crop, modalities, argument or [])


def check_objective(
    name: Annotated[str, typer.Argument(help="Name (see bench list) or module:Class.")],
    argument: ArgumentOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check a training objective on random batches; stop at what goes wrong."""
    register([*(plugin or []), *_typed(OBJECTIVES, name)])
    print_objective_check(name, argument or [])


def print_list() -> None:
    """Print every name that is known, one a line."""
    lines = list_lines()
    width = max(len(f"{kind} {name}") for kind, name, _ in lines)
    for kind, name, about in lines:
        print(f"{f'{kind} {name}':{width}}  {about}".rstrip())


def list_lines() -> list[tuple[str, str, str]]:
    """Return every backbone, objective, dataset, profile, grid and study: kind, name and what it is."""
    from benchmark.config.grid import grid_lines
    from benchmark.tune.study_file import search_lines
    from datasets.missingness.availability import PROFILES

    return [
        *((r.kind, name, about) for r in (BACKBONES, OBJECTIVES) for name, about in r.lines()),
        *(("dataset", name, f"{about}: {_dataset(name)}") for name, about in DATASETS.lines()),
        ("dataset", CUSTOM, "a study of your own: give the path of the YAML file that describes it"),
        *(("profile", name, _profile(name)) for name in PROFILES),
        *(("grid", name, about) for name, about in grid_lines()),
        *(("study", name, about) for name, about in search_lines()),
    ]


def _typed(registry: Registry, name: str) -> list[str]:
    """A ``module:Class`` that the user has typed to have it checked: as good as --plugin."""
    return [name] if ":" in name and registry.kind_of(name) == "plugin" else []


def _dataset(name: str) -> str:
    study: Description = DATASETS.get(name)
    regions = ", ".join(region.name for region in study.regions)
    slices = ", slice by slice" if study.spatial_dims == 2 else ""
    return f"{', '.join(study.modalities)}; scores {regions}{slices}"


def _profile(name: str) -> str:
    """Say which modality is missing how often, of the study that has as many as the name has digits."""
    if name == "complete":
        return "every case has all that its files are"
    from bench_yaml import read_named
    from datasets.missingness.availability import SHIPPED
    from datasets.missingness.quotas import named_rates

    rates = named_rates(name)
    if rates is None:
        return str(read_named("profile", name, SHIPPED).content["about"])
    studies = map(DATASETS.get, ("brats2020", "myops2020", "msseg2016"))
    order = next(s.profile_order for s in studies if len(s.profile_order) == len(rates))
    draws = {"mr": "quotas", "ir": "independent draws", "cr": "draws as of HGA"}[name[:2]]
    missing = ", ".join(f"{m} {100 * rate:g} %" for m, rate in zip(order, rates, strict=True))
    return f"missing in training, by {draws}: {missing}"


def print_backbone_check(name: str, crop: int, modalities: int, arguments: Iterable[str]) -> None:
    """Check a backbone against the contract and print a line for each check that passed."""
    from backbones.check import check_backbone

    for line in check_backbone(BACKBONES.check(name), crop, modalities, **_keywords(arguments)):
        print(f"ok  {line}", flush=True)
    print(f"{name} keeps the contract")


def print_objective_check(name: str, arguments: Iterable[str]) -> None:
    """Check an objective on tiny batches and print a line for each check that passed."""
    from passion.check import check_objective

    for line in check_objective(OBJECTIVES.check(name), **_keywords(arguments)):
        print(f"ok  {line}", flush=True)
    print(f"{name} keeps the contract")


def _keywords(arguments: Iterable[str]) -> dict[str, Any]:
    """Read ``["depth=3", "filters=[8, 16]"]``; values are YAML."""
    from bench_yaml import parse_yaml

    found = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise InputError(f"--argument {text}: expected NAME=VALUE, such as width=4 or filters='[8, 16]'")
        found[name] = parse_yaml(value, f"--argument {text}").content
    return found
