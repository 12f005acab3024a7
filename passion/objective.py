"""What trains a network: `Objective`, from a batch to a total loss and the terms it is made of.

    losses = objective.loss(backbone, batch)            # any backbone of backbones.contract
    objective.backward(losses, list(backbone.parameters()))
    changed = objective.end_epoch()

All losses are per case and summed over the batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from backbones.contract import Auxiliary, Backbone, Features, Fused
from backbones.heads import full_precision
from backbones.host import host, on_device
from bench_errors import InputError
from passion.losses import CaseLabels, output_loss
from passion.options import ObjectiveOptions


class Batch(Protocol):
    """What `loss` reads of a batch.

    Two more are optional: `available` (bool [B, M], what each case has) and `corners` (int64 [B, 2, 3], where
    the crops lie; see `Backbone.encode_at`).

    Attributes:
        volumes: float [B, M, *space].
        present: bool [B, M], the subset drawn for the fused output.
        target: int [B, *space].
        cases: B names.
    """

    volumes: Tensor
    present: Tensor
    target: Tensor
    cases: list[str]


@dataclass
class Tasks:
    """A batch's loss in parts that still carry their graph, for an objective with its own `backward`.

    Attributes:
        shared: scalar, what belongs to no modality.
        own: [M], each modality's own loss, summed over the batch; 0 where it takes no part.
        cases: int64 [M] on the CPU, how many cases of the batch have a part in `own`.
    """

    shared: Tensor
    own: Tensor
    cases: Tensor


@dataclass
class Losses:
    """A batch's loss.

    Attributes:
        total: scalar to back-propagate.
        terms: what it is made of, before any weight, summed over the batch and detached: scalars (`fuse`,
            `prm`, a network's own) and one value per modality (`sep`, ...), [M] in modality order, 0 where a
            modality takes no part.
        tasks: the unweighted parts, from objectives that weigh tasks.
    """

    total: Tensor
    terms: dict[str, Tensor]
    tasks: Tasks | None = None


class Objective(ABC):
    """A way to train a backbone with incomplete modalities.

    `Options` says what a user may choose: an objective with further options declares a class of its own by
    this name, derived from `ObjectiveOptions`, and takes an instance as `options`.

    `counts` (training cases that have each modality), `cases` (training cases), `batch_size`, `epochs` and
    `subsets` (those that a training case can show, each a bool per modality; None: all) are facts of the
    training; an objective uses those it needs. `loss` works without gradient and in evaluation mode, and
    leaves the backbone's mode to the caller.

    `capturable`: whether `loss` and `backward` may be recorded once for all batches that show the same
    subsets, and then replayed: they look at no value of a tensor, decide nothing else on the CPU that changes
    from step to step, and change tensors of their own in place. Whoever does not say so is not recorded.

    `summed` names those tensors of `state_dict` that each case adds to: devices that share a batch add them
    up. An objective with its own `backward` needs the whole batch, so that devices cannot share it.

    An objective whose options ask for a `teacher` takes it beside them, a trained backbone that it freezes.
    `without_unimodal` says what becomes of it for a network without auxiliary decoder.
    """

    Options: ClassVar[type[ObjectiveOptions]] = ObjectiveOptions
    capturable: ClassVar[bool] = False
    summed: tuple[str, ...] = ()
    without_unimodal: str = "sep is left out: the network has no auxiliary decoder"

    def __init__(
        self,
        modalities: int,
        classes: int,
        options: ObjectiveOptions,
        counts: Sequence[int] | None = None,
        cases: int | None = None,
        batch_size: int = 1,
        subsets: Sequence[tuple[bool, ...]] | None = None,
        epochs: int = 1,
    ):
        if counts is not None and (len(counts) != modalities or cases is None):
            raise ValueError(
                f"counts needs one value for each of {modalities} modalities, and cases: {counts}, {cases}"
            )
        self.modalities = modalities
        self.classes = classes
        self.options = options
        self.counts = counts
        self.cases = cases
        self.batch_size = batch_size
        every = sorted(product((True, False), repeat=modalities), key=sum)[1:]
        self.subsets = every if subsets is None else list(subsets)
        self.epochs = epochs
        self.epoch = 0

    @property
    def warming_up(self) -> bool:
        """Whether the current epoch trains the uni-modal outputs alone."""
        return self.epoch < self.options.warmup_epochs

    @abstractmethod
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        """Return the losses of `batch`; raise ValueError for a case without any modality."""

    def subset(self, seed: int, step: int) -> tuple[bool, ...] | None:
        """Return the one of `subsets` that a training step shows of all its cases; None: `policy` decides.

        `step` counts from the start of the training. A function of its arguments and the facts alone; the
        batch is drawn from the cases that can show the subset.
        """
        return None

    def outer_step(self, weights: list[nn.Parameter]) -> None:
        """Change the network's `weights` in place, without gradient, as a training step begins.

        For meta-learning: what the optimiser has done since an earlier step can be taken back in part.
        """
        return

    def parameters(self) -> list[nn.Parameter]:
        """What the objective itself learns, stepped by the network's optimiser without weight decay."""
        return []

    def backward(self, losses: Losses, parameters: list[nn.Parameter]) -> None:
        """Add the gradients of `losses` to those of the network's `parameters` and to the objective's own.

        `total` and `tasks` may both be multiplied by a scale, as training in half precision does; so are the
        gradients then, all of them.
        """
        losses.total.backward()

    def left_out(self, backbone: Backbone) -> str:
        """Say in one line what `backbone` cannot give this objective; empty where nothing is left out.

        Raises `InputError` where nothing would be left of an epoch: a warm-up without auxiliary decoder.
        """
        if backbone.has_unimodal:
            return ""
        if self.options.warmup_epochs:
            raise InputError(
                f"objective.warmup_epochs is {self.options.warmup_epochs}, but {type(backbone).__name__} has "
                "no auxiliary decoder to warm up: set it to 0"
            )
        return self.without_unimodal

    def unimodal_logits(self, backbone: Backbone, features: Features, taught: Tensor) -> Tensor | None:
        """Return each taught modality's own output [B, M, classes, *space]; None where there is none.

        `features` from `encode`, `taught` bool [B, M] on the CPU.
        """
        return backbone.unimodal(features) if backbone.has_unimodal else None

    def end_epoch(self) -> dict[str, list[float]] | None:
        """Note that an epoch is over; say what changed, one value per modality and name, for the log."""
        self.epoch += 1
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what training changed, as numbers and tensors."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.epoch = state["epoch"]

    def taught(self, batch: Batch) -> Tensor:
        """Return which modalities of each case are learnt from, bool [B, M] on the CPU.

        Those of the drawn subset; under `pdt` all that the case has (`available`, by default everything).
        """
        present = host(batch.present).bool()
        if not present.any(dim=1).all():
            raise ValueError("a case of the batch has no modality present: every case needs at least one")
        if self.options.policy != "pdt":
            return present
        available = getattr(batch, "available", None)
        return torch.ones_like(present) if available is None else host(available).bool() | present


def corners_of(batch: Batch) -> Tensor | None:
    """Return where the batch's crops lie in their cases, if it says so."""
    return getattr(batch, "corners", None)


def labels_of(batch: Batch, backbone: Backbone) -> list[CaseLabels]:
    """Prepare the labels of each case for the outputs of a network, at the precision of the losses."""
    dtype = full_precision(batch.volumes.new_empty(0)).dtype
    return [CaseLabels(target, backbone.classes, dtype, backbone.heads.regions) for target in batch.target]


def weighted_sum(auxiliary: dict[str, Auxiliary]) -> Tensor | float:
    """Return the share of the total of what a network trains beside its segmentation."""
    return sum((term.weight * term.loss for term in auxiliary.values()), 0.0)


def unweighted(auxiliary: dict[str, Auxiliary]) -> dict[str, Tensor]:
    """Return the same terms for the record."""
    return {name: term.loss.detach() for name, term in auxiliary.items()}


def unimodal_losses(logits: Tensor | None, taught: Tensor, labels: list[CaseLabels]) -> list[Tensor]:
    """Task loss of each taught modality's own output, per case a tensor [M], 0 for the others.

    `logits` [B, M, classes, *space] from `Objective.unimodal_logits`, `taught` bool [B, M] on the CPU.
    Without logits all are 0.
    """
    if logits is None:
        return [case_labels.count.new_zeros(taught.shape[1]) for case_labels in labels]
    losses = []
    for case, mask, case_labels in zip(logits.unbind(), taught, labels, strict=True):
        chosen = mask.nonzero().squeeze(1)
        values = output_loss(case.index_select(0, on_device(chosen, case.device)), case_labels)
        losses.append(per_modality(values, chosen, len(mask)))
    return losses


def fuse_alone(backbone: Backbone, features: Features, taught: Tensor) -> tuple[Fused, Tensor, Tensor]:
    """Fuse each taught modality of each case alone, in one batch of R rows.

    `features` from `encode`, `taught` bool [B, M] on the CPU. Returns the outputs, case by case in modality
    order, and of each row its case and its modality, int64 [R] on the CPU.
    """
    case, modality = taught.nonzero(as_tuple=True)
    device = features.levels[0].device
    alone = torch.nn.functional.one_hot(modality, taught.shape[1]).bool()
    return backbone.fuse(features, on_device(alone, device), on_device(case, device)), case, modality


def per_modality(values: Tensor, modality: Tensor, modalities: int) -> Tensor:
    """Put `values` [R] at their `modality` int64 [R], known on the CPU, in a tensor [modalities] of zeros."""
    return values.new_zeros(modalities).index_copy(0, on_device(modality, values.device), values)
