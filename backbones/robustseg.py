"""RobustSeg: ``backbones.create("robustseg", modalities=4, classes=4)``.

Content and style of each modality apart; at each level a gate for each modality and voxel, predicted from the
present modalities, weights their content; images are rebuilt from the fused content and each modality's
style. Source: Chen et al., "Robust Multimodal Brain Tumor Segmentation via Feature Disentanglement and Gated
Fusion", MICCAI 2019; facts of the authors' code (cchen-cc/Robust-Mseg).

What deviates: each image decoder has a last convolution of its own (the code shares one); the objective
supplies the segmentation loss; weight decay takes the place of the L2 term.
"""

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from backbones.blocks import PaddedConv, PointConv
from backbones.disentangled import LEVELS, Disentangled, Manner, Unit
from backbones.rfnet import modality_products, spread
from bench_options import MethodOptions

MANNER = Manner(
    padding="reflect",
    even_pad=1,
    interpolation="nearest",
    slope=0.2,
    epsilon=1e-6,
    affine=True,
    image_slope=0.0,
    image_norms=False,
    correction=0,
    present_images=False,
)


class GatedFusion(nn.Module):
    """Weights the modalities' maps by a gate for each voxel, and mixes them by a 1x1x1 convolution.

    Both convolutions are linear in the concatenated maps. So each modality's part in them is computed once
    per case, and a subset only sums up.
    """

    def __init__(self, modalities: int, channels: int, spatial_dims: int):
        super().__init__()
        self.gate = Unit(modalities * channels, modalities, 3, MANNER, spatial_dims)
        self.mix = Unit(modalities * channels, channels, 1, MANNER, spatial_dims, slope=MANNER.slope)

    def forward(self, level: Tensor, present: Tensor, case: Tensor) -> Tensor:
        """Fuse a level [B, M, C, *space] for K subsets: [K, C, *space]; see `Disentangled`."""
        modalities, space = level.shape[1], level.shape[3:]
        mix, bias = self.mix.conv, self.gate.conv.bias
        assert isinstance(mix, PointConv)
        assert mix.bias is not None
        assert bias is not None
        selection = spread(present.to(level.dtype), F.one_hot(case, len(level)).to(level.dtype))
        scores = selection @ self._gate_parts(level).flatten(0, 1).flatten(1)
        scores = scores.unflatten(1, (modalities, *space)) + bias.view(-1, 1, 1, 1)
        gates = self.gate.finish(scores).sigmoid() * present[:, :, None, None, None]
        parts = modality_products([mix], level.flatten(3)).unflatten(3, space)
        mixed = mix.bias.view(-1, 1, 1, 1)
        for m in range(modalities):
            mixed = mixed + gates[:, m : m + 1] * parts[:, m].index_select(0, case)
        return self.mix.finish(mixed)

    def _gate_parts(self, level: Tensor) -> Tensor:
        """What each modality gives to each gate: [B, M, M, *space]."""
        conv, modalities = self.gate.conv, level.shape[1]
        assert isinstance(conv, PaddedConv)
        weight = conv.weight.unflatten(1, (modalities, -1)).transpose(0, 1).flatten(0, 1)
        both_ends = [pad for pad in reversed(conv.pads) for _ in range(2)]
        padded = F.pad(level.flatten(1, 2), both_ends, mode=conv.mode)
        return F.conv3d(padded, weight, groups=modalities).unflatten(1, (modalities, modalities))


class RobustSeg(Disentangled):
    """RobustSeg; the volumes are multiples of 8 voxels along each axis, 16 in training. No side outputs.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        spatial_dims: 3, or 2 for volumes [B, M, X, Y, 1].
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level (16: as published).

        `dropout`: rate in the content encoders (0 as trained by the authors; their layers' default is 0.3).
        """

        width: int = Field(16, ge=1)
        dropout: float = Field(0.0, ge=0, lt=1)

    def __init__(self, modalities: int, classes: int, options: Options, spatial_dims: int = 3):
        width = options.width
        super().__init__(modalities, classes, width, 2 * width, options.dropout, MANNER, spatial_dims)
        self.fusions.extend(
            GatedFusion(modalities, width * 2**level, spatial_dims) for level in range(LEVELS)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.trunc_normal_(module.weight, std=0.01, a=-0.02, b=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)
