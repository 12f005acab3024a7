"""What the tables call things: modalities, backbones, and methods told apart by what differs.

    method_titles([run.config, ...])      # ["RFNet baseline", "RFNet + PASSION (tau=2.0)", ...]

A name without a title of its own stands as it is, so a new backbone or dataset needs no entry here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MODALITIES = {"t1ce": "T1ce", "bssfp": "bSSFP"}
"""Modalities whose title is not their name in capitals."""
NETWORKS_AND_METHODS = {
    "rfnet": "RFNet",
    "mmformer": "mmFormer",
    "m2ftrans": "M2FTrans",
    "transunet": "TransUNet",
    "passion": "PASSION",
    "moddrop": "ModDrop",
    "pmr": "PMR",
    "kd": "KD",
    "gradnorm": "GradNorm",
    "dwa": "DWA",
    "uncertainty": "uncertainty weighting",
    "pcgrad": "PCGrad",
}
POLICIES = {"idt": "", "idt_drop": " (random drop)", "pdt": " (PDT)"}
NO_METHOD = ("dataset", "profile", "seed")
"""Keys of a configuration that say what a method is tried on, not what it is."""


def modality_title(name: str) -> str:
    """``t1ce`` -> ``T1ce``, ``flair`` -> ``FLAIR``."""
    return MODALITIES.get(name, name.upper())


def method_titles(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one title per configuration; those that differ in more than the seed get different ones.

    Backbone, objective and policy come first; the options in which equally named ones differ follow in
    brackets. All `configs` are of one dataset and profile.
    """
    options = [_options(config) for config in configs]
    titles = [_title(config) for config in configs]
    return [
        titles[i]
        + _difference(options[i], [o for o, t in zip(options, titles, strict=True) if t == titles[i]])
        for i in range(len(configs))
    ]


def method_order(config: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key of methods: by backbone, the baseline before others, then by options, numbers by size.

    One with fewer options comes first: an option without a value is a method as published.
    """
    objective = config["objective"]["name"]
    values = sorted(_options(config).items())
    return (
        config["backbone"]["name"],
        objective != "baseline",
        objective,
        len(values),
        [(k, (0, v, "") if isinstance(v, int | float) else (1, 0, str(v))) for k, v in values],
    )


def _title(config: Mapping[str, Any]) -> str:
    backbone, objective = (
        NETWORKS_AND_METHODS.get(name, name.rpartition(":")[2])
        for name in (config["backbone"]["name"], config["objective"]["name"])
    )
    joint = " " if objective == "baseline" else " + "
    return f"{backbone}{joint}{objective}{POLICIES.get(config['objective'].get('policy', 'idt'), '')}"


def _options(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            leaves |= _options(value, f"{prefix}{key}.")
        elif prefix or (key not in NO_METHOD and not (key == "split" and str(value).startswith("fold"))):
            leaves[f"{prefix}{key}"] = value
    return leaves


def _difference(own: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    keys = sorted({key for options in alike for key in options})
    differing = [key for key in keys if len({json.dumps(o.get(key)) for o in alike}) > 1]
    parts = [f"{key.rpartition('.')[2]}={_short(own[key])}" for key in differing if key in own]
    return f" ({', '.join(parts)})" if parts else ""


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
