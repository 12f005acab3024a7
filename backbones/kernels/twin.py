"""`convolution` in plain torch: the same numbers, from the operations that the kernels put together."""

import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.kernels.convolution import EPSILON, How, Statistics, check


def convolve(
    x: Tensor, norm: Statistics | None, weight: Tensor, bias: Tensor, how: How, statistics: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Convolve x [N, C, *space]; see `convolution.convolve`."""
    check(x, norm, weight, how, statistics)
    if norm:
        x = activated(x, norm, how.slope)
    both_ends = [pad for pad in reversed(how.pads) for _ in range(2)]
    z = F.conv3d(F.pad(x, both_ends, mode=how.mode), weight, bias, how.stride)
    if not statistics:
        return z, None, None
    variance, mean = torch.var_mean(z, dim=(2, 3, 4), correction=0)
    return z, mean, variance


def activated(x: Tensor, norm: Statistics, slope: float) -> Tensor:
    """Normalise x [N, C, *space] and apply the leaky ReLU; see `convolution.activated`."""
    mean, variance = (values[:, :, None, None, None] for values in norm)
    return F.leaky_relu((x - mean) * torch.rsqrt(variance + EPSILON), slope)


def measured(x: Tensor) -> Statistics:
    """Return mean and variance [N, C] of x [N, C, *space] over its voxels."""
    variance, mean = torch.var_mean(x, dim=(2, 3, 4), correction=0)
    return mean, variance
