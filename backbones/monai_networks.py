"""Segmentation networks of MONAI as backbones: ``backbones.create("monai:SwinUNETR", 4, 4, crop=64)``.

`MonaiNetwork` builds one: `EarlyFusion` around the network, with MONAI's own defaults where
it has them and `DEFAULTS` where it has none. Channels, dimensions and image size follow from the run. The
network is tried out on tensors without data first, so what it cannot take is an error before any training.
"""

import inspect
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from backbones.blocks import pad_convolutions
from backbones.early_fusion import EarlyFusion, calls_of, maps_of
from bench_edges import Edges, space_of
from bench_errors import InputError
from bench_options import Arguments, MethodOptions
from bench_registry import construct, unknown

DEFAULTS: dict[str, dict[str, Any]] = {
    "UNet": {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2), "num_res_units": 2},
    "AttentionUnet": {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)},
    "DynUNet": {
        "kernel_size": (3, 3, 3, 3, 3),
        "strides": (1, 2, 2, 2, 2),
        "upsample_kernel_size": (2, 2, 2, 2),
        "deep_supervision": True,
        "deep_supr_num": 3,
    },
    "SegResNetDS": {"dsdepth": 3, "norm": "instance"},
    "MedNeXt": {"deep_supervision": True},
    "BasicUNetPlusPlus": {"deep_supervision": True},
}
"""What a network has no default for, deep supervision where there is some, and no batch norm where there is a
choice: a batch is a single case here."""

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class FinestFirst(nn.Sequential):
    """A network that gives the main one of its outputs last, turned round."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N, M, *space] -> outputs, the main one first."""
        return super().forward(x)[::-1]


def monai_network(name: str) -> "MonaiNetwork":
    """Return what builds the MONAI network `name`; raise `InputError` naming the nearest if there is none."""
    networks = _networks()
    if name not in networks:
        raise InputError(unknown("MONAI network", name, sorted(networks)))
    return MonaiNetwork(networks[name])


@dataclass(frozen=True)
class MonaiNetwork:
    """Builds a network of MONAI as a backbone."""

    network_class: type[nn.Module]

    class Options(MethodOptions):
        """`presence_code`: see `EarlyFusion`. `arguments`: keywords of the network's class in MONAI."""

        presence_code: bool = False
        arguments: Arguments = Field(default_factory=dict)

    def __call__(
        self, modalities: int, classes: int, options: Options, crop: Edges = 96, spatial_dims: int = 3
    ) -> EarlyFusion:
        """Build the network for crops of `crop` voxels.

        Raises `InputError` for a wrong argument, or a network that does not make logits of such crops.
        """
        name = self.network_class.__name__
        what = f"backbone monai:{name}"
        parameters = inspect.signature(self.network_class).parameters
        space = space_of(crop, spatial_dims)[:spatial_dims]
        facts: dict[str, Any] = {
            "in_channels": modalities,
            "out_channels": classes,
            "spatial_dims": spatial_dims,
            "img_size": space,
            "input_image_size": space,
            "dropout_dim": spatial_dims,
        }
        if spatial_dims == 2 and "spatial_dims" not in parameters:
            raise InputError(f"{what} is for 3-D volumes, the study is 2-D: choose another network")
        facts = {k: v for k, v in facts.items() if k in parameters}
        defaults = {k: v for k, v in DEFAULTS.get(name, {}).items() if k in parameters}
        try:
            network = construct(what, self.network_class, facts, defaults | options.arguments)
            if name == "BasicUNetPlusPlus":
                network = FinestFirst(network)
            pad_convolutions(network)
            head, sides_in_training = _try_out(network, modalities, classes, space)
        except InputError:
            raise
        except Exception as error:  # whatever MONAI says to arguments or sizes that do not fit
            text = " ".join(str(error).split())
            raise InputError(
                f"{what} does not work with crop {crop} and arguments {options.arguments} "
                f"({type(error).__name__}: {text}): try another crop, such as 64 or 96, or other arguments"
            ) from None
        return EarlyFusion(
            network, modalities, classes, spatial_dims, head, sides_in_training, options.presence_code
        )


def _networks() -> dict[str, type[nn.Module]]:
    """MONAI's networks that take and give channels, by class name."""
    from monai.networks import nets

    found = [
        value for value in vars(nets).values() if inspect.isclass(value) and issubclass(value, nn.Module)
    ]
    return {
        c.__name__: c
        for c in found
        if {"in_channels", "out_channels"} <= inspect.signature(c).parameters.keys()
    }


def _try_out(
    network: nn.Module, modalities: int, classes: int, space: tuple[int, ...]
) -> tuple[nn.Module | None, bool]:
    """Run the network in both modes on tensors without data, and freeze what no output depends on.

    Returns the convolution whose output are the logits, if it sees features at full size, and whether there
    are side outputs in training alone. Raises `InputError` for outputs that are not logits.
    """
    double = deepcopy(network).to("meta")
    x = torch.empty(2, modalities, *space, device="meta")
    own = dict(zip(double.modules(), network.modules(), strict=True))
    head, number = None, 0
    for training in (False, True):
        with calls_of([m for m in own if isinstance(m, CONVOLUTIONS)]) as calls:
            maps = maps_of(double.train(training)(x), len(space))
        if not all(isinstance(m, Tensor) and m.shape[:2] == (2, classes) for m in maps) or (
            maps[0].shape[2:] != space
        ):
            raise InputError(
                f"backbone monai:{type(network).__name__} makes {_shapes(maps)} of {tuple(x.shape)}, "
                f"expected {(2, classes, *space)}: it is no segmentation network for such a crop"
            )
        if not training:
            ends = [m for m, given, made in calls if made is maps[0] and given.shape[2:] == space]
            head, number = own[ends[-1]] if ends else None, len(maps)
    parameters = list(zip(double.parameters(), network.parameters(), strict=True))
    total = torch.stack([m.sum() for m in maps]).sum()
    gradients = torch.autograd.grad(total, [p for p, _ in parameters], allow_unused=True)
    for (_, parameter), gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    return head, len(maps) > number


def _shapes(maps: list[Any]) -> str:
    return ", ".join(str(tuple(m.shape)) if isinstance(m, Tensor) else str(m) for m in maps)
