"""The training loop: ``train(config, backbone, objective, loader, folder, device, on_epoch)``.

AdamW with amsgrad and a polynomial learning rate per epoch (PROTOCOL: as released); one epoch is every
training case once. Epochs are logged as they end, and a checkpoint lets a killed run go on.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from backbones.contract import Backbone
from benchmark.checkpoint import load_checkpoint, save_checkpoint
from benchmark.config import RunConfig
from benchmark.memory import peak
from benchmark.precision import autocast, scaler
from benchmark.record import RunFolder
from datasets.loader import Loader
from datasets.randomness import torch_seed
from passion.objective import Losses, Objective

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written when this much time has passed since the last one, and after the last epoch."""


def train(
    config: RunConfig,
    backbone: Backbone,
    objective: Objective,
    loader: Loader,
    folder: RunFolder,
    device: torch.device,
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None,
    validate: Callable[[], float] | None = None,
) -> None:
    """Train `backbone` in place, from the folder's checkpoint if there is one.

    Args:
        config: the run.
        backbone: on `device`; holds the weights to test when this returns.
        objective: gives the loss and keeps what it learns between epochs (beta, say).
        loader: yields the batches of an epoch.
        folder: receives log lines and checkpoints.
        device: where to compute.
        on_epoch: called with each new log line.
        validate: for `select: best`, the score of the current weights on the validation cases.
    """
    optimiser = torch.optim.AdamW(
        backbone.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay, amsgrad=True
    )
    if own := objective.parameters():
        for parameter in own:
            parameter.data = parameter.data.to(device)
        optimiser.add_param_group({"params": own, "weight_decay": 0.0})
    scale = scaler(config.precision, device)
    best: dict[str, Any] = {"score": -1.0, "epoch": -1, "weights": None}
    start = 0
    if checkpoint := load_checkpoint(folder, device):
        backbone.load_state_dict(checkpoint["weights"])
        optimiser.load_state_dict(checkpoint["optimiser"])
        objective.load_state_dict(checkpoint["objective"])
        scale.load_state_dict(checkpoint["scaler"])
        best = checkpoint["best"]
        start = checkpoint["epoch"]
    folder.truncate_log(start)
    saved = time.monotonic()
    for epoch in range(start, config.train.epochs):
        line = _epoch(config, epoch, backbone, objective, optimiser, scale, loader, device)
        last = epoch + 1 == config.train.epochs
        if validate and (last or (epoch + 1) % (config.test.validate_every or 10) == 0):
            line["validation"] = validate()
            if line["validation"] > best["score"]:
                weights = {k: v.detach().clone() for k, v in backbone.state_dict().items()}
                best = {"score": line["validation"], "epoch": epoch, "weights": weights}
        folder.append_log(line)
        on_epoch(line)
        if last or time.monotonic() - saved > CHECKPOINT_SECONDS:
            content = {
                "epoch": epoch + 1,
                "weights": backbone.state_dict(),
                "optimiser": optimiser.state_dict(),
                "objective": objective.state_dict(),
                "scaler": scale.state_dict(),
                "best": best,
            }
            save_checkpoint(folder, content)
            saved = time.monotonic()
    if best["weights"] is not None:
        backbone.load_state_dict(best["weights"])


def learning_rate(base: float, epoch: int, epochs: int) -> float:
    """Polynomial decay with exponent 0.9, rounded to 8 digits as in the released scheduler."""
    return round(base * (1 - epoch / epochs) ** 0.9, 8)


def _epoch(
    config: RunConfig,
    epoch: int,
    backbone: Backbone,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    scale: torch.amp.GradScaler,
    loader: Loader,
    device: torch.device,
) -> dict[str, Any]:
    rate = learning_rate(config.train.lr, epoch, config.train.epochs)
    for group in optimiser.param_groups:
        group["lr"] = rate
    backbone.train()
    began = time.monotonic()
    totals: dict[str, Tensor] = {}
    seen = torch.zeros(backbone.modalities)
    cases = 0
    weights = [p for p in backbone.parameters() if p.requires_grad]
    for step, batch in enumerate(loader.batches(epoch)):
        # Dropout draws depend on the step alone, so a resumed run repeats them.
        torch.manual_seed(torch_seed(config.seed, f"step {step}", epoch))
        moved = batch.to(device)
        with autocast(config.precision, device):
            losses = objective.loss(backbone, moved)
        if not torch.isfinite(losses.total):
            raise FloatingPointError(
                f"the loss is {losses.total.item()} in epoch {epoch} at {', '.join(batch.cases)}: "
                "lower train.lr, or check the data"
            )
        optimiser.zero_grad(set_to_none=True)
        if losses.total.requires_grad:
            objective.backward(_scaled(losses, scale), weights)
            fill_gradients(optimiser)
            scale.step(optimiser)
            scale.update()
        for name, value in {"total": losses.total.detach(), **losses.terms}.items():
            totals[name] = totals.get(name, torch.zeros(())) + value.cpu()
        used = batch.available if config.objective.policy == "pdt" else batch.present
        seen += used.sum(dim=0)
        cases += len(batch.cases)
    changed = objective.end_epoch() or {}
    return {
        "epoch": epoch,
        "lr": rate,
        "loss": {k: (v.sum() / cases).item() for k, v in totals.items() if k not in _PREFERENCE},
        "modality": _per_modality(loader.modalities, totals, seen, changed),
        "timing": {
            "seconds": round(time.monotonic() - began, 3),
            "step": round((time.monotonic() - began) / len(loader), 4),
            "loader_wait": round(loader.wait, 4),
            "peak_gib": round(peak(device) / 2**30, 3),
        },
    }


def _scaled(losses: Losses, scale: torch.amp.GradScaler) -> Losses:
    """What is back-propagated: total and tasks in the scale that keeps half-precision gradients from 0."""
    tasks = losses.tasks
    if tasks is not None:
        tasks = replace(tasks, shared=scale.scale(tasks.shared), own=scale.scale(tasks.own))
    return replace(losses, total=scale.scale(losses.total), tasks=tasks)


def fill_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Give parameters that took no part a zero gradient, as in the released code, where all are run.

    So momentum and weight decay act on an absent modality's encoder at every step.
    """
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


_PREFERENCE = ("distance", "preference", "score")


def _per_modality(
    modalities: tuple[str, ...], totals: dict[str, Tensor], seen: Tensor, changed: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Means over the cases that showed the modality, and what the objective changed at the epoch's end."""
    lines: dict[str, dict[str, float]] = {}
    for m, modality in enumerate(modalities):
        terms = {k: (v[m] / seen[m].clamp(min=1)).item() for k, v in totals.items() if v.dim() == 1}
        lines[modality] = {**terms, **{k: float(v[m]) for k, v in changed.items()}}
    return lines
