"""Options that make each backbone so small that every test may train it: ``tiny("rfnet")``.

`SEGMENTING` are the objectives that train every backbone; `trained_by` makes a network for any objective.
"""

from typing import Any

import backbones
from backbones.contract import Backbone
from passion import OBJECTIVES

SEGMENTING = [name for name in OBJECTIVES if OBJECTIVES.get(name).Options(name=name).segments]
LESS: dict[str, dict[str, Any]] = {"m3ae": {"image": (40, 24, 3)}}
"""What beside `width` makes a network small."""
CROPS = dict.fromkeys(
    ("rfnet", "transunet", "uhemis", "uhved", "robustseg", "shaspec", "a2fseg", "gaussian"), 16
)
"""Crops of networks that take so small ones: quicker by half than the others' 32 voxels."""


def tiny(name: str, width: int = 2) -> dict[str, Any]:
    """Return the options of backbone `name`."""
    has_width = "width" in backbones.BACKBONES.get(name).Options.model_fields
    return {**({"width": width} if has_width else {}), **LESS.get(name, {})}


def trained_by(objective: str, modalities: int, classes: int, spatial_dims: int = 3) -> Backbone:
    """Return a small network that `objective` trains."""
    name = "rfnet" if objective in SEGMENTING else "m3ae"
    net = backbones.create(name, modalities, classes, spatial_dims=spatial_dims, **tiny(name))
    if objective not in SEGMENTING:
        net.begin("pretraining")
    return net
