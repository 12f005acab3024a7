"""Networks that cope with absent modalities: ``backbones.create("rfnet", modalities=4, classes=4)``."""

from typing import TYPE_CHECKING, Any

from bench_errors import InputError
from bench_registry import Registry, construct

if TYPE_CHECKING:
    from backbones.contract import Backbone

BACKBONES = Registry(
    "backbone",
    {
        "rfnet": ("backbones.rfnet:RFNet", "region-aware fusion of modalities (Ding et al., ICCV 2021)"),
        "mmformer": (
            "backbones.mmformer:MMFormer",
            "intra- and inter-modal transformers at the bottleneck (Zhang et al., MICCAI 2022)",
        ),
        "m2ftrans": (
            "backbones.m2ftrans:M2FTrans",
            "modality-masked fusion transformer with cross attention (Shi et al., JBHI 2024)",
        ),
        "transunet": (
            "backbones.transunet:TransUNet",
            "modalities fused before a vision transformer, cascaded decoder (Chen et al., 2021)",
        ),
    },
    families={
        "monai": (
            "backbones.monai_networks:maker",
            "a segmentation network of MONAI, by early fusion: monai:SwinUNETR, monai:DynUNet, ...",
        )
    },
)


def create(
    name: str,
    modalities: int,
    classes: int,
    crop: int | None = None,
    spatial_dims: int = 3,
    **options: Any,
) -> "Backbone":
    """Build the backbone `name` for `modalities` input channels and `classes` output classes.

    Args:
        name: a registered name, ``monai:<Name>``, or ``module:Class``.
        modalities: number of modalities M.
        classes: number of classes, background included.
        crop: edge of the training volumes in voxels; None: the network's default.
        spatial_dims: 3, or 2 for studies treated slice by slice.
        options: the network's own (`width`, `dropout` where there is one).

    Raises `InputError` for an unknown name, an option that the network does not have, or a class that is no
    backbone of that many dimensions. A network that takes no `crop` or `spatial_dims` is not given them.
    """
    from backbones import contract

    make = BACKBONES.get(name)
    if isinstance(make, type) and not issubclass(make, contract.Backbone):
        raise InputError(f"{make.__name__} is no backbone: derive it from backbones.contract.Backbone")
    facts = {"modalities": modalities, "classes": classes, "spatial_dims": spatial_dims}
    net: Backbone = construct(
        f"backbone {name}", make, facts if crop is None else {**facts, "crop": crop}, options
    )
    found = (net.modalities, net.classes, net.spatial_dims)
    if found != (modalities, classes, spatial_dims):
        raise InputError(
            f"backbone {name} is for {found[0]} modalities, {found[1]} classes and {found[2]}-D volumes, "
            f"needed are {modalities}, {classes} and {spatial_dims}-D: let its __init__ take and pass on "
            "modalities, classes and spatial_dims"
        )
    return net
