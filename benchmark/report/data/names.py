"""What the tables call things: modalities, backbones, and methods told apart by what differs.

    method_titles([run.config, ...])      # ["RFNet baseline", "RFNet + PASSION (tau=2.0)", ...]

A name without a title of its own stands as it is, so a new backbone or dataset needs no entry here.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets.batches.split import repeats

MODALITIES = {"t1ce": "T1ce", "bssfp": "bSSFP"}
"""Modalities whose title is not their name in capitals."""
NETWORKS_AND_METHODS = {
    "rfnet": "RFNet",
    "mmformer": "mmFormer",
    "m2ftrans": "M2FTrans",
    "uhved": "U-HVED",
    "robustseg": "RobustSeg",
    "sfusion": "SFusion",
    "transunet": "TransUNet",
    "gaussian": "Voxelwise Gaussian",
    "uhemis": "U-HeMIS",
    "imfuse": "IM-Fuse",
    "m3ae": "M3AE",
    "sharedunet": "shared U-Net",
    "shaspec": "ShaSpec",
    "a2fseg": "A2FSeg",
    "passion": "PASSION",
    "moddrop": "ModDrop",
    "pmr": "PMR",
    "kd": "KD",
    "gss": "GSS",
    "hga": "HGA",
    "gradnorm": "GradNorm",
    "dwa": "DWA",
    "uncertainty": "uncertainty weighting",
    "pcgrad": "PCGrad",
}
POLICIES = {"idt": "", "idt_drop": " (random drop)", "pdt": " (PDT)"}
NO_METHOD = (
    *("dataset", "description", "profile", "table_seed", "seed"),
    *("test.policy", "test.metrics", "test.slices", "test.empty_slices"),
)
"""Keys of a configuration that say what a method is tried on or scored by, not what it is."""


def modality_title(name: str) -> str:
    """``t1ce`` -> ``T1ce``, ``flair`` -> ``FLAIR``."""
    return MODALITIES.get(name, name.upper())


def network_title(name: str) -> str:
    """``rfnet`` -> ``RFNet``; of objectives too: ``passion`` -> ``PASSION``."""
    return NETWORKS_AND_METHODS.get(name, name.rpartition(":")[2])


def is_dedicated(config: Mapping[str, Any]) -> bool:
    """Whether a run's network is for one subset alone."""
    return bool(config.get("train", {}).get("subset"))


def method_titles(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one title per configuration; those that differ in more than the seed get different ones.

    Backbone, objective and policy come first; the options in which equally named ones differ follow in
    brackets. What goes without saying is left out: a part that is on, an option without a value, a value that
    more than half of them have. All `configs` are of one dataset.
    """
    every = [options(config) for config in configs]
    titles = [_title(config) for config in configs]
    usual = {
        title: _usual([own for own, other in zip(every, titles, strict=True) if other == title])
        for title in dict.fromkeys(titles)
    }
    return [title + _in_brackets(own, usual[title]) for own, title in zip(every, titles, strict=True)]


def without_network(title: str, network: str) -> str:
    """``RFNet + PASSION (tau=2)`` -> ``PASSION (tau=2)``, the network being `rfnet`."""
    return title.removeprefix(network_title(network)).strip().removeprefix("+ ")


def method_order(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key of methods: by backbone, the baseline before others, then by options, numbers by size.

    One with fewer options comes first: an option without a value is a method as published.
    """
    objective = config["objective"]["name"]
    values = sorted(options(config).items())
    return (
        config["backbone"]["name"],
        objective != "baseline",
        objective,
        len(values),
        [(k, (0, v, "") if isinstance(v, int | float) else (1, 0, str(v))) for k, v in values],
    )


def options(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what makes a configuration a method, flat: ``{"objective.tau": 4.0, ...}``."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            leaves |= options(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" == "train.subset":
            leaves["train.subset"] = "dedicated"  # the networks of all subsets are one method
        elif f"{prefix}{key}" not in NO_METHOD and not (key == "split" and repeats(value)):
            leaves[f"{prefix}{key}"] = value
    return leaves


def _title(config: Mapping[str, Any]) -> str:
    backbone, objective = (network_title(config[part]["name"]) for part in ("backbone", "objective"))
    joint = " " if config["objective"]["name"] == "baseline" else " + "
    if is_dedicated(config):
        objective = "dedicated" if joint == " " else f"{objective} (dedicated)"
    return f"{backbone}{joint}{objective}{POLICIES.get(config['objective'].get('policy', 'idt'), '')}"


def _usual(alike: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The options in which equally titled methods differ, each with the value that is left out of titles."""
    methods = list({json.dumps(own, sort_keys=True): own for own in alike}.values())
    usual: dict[str, Any] = {}
    for key in sorted({key for own in methods for key in own}):
        values = [own.get(key) for own in methods]
        if all(value == values[0] for value in values):
            continue
        common, times = Counter(map(json.dumps, values)).most_common(1)[0]
        if None in values:
            usual[key] = json.dumps(None)
        elif any(isinstance(value, bool) for value in values):
            usual[key] = json.dumps(True)
        else:
            usual[key] = common if 2 * times > len(methods) else ""
    return usual


def _in_brackets(own: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    last = {key: key.rpartition(".")[2] for key in usual}
    alike = Counter(last.values())
    parts = [
        f"{key if alike[last[key]] > 1 else last[key]}={_short(own.get(key))}"
        for key, value in usual.items()
        if json.dumps(own.get(key)) != value
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return str(value)
