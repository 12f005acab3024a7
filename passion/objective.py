"""What trains a network: `Objective`, from a batch to a total loss and the terms it is made of.

    losses = objective.loss(backbone, batch)    # any backbone of backbones.contract
    losses.total.backward()
    changed = objective.end_epoch()

All losses are per case and summed over the batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from backbones.contract import Backbone
from bench_errors import InputError
from bench_registry import unknown
from passion.losses import CaseLabels, full_precision, probabilities, task_loss

POLICIES = ("idt", "idt_drop", "pdt")


class Batch(Protocol):
    """What `loss` reads of a batch; a further `available` (bool [B, M], what each case has) is optional.

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
class Losses:
    """A batch's loss.

    Attributes:
        total: scalar to back-propagate.
        terms: what it is made of, before any weight, summed over the batch and detached: scalars (`fuse`,
            `prm`) and one value per modality (`sep`, ...), [M] in modality order, 0 where a modality takes no
            part.
    """

    total: Tensor
    terms: dict[str, Tensor]


class Objective(ABC):
    """A way to train a backbone with incomplete modalities.

    `policy` says what a training case shows: `idt` its fixed set of modalities, `idt_drop` a random subset of
    it, `pdt` a random subset of all, while every modality is there to learn from. During the first
    `warmup_epochs` only the uni-modal losses are back-propagated.

    `counts` (training cases that have each modality), `cases` (training cases) and `batch_size` are facts of
    the training data; an objective uses those it needs. `loss` works without gradient and in evaluation mode,
    and leaves the backbone's mode to the caller.
    """

    def __init__(
        self,
        modalities: int,
        classes: int,
        policy: str = "idt",
        warmup_epochs: int = 0,
        counts: Sequence[int] | None = None,
        cases: int | None = None,
        batch_size: int = 1,
    ):
        if policy not in POLICIES:
            raise InputError(unknown("policy", policy, list(POLICIES)))
        if counts is not None and (len(counts) != modalities or cases is None):
            raise ValueError(
                f"counts needs one value for each of {modalities} modalities, and cases: {counts}, {cases}"
            )
        self.modalities = modalities
        self.classes = classes
        self.policy = policy
        self.warmup_epochs = warmup_epochs
        self.counts = counts
        self.cases = cases
        self.batch_size = batch_size
        self.epoch = 0

    @property
    def warming_up(self) -> bool:
        """Whether the current epoch trains the uni-modal outputs alone."""
        return self.epoch < self.warmup_epochs

    @abstractmethod
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        """Return the losses of `batch`; raise ValueError for a case without any modality."""

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
        present = batch.present.detach().cpu().bool()
        if not present.any(dim=1).all():
            raise ValueError("a case of the batch has no modality present: every case needs at least one")
        if self.policy != "pdt":
            return present
        available = getattr(batch, "available", None)
        return torch.ones_like(present) if available is None else available.detach().cpu().bool() | present


def labels_of(batch: Batch, classes: int) -> list[CaseLabels]:
    """Prepare the labels of each case of the batch, at the precision of the losses."""
    dtype = full_precision(batch.volumes.new_empty(0)).dtype
    return [CaseLabels(target, classes, dtype) for target in batch.target]


def unimodal_losses(logits: Tensor, taught: Tensor, labels: list[CaseLabels]) -> list[Tensor]:
    """Task loss of each taught modality's own output, per case a tensor [M], 0 for the others.

    `logits` [B, M, classes, *space] from `Backbone.unimodal`, `taught` bool [B, M] on the CPU.
    """
    losses = []
    for case, mask, case_labels in zip(logits.unbind(), taught, labels, strict=True):
        chosen = mask.nonzero().squeeze(1).to(logits.device)
        values = task_loss(probabilities(case.index_select(0, chosen)), case_labels)
        losses.append(per_modality(values, chosen, len(mask)))
    return losses


def per_modality(values: Tensor, modality: Tensor, modalities: int) -> Tensor:
    """Put `values` [R] at their `modality` int64 [R] in a tensor [modalities], zeros elsewhere."""
    return values.new_zeros(modalities).index_copy(0, modality, values)
