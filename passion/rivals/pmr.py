"""PMR: slow modalities are pulled towards their class prototypes (Fan et al., CVPR 2023).

    objective = passion.create("pmr", modalities=4, classes=4, alpha=1.0)

The segmentation form, as the authors of PASSION (arXiv 2407.14796) compare with it: of each case, f are the
finest decoder features with modality m alone, c_k the mean of f over the ground truth's class k (no
gradient flows through it), K the classes that the case has, and y the class of a voxel:

    p_m(k) = exp(-|f - c_k|) / sum over K of exp(-|f - c_j|)
    pce_m = mean over voxels of -log(clamp(p_m(y), 0.005, 1)),   score_m = mean over voxels of p_m(y)

    total = fuse + prm + sum of sep + alpha sum of rho_m pce_m
    rho_m = clamp(max(score) / score_m - 1, 0, 1)

over the case's modalities: the fastest is left alone, the slower ones are driven. For two modalities rho is
the paper's. Its entropy term for the dominant modality in the first epochs is left out.
"""

import torch
from pydantic import Field
from torch import Tensor

from backbones.contract import Backbone, Features, Fused
from backbones.heads import full_precision
from backbones.host import on_device
from passion.baseline import Baseline, Further
from passion.losses import FLOOR, CaseLabels
from passion.objective import Batch, fuse_alone, per_modality
from passion.options import ObjectiveOptions

COUNT_EPSILON = 1e-5


class PMR(Baseline):
    """Prototypical modal rebalance. Terms: `fuse`, `prm`, and per modality `sep`, `pce` and `score`."""

    class Options(ObjectiveOptions):
        """`alpha`: weight of the prototypical cross entropy."""

        alpha: float = Field(1.0, gt=0)

    options: Options
    modality_terms = ("pce", "score")

    def observe(
        self, backbone: Backbone, features: Features, batch: Batch, taught: Tensor, logits: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the decoder features of each modality alone [R, F, *space], each row's case and modality."""
        fused, case, modality = fuse_alone(backbone, features, taught)
        return fused.decoder_features, case, modality

    def further(
        self,
        nothing: Further,
        fused: Fused,
        observed: tuple[Tensor, Tensor, Tensor],
        labels: list[CaseLabels],
        size: torch.Size,
    ) -> Further:
        """Return alpha times the modulated prototypical cross entropies."""
        features, case, modality = observed
        result = nothing
        for b, case_labels in enumerate(labels):
            rows = (case == b).nonzero().squeeze(1)
            maps = full_precision(features.index_select(0, on_device(rows, features.device))).flatten(2)
            pce, score, _ = prototype_scores(maps, case_labels)
            total = result.total + self.options.alpha * (imbalance(score) * pce).sum()
            where = modality[rows]
            terms = {
                name: result.terms[name] + per_modality(value, where, self.modalities)
                for name, value in (("pce", pce), ("score", score))
            }
            result = Further(total, terms)
        return result


def prototype_scores(
    features: Tensor, labels: CaseLabels, learn_prototypes: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypical cross entropy, the mean probability of the true class, the mean distance to its prototype.

    Each [R]; the probability is without gradient. `features` [R, F, V] of R outputs for the case of `labels`;
    its classes are those with at least one voxel. `learn_prototypes`: whether gradients flow through these.
    """
    members = labels.one_hot.T
    source = features if learn_prototypes else features.detach()
    prototypes = (source @ members) / (labels.count + COUNT_EPSILON)
    distance = torch.cdist(features.transpose(1, 2), prototypes.transpose(1, 2))
    lacking = labels.count == 0
    p_true = (torch.softmax((-distance).masked_fill(lacking, -torch.inf), dim=2) * members).sum(dim=2)
    to_own = (distance * members).sum(dim=2).mean(dim=1)
    return -p_true.clamp(FLOOR, 1).log().mean(dim=1), p_true.detach().mean(dim=1), to_own


def imbalance(score: Tensor) -> Tensor:
    """How far each modality lags behind the best of the case: clamp(max / score - 1, 0, 1), [R]."""
    return (score.max() / score - 1).clamp(0, 1)
