"""Published checkpoints in our names: ``net.load_state_dict(from_released("rfnet", torch.load(file)))``.

A backbone that has published weights offers a method ``released_names(name) -> list[str]``: the released
name of its parameter `name`, or several, if ours is theirs concatenated along the first dimension.
`shared_released_name` translates the parts built from `backbones.blocks`, if a network keeps them as

    encoders             nn.ModuleList of ModalityEncoder, in the order FLAIR, T1ce, T1, T2
    unimodal_decoder     UnimodalDecoder
    fused_decoder        with `stages` (an nn.ModuleList of DecoderStage, finest first) and `head`
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import backbones
from backbones import BACKBONES
from bench_errors import InputError

RELEASED_MODALITIES = ("flair", "t1ce", "t1", "t2")
_STAGE_PARTS = {"rising": "c1", "joining": "c2", "mixing": "out"}


def shared_released_name(name: str) -> str:
    """Return `name` with the parts that all networks share under their released names."""
    name = re.sub(r"^encoders\.(\d)\.", lambda m: f"{RELEASED_MODALITIES[int(m[1])]}_encoder.", name)
    name = re.sub(r"\blevels\.(\d)\.entry\.", lambda m: f"e{int(m[1]) + 1}_c1.", name)
    name = re.sub(r"\blevels\.(\d)\.residual\.(\d)\.", lambda m: f"e{int(m[1]) + 1}_c{int(m[2]) + 2}.", name)
    name = re.sub(r"^unimodal_decoder\.", "decoder_sep.", name)
    name = re.sub(r"^fused_decoder\.", "decoder_fuse.", name)
    name = re.sub(
        r"\bstages\.(\d)\.(rising|joining|mixing)\.",
        lambda m: f"d{int(m[1]) + 1}_{_STAGE_PARTS[m[2]]}.",
        name,
    )
    return re.sub(r"\.head\.", ".seg_layer.", name)


def from_released(name: str, state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Translate the released weights of backbone `name` (BraTS, its default options) to our names.

    Args:
        name: a registered backbone.
        state_dict: released parameter names to tensors, with or without a ``module.`` prefix, or a checkpoint
            dictionary that has it under ``state_dict``.

    Returns what `load_state_dict` of that backbone takes. Raises `InputError` if the backbone has no
    published weights, or naming what is missing, left over or of another shape.
    """
    released = _bare(state_dict)
    if not hasattr(BACKBONES.get(name), "released_names"):
        raise InputError(
            f"backbone '{name}' has no published weights: import a checkpoint of another backbone"
        )
    with torch.device("meta"):
        net: Any = backbones.create(name, modalities=4, classes=4)
    ours: dict[str, Tensor] = {}
    missing: list[str] = []
    misshapen: list[str] = []
    left_over = dict(released)
    for key, parameter in net.state_dict().items():
        names = net.released_names(key)
        absent = [n for n in names if n not in released]
        missing += absent
        parts = [left_over.pop(n) for n in names if n not in absent]
        if absent:
            continue
        expected = (parameter.shape[0] // len(names), *parameter.shape[1:])
        wrong = [f"{n} {list(p.shape)}" for n, p in zip(names, parts, strict=True) if p.shape != expected]
        if wrong:
            misshapen += [f"{w} instead of {list(expected)}" for w in wrong]
        else:
            ours[key] = torch.cat(parts) if len(parts) > 1 else parts[0]
    if problems := _problems(missing, list(left_over), misshapen):
        raise InputError(
            f"the weights do not fit {name} as released: {problems}: "
            "give the checkpoint that belongs to this backbone"
        )
    return ours


def load_into(network: nn.Module, state_dict: Mapping[str, Any], source: str) -> None:
    """Load weights under our names, a checkpoint around them or not, into a network.

    Raises `InputError` naming their `source` and what is missing, left over or of another shape.
    """
    given, ours = _bare(state_dict), network.state_dict()
    misshapen = [
        f"{name} {list(given[name].shape)} instead of {list(value.shape)}"
        for name, value in ours.items()
        if name in given and given[name].shape != value.shape
    ]
    missing, left_over = ([n for n in one if n not in other] for one, other in ((ours, given), (given, ours)))
    if problems := _problems(missing, left_over, misshapen):
        raise InputError(
            f"the weights of {source} do not fit {type(network).__name__}: {problems}: give those of a "
            "network with the same options, modalities and classes"
        )
    network.load_state_dict(given)


def _problems(missing: list[str], left_over: list[str], misshapen: list[str]) -> str:
    kinds = {"missing": missing, "left over": left_over, "of another shape": misshapen}
    return "; ".join(f"{len(names)} {what} ({_few(names)})" for what, names in kinds.items() if names)


def _bare(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of `state_dict` by name, freed of a checkpoint around them and of ``module.``."""
    inner = state_dict.get("state_dict", state_dict)
    if not isinstance(inner, Mapping) or not all(isinstance(v, Tensor) for v in inner.values()):
        raise InputError(
            "found a checkpoint without weights, expected tensors by name, or a dictionary that has them "
            "under 'state_dict': give the checkpoint file of a trained network"
        )
    return {key.removeprefix("module."): value for key, value in inner.items()}


def _few(names: list[str], limit: int = 3) -> str:
    """Return the first `limit` names as a readable list."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
