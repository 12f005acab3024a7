"""The training loop: ``train(config, backbone, objective, loader, folder, device, on_epoch)``.

AdamW with amsgrad and a polynomial learning rate per epoch (PROTOCOL: as released); one epoch is every
training case once. Epochs are logged as they end, and a checkpoint, written at a `Cadence` and at the end,
lets a killed run go on from the step after it, to the same bits.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from backbones.contract import Backbone
from backbones.recompute import Recomputed
from benchmark.config.run_config import RunConfig
from benchmark.run_folder.checkpoint import load_checkpoint, save_checkpoint
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.reasons import Pruned
from benchmark.training.data_parallel import ALONE, Team
from benchmark.training.memory import peak
from benchmark.training.precision import autocast, scaler
from datasets.batches.loader import Loader
from datasets.randomness import torch_seed
from passion.objective import Losses, Objective


@dataclass
class Progress:
    """How far an epoch is: `step` steps over `cases` cases, their summed terms, what each modality `seen`."""

    step: int = 0
    cases: int = 0
    totals: dict[str, Tensor] = field(default_factory=dict)
    seen: Tensor | None = None
    elapsed: float = 0.0
    wait: float = 0.0


@dataclass(frozen=True)
class Validation:
    """How a training looks at the validation cases.

    Attributes:
        score: the score of the current weights, higher is better; stands as `validation` in the epoch's line.
        every: epochs between two looks.
        keep_best: end with the weights of the best look, of which the last epoch is one.
        hopeless: asked after each look, with the number of epochs done and the score, whether to give up.
    """

    score: Callable[[], float]
    every: int
    keep_best: bool = False
    hopeless: Callable[[int, float], bool] = lambda epochs, score: False


def train(
    config: RunConfig,
    backbone: Backbone,
    objective: Objective,
    loader: Loader,
    folder: RunFolder,
    device: torch.device,
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None,
    validation: Validation | None = None,
    stop: Callable[[], bool] = lambda: False,
    cadence: Cadence = AUTOMATIC,
    team: Team = ALONE,
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
        validation: how to look at the validation cases; None: not at all.
        stop: asked after each step; once it says yes, a checkpoint is written and KeyboardInterrupt raised.
        cadence: how often to write a checkpoint.
        team: the processes that share the batches; the first alone writes and validates.

    Raises `Pruned`, after a checkpoint, where a look at the validation cases was `hopeless`.
    """
    optimiser = make_optimiser(config, backbone, objective, device)
    scale = scaler(config.precision, device)
    best: dict[str, Any] = {"score": -1.0, "epoch": -1, "weights": None}
    start, progress = 0, Progress()
    if checkpoint := load_checkpoint(folder, device):
        backbone.load_state_dict(checkpoint["weights"])
        for group in checkpoint["optimiser"]["param_groups"]:
            group["fused"] = device.type == "cuda"  # it may come from another device
        optimiser.load_state_dict(checkpoint["optimiser"])
        objective.load_state_dict(checkpoint["objective"])
        scale.load_state_dict(checkpoint["scaler"])
        best = checkpoint["best"]
        start = checkpoint["epoch"]
        progress = Progress(**checkpoint["progress"])
    if team.leads:
        folder.truncate_log(start)
    saved, cost, saved_epoch = time.monotonic(), 0.0, start

    def save(epoch: int, progress: Progress) -> None:
        nonlocal saved, cost, saved_epoch
        if not team.leads:
            return
        began = time.monotonic()
        content = {
            "epoch": epoch,
            "progress": vars(progress),
            "weights": backbone.state_dict(),
            "optimiser": optimiser.state_dict(),
            "objective": objective.state_dict(),
            "scaler": scale.state_dict(),
            "best": best,
        }
        save_checkpoint(folder, content)
        saved, saved_epoch = time.monotonic(), epoch
        cost = saved - began

    for epoch in range(start, config.train.epochs):
        for _ in steps(config, epoch, progress, backbone, objective, optimiser, scale, loader, device, team):
            stopping = team.any(stop())
            if stopping or cadence.due(time.monotonic() - saved, cost):
                save(epoch, progress)
            if stopping:
                raise KeyboardInterrupt
        line = _line(config, epoch, progress, objective, loader, device)
        progress = Progress()
        last = epoch + 1 == config.train.epochs
        hopeless = False
        if validation and ((epoch + 1) % validation.every == 0 or (last and validation.keep_best)):
            line["validation"] = validation.score()
            hopeless = not last and validation.hopeless(epoch + 1, line["validation"])
            if validation.keep_best and line["validation"] > best["score"]:
                weights = {k: v.detach().clone() for k, v in backbone.state_dict().items()}
                best = {"score": line["validation"], "epoch": epoch, "weights": weights}
        if team.leads:
            folder.append_log(line)
        on_epoch(line)
        if last or hopeless or cadence.due(time.monotonic() - saved, cost, epoch + 1 - saved_epoch):
            save(epoch + 1, progress)
        if hopeless:
            raise Pruned(f"given up after {epoch + 1} epochs, at {line['validation']:.4f} in validation")
    if best["weights"] is not None:
        backbone.load_state_dict(best["weights"])


def make_optimiser(
    config: RunConfig, backbone: Backbone, objective: Objective, device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimiser of a run, of its network and of what the objective itself learns."""
    optimiser = torch.optim.AdamW(
        backbone.parameters(),
        lr=config.train.lr,
        weight_decay=config.train.weight_decay,
        amsgrad=True,
        fused=device.type == "cuda",  # one kernel for many weights: a tenth of the time there
    )
    if own := objective.parameters():
        for parameter in own:
            parameter.data = parameter.data.to(device)
        optimiser.add_param_group({"params": own, "weight_decay": 0.0})
    return optimiser


def learning_rate(base: float, epoch: int, epochs: int) -> float:
    """Polynomial decay with exponent 0.9, rounded to 8 digits as in the released scheduler."""
    return round(base * (1 - epoch / epochs) ** 0.9, 8)


def steps(
    config: RunConfig,
    epoch: int,
    progress: Progress,
    backbone: Backbone,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    scale: torch.amp.GradScaler,
    loader: Loader,
    device: torch.device,
    team: Team = ALONE,
) -> Generator[None, None, None]:
    """Do what is left of an epoch, a step at a time, and keep the account of it in `progress`."""
    rate = learning_rate(config.train.lr, epoch, config.train.epochs)
    for group in optimiser.param_groups:
        group["lr"] = rate
    backbone.train()
    began, waited = time.monotonic() - progress.elapsed, progress.wait
    totals = progress.totals = {name: total.cpu() for name, total in progress.totals.items()}
    seen = torch.zeros(backbone.modalities) if progress.seen is None else progress.seen.cpu()
    weights = [p for p in backbone.parameters() if p.requires_grad]
    network = Recomputed(backbone) if config.train.recompute else backbone
    for step, batch in enumerate(loader.batches(epoch, progress.step), progress.step):
        # Dropout draws depend on the step alone, so a resumed run repeats them.
        torch.manual_seed(torch_seed(config.seed, f"step {step}", epoch))
        moved = batch.to(device)
        idle = team.size > 1 and team.rank >= loader.cases_in(step)
        before = objective.state_dict() if team.size > 1 else {}
        with autocast(config.precision, device):
            losses = objective.loss(network, moved)
        used = batch.available if config.objective.policy == "pdt" else batch.present
        terms = {"total": losses.total.detach(), **losses.terms}
        showed, cases = used.sum(dim=0), len(batch.cases)
        if team.size > 1:
            team.sum_state(objective, before, idle)
            *summed, showed = team.sum([value * (not idle) for value in (*terms.values(), showed)])
            terms = {
                name: value.to(kept.dtype) for (name, kept), value in zip(terms.items(), summed, strict=True)
            }
            cases = loader.cases_in(step)
        if not torch.isfinite(terms["total"]):
            raise FloatingPointError(
                f"the loss is {terms['total'].item()} in epoch {epoch} at {', '.join(batch.cases)}: "
                "lower train.lr, or check the data"
            )
        optimiser.zero_grad(set_to_none=True)
        if losses.total.requires_grad:
            objective.backward(_scaled(losses, scale), weights)
            if team.size > 1:
                team.sum_gradients([p for group in optimiser.param_groups for p in group["params"]], idle)
            fill_gradients(optimiser)
            scale.step(optimiser)
            scale.update()
        for name, value in terms.items():
            totals[name] = totals.get(name, torch.zeros(())) + value.cpu()
        seen += showed
        progress.seen = seen
        progress.cases += cases
        progress.step = step + 1
        progress.elapsed = time.monotonic() - began
        progress.wait = waited + loader.wait
        yield


def _line(
    config: RunConfig,
    epoch: int,
    progress: Progress,
    objective: Objective,
    loader: Loader,
    device: torch.device,
) -> dict[str, Any]:
    """End the epoch for the objective and say in a log line what it came to."""
    assert progress.seen is not None
    changed = objective.end_epoch() or {}
    means = {k: v.sum() / progress.cases for k, v in progress.totals.items() if k not in _PREFERENCE}
    return {
        "epoch": epoch,
        "lr": learning_rate(config.train.lr, epoch, config.train.epochs),
        "loss": {k: v.item() for k, v in means.items()},
        "modality": _per_modality(loader.modalities, progress.totals, progress.seen.cpu(), changed),
        "timing": {
            "seconds": round(progress.elapsed, 3),
            "step": round(progress.elapsed / len(loader), 4),
            "loader_wait": round(progress.wait, 4),
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
