"""Networks that cope with absent modalities: ``backbones.create("rfnet", modalities=4, classes=4)``."""

from typing import TYPE_CHECKING, Any

from bench_registry import Registry

if TYPE_CHECKING:
    from backbones.contract import Backbone

BACKBONES = Registry(
    "backbone",
    {
        "rfnet": "backbones.rfnet:RFNet",
        "mmformer": "backbones.mmformer:MMFormer",
        "m2ftrans": "backbones.m2ftrans:M2FTrans",
    },
)


def create(name: str, modalities: int, classes: int, **options: Any) -> "Backbone":
    """Build the backbone `name` for `modalities` input channels and `classes` output classes.

    `options` are the network's own (`width`, `crop`, `spatial_dims`, `dropout` where there is one). Raises
    `InputError` for an unknown name.
    """
    return BACKBONES.get(name)(modalities=modalities, classes=classes, **options)
