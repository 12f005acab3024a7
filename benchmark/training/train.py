"""The training loop: ``train(training, folder, validation)``.

One epoch is every training case once, by default. Epochs are logged as they end, and a checkpoint, written at
a `Cadence` and at the end, lets a killed run go on from the step after it, to the same bits.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from backbones import noise
from backbones.contract import Backbone
from backbones.host import host, on_device
from backbones.recompute import Recomputed
from benchmark.config.run_config import RunConfig
from benchmark.run_folder.checkpoint import load_checkpoint, save_checkpoint
from benchmark.run_folder.checkpoint_schedule import AUTOMATIC, Cadence
from benchmark.run_folder.folder import RunFolder
from benchmark.run_folder.reasons import Pruned
from benchmark.training.captured import CapturedSteps, CudaRecorder, Gradients
from benchmark.training.data_parallel import ALONE, Team
from benchmark.training.memory import peak
from benchmark.training.optimiser import fill_gradients, fused, learning_rate, make_optimiser
from benchmark.training.precision import autocast, scaler
from datasets.batches.loader import LoadedBatch, Loader
from datasets.randomness import torch_seed
from passion.objective import Losses, Objective

PREFERENCE = ("distance", "preference", "score")
"""Terms that stand in an epoch's line by modality alone, not as a mean over the cases."""


@dataclass
class EpochProgress:
    """How far an epoch is: `step` steps over `cases` cases, their summed terms, what each modality `seen`.

    `broken`: float64 [2], the first step whose loss was not finite, -1 as long as all were, and that loss.
    """

    step: int = 0
    cases: int = 0
    totals: dict[str, Tensor] = field(default_factory=dict)
    seen: Tensor | None = None
    broken: Tensor | None = None
    elapsed: float = 0.0
    wait: float = 0.0


@dataclass
class Best:
    """The weights of the best look at the validation cases; no weights before the first look."""

    score: float = -1.0
    epoch: int = -1
    weights: dict[str, Tensor] | None = None


class Training:
    """What is trained, by what, and how far it is; its state goes into a checkpoint.

    Attributes:
        config: the run.
        backbone: on `device`; holds the weights to test when the training ends.
        objective: gives the loss and keeps what it learns between epochs (beta, say).
        loader: yields the batches of an epoch.
        device: where to compute.
        team: the processes that share the batches; the first alone writes and validates.
        resident: whether to record steps where that can be done.
        epoch, progress: how far the training is.
        shown: the cases of the epoch's steps.
        captured: what does the passes of a step from recordings; None: each is computed anew.
        best: the weights that `train.select: best` ends with.
    """

    def __init__(
        self,
        config: RunConfig,
        backbone: Backbone,
        objective: Objective,
        loader: Loader,
        device: torch.device,
        team: Team = ALONE,
        resident: bool = False,
    ):
        self.config, self.backbone, self.objective = config, backbone, objective
        self.loader, self.device, self.team = loader, device, team
        self.resident = resident
        self.optimiser = make_optimiser(config, backbone, objective, device)
        if config.train.compile:
            compile_parts(backbone)
        self.scaler = scaler(config.precision, device)
        self.epoch, self.progress, self.best = 0, EpochProgress(), Best()
        self.shown: dict[int, list[str]] = {}
        self.captured: CapturedSteps | None = None

    @property
    def parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        return {
            "weights": self.backbone,
            "optimiser": self.optimiser,
            "objective": self.objective,
            "scaler": self.scaler,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a killed run needs to go on."""
        states = {name: part.state_dict() for name, part in self.parts.items()}
        return {**states, "epoch": self.epoch, "progress": vars(self.progress), "best": vars(self.best)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, also on another device."""
        for group in state["optimiser"]["param_groups"]:
            group |= fused(group, self.device)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.epoch, self.progress = state["epoch"], EpochProgress(**state["progress"])
        self.best = Best(**state["best"])


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
    training: Training,
    folder: RunFolder,
    validation: Validation | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
    cadence: Cadence = AUTOMATIC,
) -> None:
    """Train to the end, from the folder's checkpoint if there is one.

    Args:
        training: what to train.
        folder: receives log lines and checkpoints.
        validation: how to look at the validation cases; None: not at all.
        on_epoch: called with each new log line.
        stop: asked after each step; once it says yes, a checkpoint is written and KeyboardInterrupt raised.
        cadence: how often to write a checkpoint.

    Raises `Pruned`, after a checkpoint, where a look at the validation cases was `hopeless`.
    """
    epochs, team = training.config.train.epochs, training.team
    if state := load_checkpoint(folder, training.device):
        training.load_state_dict(state)
    if team.leads:
        folder.truncate_log(training.epoch)
    checkpoints = _Checkpoints(training, folder, cadence)
    while training.epoch < epochs:
        for _ in steps(training):
            stopping = team.any(stop())
            if stopping or checkpoints.due():
                checkpoints.write()
            if stopping:
                raise KeyboardInterrupt
        line = _end_epoch(training)
        last = training.epoch == epochs
        hopeless = _look(training, validation, line, last) if validation else False
        if team.leads:
            folder.append_log(line)
        on_epoch(line)
        if last or hopeless or checkpoints.due():
            checkpoints.write()
        if hopeless:
            raise Pruned(f"given up after {training.epoch} epochs, at {line['validation']:.4f} in validation")
    if training.best.weights is not None:
        training.backbone.load_state_dict(training.best.weights)


def compile_parts(backbone: Backbone, backend: str = "inductor") -> None:
    """Let `torch.compile` take the parts that a network names; the names of weights stay as they are."""
    for name in backbone.compiled:
        part = backbone.get_submodule(name)
        for module in part if isinstance(part, nn.ModuleList) else [part]:
            module.compile(backend=backend, dynamic=False)


def steps(training: Training) -> Generator[None, None, None]:
    """Do what is left of the epoch, a step at a time, and keep the account of it in `progress`."""
    config, progress, loader = training.config, training.progress, training.loader
    rate = learning_rate(config.train, training.epoch)
    for group in training.optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    training.backbone.train()
    began, waited = time.monotonic() - progress.elapsed, progress.wait
    _resume(progress, training)
    network = Recomputed(training.backbone) if config.train.recompute else training.backbone
    if training.resident and training.captured is None:
        record_steps(training, network)
    subset = partial(training.objective.subset, config.seed)
    for step, batch in enumerate(loader.batches(training.epoch, progress.step, subset), progress.step):
        # Dropout draws depend on the step alone, so a resumed run repeats them.
        torch.manual_seed(torch_seed(config.seed, f"step {step}", training.epoch))
        idle = training.team.idle(loader.cases_in(step))
        with noise.step(f"{config.seed} epoch {training.epoch} step {step}", batch.cases):
            terms, showed = train_step(training, network, batch, idle)
        training.shown[step] = batch.cases
        _add(progress, step, terms, showed)
        progress.cases += loader.cases_in(step)
        progress.step = step + 1
        progress.elapsed = time.monotonic() - began
        progress.wait = waited + loader.wait
        yield


def record_steps(training: Training, network: Any) -> None:
    """From now on record a training's steps, with `network` in place of its own, where that can be."""
    if not why_not_captured(training):
        in_place = partial(gradients, training, network, in_place=True)
        training.captured = CapturedSteps(in_place, CudaRecorder())


def why_not_captured(training: Training) -> str:
    """Say in one line why the steps of a training cannot be recorded; empty where they can."""
    config = training.config
    if training.device.type != "cuda":
        return "steps are recorded on CUDA alone"
    if torch.__version__ < "2.13":
        return f"torch is {torch.__version__}, and cannot give up a recording before 2.13"
    if training.team.size > 1:
        return "several devices share each batch"
    if config.train.recompute:
        return "train.recompute looks at the state of the random numbers"
    for kind, name, part in (
        ("objective", config.objective.name, training.objective),
        ("backbone", config.backbone.name, training.backbone),
    ):
        if not part.capturable:
            return f"{kind} {name} cannot be recorded"
    return ""


def moved(batch: LoadedBatch, device: torch.device) -> LoadedBatch:
    """Return the batch on `device`, its masks so that the host still knows them."""
    there = batch.to(device)
    there.available, there.present = (on_device(each, device) for each in (batch.available, batch.present))
    return there


def _resume(progress: EpochProgress, training: Training) -> None:
    """Have the account of an epoch, or of what is done of it, where it can be added to without waiting."""
    device, team = training.device, training.team
    training.shown = {}
    progress.totals = {name: total.to(device) for name, total in progress.totals.items()}
    none = torch.zeros(training.backbone.modalities)
    # One process knows on the host what its batches show; several add it up on their devices.
    progress.seen = (none if progress.seen is None else progress.seen).to("cpu" if team.size == 1 else device)
    whole = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    progress.broken = (whole if progress.broken is None else progress.broken).to(device)


def _add(progress: EpochProgress, step: int, terms: dict[str, Tensor], showed: Tensor) -> None:
    """Add a step to the account of its epoch. The device is not waited for: `check_finite` looks later."""
    assert progress.seen is not None
    assert progress.broken is not None
    for name, value in terms.items():
        progress.totals[name] = progress.totals.get(name, torch.zeros_like(value)) + value
    progress.seen += showed
    loss = terms["total"].double()
    now = torch.stack([torch.full_like(loss, step), loss])
    first = (progress.broken[0] < 0) & ~torch.isfinite(loss)
    progress.broken = torch.where(first, now, progress.broken)


def check_finite(training: Training) -> None:
    """Raise FloatingPointError if the loss of a step of this epoch was not finite; says of which."""
    if training.progress.broken is None:
        return
    step, loss = training.progress.broken.tolist()
    if step >= 0:
        raise FloatingPointError(
            f"the loss is {loss} in epoch {training.epoch} at {', '.join(training.shown[int(step)])}: "
            "lower train.lr, or check the data"
        )


def train_step(
    training: Training, network: Any, batch: LoadedBatch, idle: bool = False
) -> tuple[dict[str, Tensor], Tensor]:
    """Change the weights by one batch; return the terms of the loss and what each modality showed of it.

    The host does not wait for the device. `idle`: this process of a team has no case in this batch and only
    keeps the others company.
    """
    config, objective, team = training.config, training.objective, training.team
    there = moved(batch, training.device)
    with torch.no_grad():
        objective.outer_step(_weights(training))
    before = objective.state_dict() if team.size > 1 else {}
    if training.captured:
        terms, learns = training.captured(there, objective.warming_up)
    else:
        terms, learns = gradients(training, network, there)
    used = batch.available if config.objective.policy == "pdt" else batch.present
    showed = host(used).sum(dim=0)
    if team.size > 1:
        team.sum_state(objective, before, idle)
        *sums, showed = team.sum([value * (not idle) for value in (*terms.values(), showed)])
        terms = {name: total.to(term.dtype) for (name, term), total in zip(terms.items(), sums, strict=True)}
    if learns:
        if team.size > 1:
            team.sum_gradients([p for g in training.optimiser.param_groups for p in g["params"]], idle)
        fill_gradients(training.optimiser)
        training.scaler.step(training.optimiser)
        training.scaler.update()
    return terms, showed


def gradients(training: Training, network: Any, batch: LoadedBatch, in_place: bool = False) -> Gradients:
    """Do the forward and backward pass of a batch that is on the device, and leave gradients at the weights.

    `in_place`: the tensors of the last step's gradients are used again.
    """
    with autocast(training.config.precision, training.device):
        losses = training.objective.loss(network, batch)
    training.optimiser.zero_grad(set_to_none=not in_place)
    if losses.total.requires_grad:
        training.objective.backward(_scaled(losses, training.scaler), _weights(training))
    return Gradients({"total": losses.total.detach(), **losses.terms}, losses.total.requires_grad)


def _weights(training: Training) -> list[nn.Parameter]:
    return [p for p in training.backbone.parameters() if p.requires_grad]


def _end_epoch(training: Training) -> dict[str, Any]:
    """End the epoch for the objective, say in a log line what it came to, and go to the next."""
    config, progress = training.config, training.progress
    check_finite(training)
    assert progress.seen is not None
    progress.totals = {name: total.cpu() for name, total in progress.totals.items()}
    progress.seen = progress.seen.cpu()
    changed = training.objective.end_epoch() or {}
    means = {k: v.sum() / progress.cases for k, v in progress.totals.items() if k not in PREFERENCE}
    line = {
        "epoch": training.epoch,
        "lr": learning_rate(config.train, training.epoch),
        "loss": {k: v.item() for k, v in means.items()},
        "modality": _per_modality(training.loader.modalities, progress.totals, progress.seen, changed),
        "timing": {
            "seconds": round(progress.elapsed, 3),
            "step": round(progress.elapsed / len(training.loader), 4),
            "loader_wait": round(progress.wait, 4),
            "peak_gib": round(peak(training.device) / 2**30, 3),
        },
    }
    training.epoch += 1
    training.progress = EpochProgress()
    return line


def _look(training: Training, validation: Validation, line: dict[str, Any], last: bool) -> bool:
    """Look at the validation cases if it is time to, and keep the best weights; say whether to give up."""
    if training.epoch % validation.every and not (last and validation.keep_best):
        return False
    score = line["validation"] = validation.score()
    if validation.keep_best and score > training.best.score:
        weights = {k: v.detach().clone() for k, v in training.backbone.state_dict().items()}
        training.best = Best(score, training.epoch - 1, weights)
    return not last and validation.hopeless(training.epoch, score)


class _Checkpoints:
    """Writes a training's checkpoints when they are due."""

    def __init__(self, training: Training, folder: RunFolder, cadence: Cadence):
        self._training, self._folder, self._cadence = training, folder, cadence
        self._written, self._cost, self._epoch = time.monotonic(), 0.0, training.epoch

    def due(self) -> bool:
        """Whether it is time for the next."""
        elapsed = time.monotonic() - self._written
        return self._cadence.due(elapsed, self._cost, self._training.epoch - self._epoch)

    def write(self) -> None:
        """Write one, in the process that writes, of weights that are sound."""
        check_finite(self._training)
        if not self._training.team.leads:
            return
        began = time.monotonic()
        save_checkpoint(self._folder, self._training.state_dict())
        self._written = time.monotonic()
        self._cost, self._epoch = self._written - began, self._training.epoch


def _scaled(losses: Losses, scale: torch.amp.GradScaler) -> Losses:
    """What is back-propagated: total and tasks in the scale that keeps half-precision gradients from 0."""
    tasks = losses.tasks
    if tasks is not None:
        tasks = replace(tasks, shared=scale.scale(tasks.shared), own=scale.scale(tasks.own))
    return replace(losses, total=scale.scale(losses.total), tasks=tasks)


def _per_modality(
    modalities: tuple[str, ...], totals: dict[str, Tensor], seen: Tensor, changed: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Means over the cases that showed the modality, and what the objective changed at the epoch's end."""
    lines: dict[str, dict[str, float]] = {}
    for m, modality in enumerate(modalities):
        terms = {k: (v[m] / seen[m].clamp(min=1)).item() for k, v in totals.items() if v.dim() == 1}
        lines[modality] = {**terms, **{k: float(v[m]) for k, v in changed.items()}}
    return lines
