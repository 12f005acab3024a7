"""Backbones and objectives of other packages by ``--plugin module:Class``; what the list and checks print.

register(["my_package.my_module:MyNet"])        # MyNet is a backbone's name now
print_list()
print_backbone_check("MyNet", crop=32, modalities=3, arguments=["depth=3"])
"""

from collections.abc import Iterable
from typing import Any

import yaml

from backbones import BACKBONES
from bench_errors import InputError
from bench_registry import Registry, load
from benchmark.grid import grid_lines
from benchmark.tune.plan import plan_lines
from datasets import CUSTOM, DATASETS
from datasets.missing import PROFILES, SHIPPED
from datasets.vocabulary import Description
from passion import OBJECTIVES


def register(targets: Iterable[str]) -> None:
    """Let the class name of each ``module:Class`` stand for it in this process, by its base class.

    Raises `InputError` for what cannot be imported, or is neither a backbone nor an objective.
    """
    for target in targets:
        if ":" not in target:
            raise InputError(f"--plugin {target}: expected module:Class, such as my_package.my_module:MyNet")
        _registry_of(target).add(target.rpartition(":")[2], target)


def _registry_of(target: str) -> Registry:
    found = load(target)
    from backbones.contract import Backbone
    from passion.objective import Objective

    for base, registry in ((Backbone, BACKBONES), (Objective, OBJECTIVES)):
        if isinstance(found, type) and issubclass(found, base):
            return registry
    raise InputError(
        f"--plugin {target} is neither a backbone nor an objective: derive it from "
        "backbones.contract.Backbone or passion.objective.Objective"
    )


def print_list() -> None:
    """Print every backbone, objective, dataset, profile, grid and study: kind, name and what it is."""
    lines = [
        *((r.kind, name, about) for r in (BACKBONES, OBJECTIVES) for name, about in r.lines()),
        *(("dataset", name, f"{about}: {_dataset(name)}") for name, about in DATASETS.lines()),
        ("dataset", CUSTOM, "a study of your own: give the path of the YAML file that describes it"),
        *(("profile", name, _profile(name)) for name in PROFILES),
        *(("grid", name, about) for name, about in grid_lines()),
        *(("study", name, about) for name, about in plan_lines()),
    ]
    width = max(len(f"{kind} {name}") for kind, name, _ in lines)
    for kind, name, about in lines:
        print(f"{f'{kind} {name}':{width}}  {about}".rstrip())


def _dataset(name: str) -> str:
    study: Description = DATASETS.get(name)
    regions = ", ".join(region.name for region in study.regions)
    slices = ", slice by slice" if study.spatial_dims == 2 else ""
    return f"{', '.join(study.modalities)}; scores {regions}{slices}"


def _profile(name: str) -> str:
    """Say which modality is missing how often, of the study that has as many as the name has digits."""
    if name == "complete":
        return "every case has every modality"
    if not name[2:].isdigit():
        return str(yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))["about"])
    studies = (DATASETS.get("brats2020"), DATASETS.get("myops2020"))
    order = next(s.profile_order for s in studies if len(s.profile_order) == len(name) - 2)
    draws = {"mr": "quotas", "ir": "independent draws"}[name[:2]]
    missing = ", ".join(f"{m} {digit}0 %" for m, digit in zip(order, name[2:], strict=True))
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
    found = {}
    for text in arguments:
        name, equals, value = text.partition("=")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not (name.isidentifier() and equals):
            raise InputError(f"--argument {text}: expected NAME=VALUE, such as width=4 or filters='[8, 16]'")
    return found
