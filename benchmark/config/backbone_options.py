"""The options of a backbone, a section of `RunConfig`: one of ours, of MONAI, or of another package.

backbone: {name: rfnet, width: 8}
backbone: {name: monai:SwinUNETR, presence_code: true, arguments: {feature_size: 24}}
backbone: {name: my_package.my_module:MyNet, arguments: {depth: 3}}
"""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from backbones import BACKBONES
from bench_schema import Frozen
from benchmark.config.sections import Arguments, kind_of, origin_of


class OwnBackbone(Frozen):
    """One of our networks. `width`: channels of the first level (8: as published)."""

    name: str = "rfnet"
    width: int = Field(8, ge=1)

    def options(self) -> dict[str, Any]:
        """Return what `backbones.create` takes beside the name and the facts of the study."""
        return {"width": self.width}


class MonaiBackbone(Frozen):
    """A network of MONAI, by early fusion.

    `presence_code`: learn a code for which modalities are there. `arguments`: the network's own.
    """

    name: str
    presence_code: bool = False
    arguments: Arguments = Field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Return what `backbones.create` takes beside the name and the facts of the study."""
        return {"presence_code": self.presence_code, **self.arguments}


class PluginBackbone(Frozen):
    """A network of another package, by its entry point or as `module:Class`; `arguments` are its keywords.

    `origin` is filled in: the class, and the version of its package if it is installed.
    """

    name: str
    origin: str = ""
    arguments: Arguments = Field(default_factory=dict)

    @field_validator("origin")
    @classmethod
    def _fill_in(cls, origin: str, info: ValidationInfo) -> str:
        return origin_of(BACKBONES, info.data["name"], origin)

    def options(self) -> dict[str, Any]:
        """Return what `backbones.create` takes beside the name and the facts of the study."""
        return dict(self.arguments)


BackboneConfig = Annotated[
    Annotated[OwnBackbone, Tag("own")]
    | Annotated[MonaiBackbone, Tag("monai")]
    | Annotated[PluginBackbone, Tag("plugin")],
    Discriminator(kind_of(BACKBONES)),
]
