"""Networks that cope with absent modalities: ``backbones.create("rfnet", modalities=4, classes=4)``."""

from typing import TYPE_CHECKING, Any

from bench_edges import Edges
from bench_errors import InputError
from bench_registry import Registry

if TYPE_CHECKING:
    from backbones.contract import Backbone
    from bench_options import MethodOptions

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
        "imfuse": (
            "backbones.imfuse:IMFuse",
            "Mamba along interleaved tokens of the modalities at every scale (Pipoli et al., MICCAI 2025)",
        ),
        "uhemis": (
            "backbones.uhemis:UHeMIS",
            "mean and variance of the modalities' features in a U-Net (Dorent et al., MICCAI 2019)",
        ),
        "uhved": (
            "backbones.uhved:UHVED",
            "products of Gaussians, segmentation and images decoded (Dorent et al., MICCAI 2019)",
        ),
        "robustseg": (
            "backbones.robustseg:RobustSeg",
            "content and style of modalities apart, gated fusion, images rebuilt (Chen et al., MICCAI 2019)",
        ),
        "sfusion": (
            "backbones.sfusion:SFusion",
            "self-attention between the present modalities' tokens, on RobustSeg's parts (Liu et al., 2023)",
        ),
        "sharedunet": (
            "backbones.sharedunet:SharedUNet",
            "one U-Net for all modalities, the mean of their logits (Shi et al., HGA)",
        ),
        "transunet": (
            "backbones.transunet:TransUNet",
            "modalities fused before a vision transformer, cascaded decoder (Chen et al., 2021)",
        ),
        "gaussian": (
            "backbones.gaussian:Gaussian",
            "the floor: a Gaussian for each class and subset of modalities, voxel by voxel, no context",
        ),
        "m3ae": (
            "backbones.m3ae:M3AE",
            "early fusion with a learnt image for what is absent (Liu et al., AAAI 2023)",
        ),
        "shaspec": (
            "backbones.shaspec:ShaSpec",
            "features shared by the modalities and specific to each (Wang et al., CVPR 2023)",
        ),
        "a2fseg": (
            "backbones.a2fseg:A2FSeg",
            "an nnU-Net per modality, fused by mean and attention (Wang and Hong, MICCAI 2023)",
        ),
    },
    families={
        "monai": (
            "backbones.monai_networks:monai_network",
            "a segmentation network of MONAI, by early fusion: monai:SwinUNETR, monai:DynUNet, ...",
        )
    },
)


def create(
    backbone: "str | MethodOptions",
    modalities: int,
    classes: int,
    crop: Edges | None = None,
    spatial_dims: int = 3,
    regions: tuple[tuple[int, ...], ...] = (),
    **keywords: Any,
) -> "Backbone":
    """Build a backbone for `modalities` input channels and `classes` output classes.

    Args:
        backbone: a registered name, ``monai:<Name>`` or ``module:Class``, with the options as `keywords`
            (`width`, `dropout`, ...); or the options themselves, without keywords.
        modalities: number of modalities M.
        classes: number of classes, background included.
        crop: edge, or edge of each axis, of the training volumes in voxels; None: the network's default.
        spatial_dims: 3, or 2 for studies treated slice by slice.
        regions: the classes of each region that is scored, for networks that segment regions; empty: each
            class is one.

    Raises `InputError` for an unknown name, a wrong option, or a class that is no backbone of that many
    dimensions. A network that takes no `crop`, `spatial_dims` or `regions` is not given them.
    """
    from backbones.contract import Backbone
    from bench_options import KeywordOptions, build, options_of

    options: MethodOptions = options_of(BACKBONES, KeywordOptions, backbone, keywords)
    facts = {
        "modalities": modalities,
        "classes": classes,
        "spatial_dims": spatial_dims,
        "regions": regions or tuple((c,) for c in range(1, classes)),
    }
    net: Backbone = build(BACKBONES, Backbone, options, facts if crop is None else {**facts, "crop": crop})
    made_for = (net.modalities, net.classes, net.spatial_dims)
    if made_for != (modalities, classes, spatial_dims):
        raise InputError(
            f"backbone {options.name} is for {made_for[0]} modalities, {made_for[1]} classes and "
            f"{made_for[2]}-D volumes, needed are {modalities}, {classes} and {spatial_dims}-D: let its "
            "__init__ take and pass on modalities, classes and spatial_dims"
        )
    return net
