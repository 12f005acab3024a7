"""U-HVED: ``backbones.create("uhved", modalities=4, classes=4)``.

A variational U-Net. At each of four levels an encoder of each modality gives a Gaussian for every latent
value; the Gaussians of the present modalities and a standard one are multiplied, and what is drawn from the
product (in testing its mean) is decoded to the segmentation, and in training to the images. Source: Dorent et
al., "Hetero-Modal Variational Encoder-Decoder for Joint Modality Completion and Segmentation", MICCAI 2019;
facts of their code (ReubenDo/U-HVED).

What deviates: the divergences are those of the subsets of what is encoded, which under the policies idt and
idt_drop is the drawn subset, where the code has all four modalities; images are rebuilt of what a case has;
the objective supplies the segmentation loss; weight decay takes the place of the L2 term.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from backbones import noise
from backbones.contract import Auxiliary, Backbone, Features, Fused, encode_packed
from backbones.heads import full_precision
from backbones.host import host, on_device
from backbones.hved_blocks import LEVELS, Decoder, Encoder, truncated_init
from bench_options import MethodOptions

STRIDE = 2 ** (LEVELS - 1)  # voxels of the volume per voxel of the deepest level and axis
LOG_VARIANCES = 50.0  # their largest size
EPSILON = 1e-7  # added to variances
LOSS_WEIGHT = 0.1


class UHVED(Backbone):
    """U-HVED; no side outputs and no auxiliary decoder, as published.

    Auxiliary losses, at a weight of 0.1 each: `reconstruction`, the mean squared difference to the images,
    and `latent_kl`, see `divergence`.

    Args:
        modalities: number of modalities M.
        classes: number of classes, background included.
        options: see `Options`.
        spatial_dims: 3, or 2 for volumes [B, M, H, W, 1].

    The network is fully convolutional: volumes need a multiple of 8 voxels, at least 16, along each axis.
    """

    class Options(MethodOptions):
        """`width`: channels of the finest level, half of them means (8: as published), even."""

        width: int = Field(8, ge=2, multiple_of=2)

    has_unimodal = False

    def __init__(self, modalities: int, classes: int, options: Options, spatial_dims: int = 3):
        super().__init__(modalities, classes, spatial_dims)
        width = options.width
        self.encoders = nn.ModuleList(
            Encoder(width, halved=False, spatial_dims=spatial_dims) for _ in range(modalities)
        )
        latents = [width * 2**level // 2 for level in range(LEVELS)]
        self.decoder = Decoder(latents, width, classes, spatial_dims)
        self.image_decoders = nn.ModuleList(
            Decoder(latents, width, 1, spatial_dims) for _ in range(modalities)
        )
        truncated_init(self)

    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        """Encode each available modality by itself; see `Backbone.encode`.

        Raises `ValueError` for volumes whose edges are not multiples of 8 from 16.
        """
        space = volumes.shape[2 : 2 + self.spatial_dims]
        if any(edge % STRIDE or edge < 2 * STRIDE for edge in space):
            raise ValueError(
                f"volumes of {tuple(volumes.shape[2:])} voxels: uhved takes multiples of {STRIDE} "
                f"from {2 * STRIDE}"
            )
        return Features(encode_packed(self.encoders, volumes, available), available)

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        """Fuse K subsets; see `Backbone.fuse`. `extra` has what is decoded, ``latent 0`` to ``latent 3``."""
        if case is None:
            case = on_device(range(len(features.available)), present.device)
        if len(case) != len(present):
            raise ValueError(f"{len(present)} subsets for {len(case)} cases: give the case of each subset")
        latents = []
        with noise.rows(case, [str(subset) for subset in host(present).tolist()]):
            for i, level in enumerate(features.levels):
                mean, log_variance = product(level, present, case)
                if self.training:
                    mean = mean + (0.5 * log_variance).exp() * noise.normal(mean, f"level {i}")
                latents.append(mean)
        x = self.decoder.features(latents)
        return Fused(self.decoder.head(x), [], x, {f"latent {i}": z for i, z in enumerate(latents)})

    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        """Compare Gaussians, and rebuild the images that each case has: see the class and the contract."""
        there = host(getattr(batch, "available", batch.present))
        number = there.sum(dim=1)
        images = full_precision(fused.logits).new_zeros(())
        for m, decoder in enumerate(self.image_decoders):
            rows = there[:, m].nonzero().squeeze(1)
            if len(rows) == 0:
                continue
            items, share = (on_device(each, images.device) for each in (rows, number[rows]))
            image = decoder([fused.extra[f"latent {i}"].index_select(0, items) for i in range(LEVELS)])
            difference = image - batch.volumes.index_select(0, items)[:, m : m + 1]
            error = difference.square().flatten(1).mean(dim=1)
            images = images + (error / share).sum()
        return {
            "reconstruction": Auxiliary(images, LOSS_WEIGHT),
            "latent_kl": Auxiliary(divergence(features, batch.present), LOSS_WEIGHT),
        }


def product(level: Tensor, present: Tensor, case: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the Gaussians of each row's modalities with a standard one.

    Args:
        level: [B, M, 2 C, *space], means, then logarithms of variances.
        present: bool [K, M].
        case: int64 [K], whose modalities each row has.

    Returns the mean and the logarithm of the variance of the products, each [K, C, *space].
    """
    # Precisions reach 10^7: too much for half precision.
    means, log_variances = full_precision(level).chunk(2, dim=2)
    precisions = 1 / (log_variances.clamp(-LOG_VARIANCES, LOG_VARIANCES).exp() + EPSILON)
    weighted = means * precisions
    weights = present.to(precisions)[(...,) + (None,) * (level.dim() - 2)]
    total = torch.ones_like(precisions[:, 0]).index_select(0, case)
    mean = torch.zeros_like(total)
    for m in range(level.shape[1]):
        total = total + weights[:, m] * precisions[:, m].index_select(0, case)
        mean = mean + weights[:, m] * weighted[:, m].index_select(0, case)
    return mean / total, (1 / total + EPSILON).log()


def divergence(features: Features, present: Tensor) -> Tensor:
    """Sum up over the cases how far the products of subsets are from another and a standard Gaussian.

    Of each case the mean over all subsets of what is encoded of KL(product of the subset || N(0, 1)), and
    that of KL(product of `present` || product of the subset), whose divisor is one less: `present` may be all
    that is encoded, and then is a subset itself. Then the mean over the levels. A KL is the mean over the
    latent values.

    Args:
        features: from `encode`, of B cases.
        present: bool [B, M].
    """
    available, device = host(features.available), features.available.device
    codes = torch.arange(1, 2 ** available.shape[1])
    every = (codes[:, None] >> torch.arange(available.shape[1]) & 1).bool()
    case_of, subset_of = (~(every & ~available[:, None]).any(dim=2)).nonzero(as_tuple=True)
    counts = torch.bincount(case_of).index_select(0, case_of)
    case, subsets, number = (on_device(each, device) for each in (case_of, every[subset_of], counts))
    total = full_precision(features.levels[0]).new_zeros(())
    for level in features.levels:
        drawn = product(level, present, on_device(range(len(present)), device))
        drawn_mean, drawn_log_variance = (t.index_select(0, case) for t in drawn)
        mean, log_variance = product(level, subsets, case)
        zero = torch.zeros_like(mean)
        prior = gaussian_kl(mean, log_variance, zero, zero)
        inter = gaussian_kl(drawn_mean, drawn_log_variance, mean, log_variance)
        total = total + (prior / number + inter / (number - 1).clamp(min=1)).sum()
    return total / len(features.levels)


def gaussian_kl(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """Return the mean KL divergence of each row's Gaussians [K, C, *space] from the others: [K]."""
    ratio = (log_variance.exp() + (mean - other_mean).square()) / (other_log_variance.exp() + EPSILON)
    return 0.5 * (other_log_variance - log_variance + ratio - 1).flatten(1).mean(dim=1)
