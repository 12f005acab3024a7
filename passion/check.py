"""Whether an objective keeps the contract, found out on random batches: `bench check-objective NAME`.

    for line in check_objective("my_package.my_losses:MyObjective"): print(line)

Small RFNets (M3AEs, where an objective pre-trains) are trained for two steps each: on a batch of several
subsets, on single modalities, on a crop without foreground. Each check yields a line when it has passed; the
first that fails raises `InputError`, saying what is wrong and what to do.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import backbones
import passion
from backbones import noise
from backbones.check import Broken, naming
from backbones.contract import Backbone
from passion.objective import Losses, Objective

MODALITIES, CLASSES, CROP = 3, 3, 16
SUBSETS = [(False, True, False), (True, True, False), (True, True, True)]
"""What the training cases can show: fewer than the steps of two epochs, so that a round ends within them."""


@dataclass
class RandomBatch:
    """Random volumes and labels: see `passion.objective.Batch`."""

    volumes: Tensor
    present: Tensor
    target: Tensor
    cases: list[str]


BATCHES = {
    "several subsets": ("111", "101", "010"),
    "one modality in the whole batch": ("010", "010"),
    "a single case": ("110",),
    "no foreground": ("111", "001"),
}


def check_objective(name: str, **options: Any) -> Iterator[str]:
    """Check the objective `name`, with its own `options`, on small RFNets.

    Yields a line for each check that passed; raises `InputError` at the first that fails.
    """
    with naming(f"{name}: built for {MODALITIES} modalities and {CLASSES} classes"):
        _objective(name, options)
    yield f"built for {MODALITIES} modalities and {CLASSES} classes"
    with naming(f"{name}: the subsets that its steps show"):
        yield _check_subsets(name, options)
    for title, subsets in BATCHES.items():
        with naming(f"{name}: two steps on a batch of {title}"):
            empty = title == "no foreground"
            _train(_objective(name, options), _network_for(name, options), _batch(subsets, empty))
        yield f"two steps on a batch of {title}: finite losses and gradients, which change the network"
    with naming(f"{name}: evaluating"):
        _check_evaluation(_objective(name, options), _network_for(name, options))
    yield "evaluating without gradient changes nothing and gives the same loss"
    with naming(f"{name}: going on from its state"):
        _check_state(name, options)
    yield "an objective that is restored from its state goes on alike"


def _objective(name: str, options: dict[str, Any]) -> Objective:
    facts: dict[str, Any] = {
        "counts": [4, 3, 2],
        "cases": 5,
        "batch_size": 2,
        "subsets": SUBSETS,
        "epochs": 2,
        "teacher": _network("rfnet", seed=1),
    }
    return passion.create(name, MODALITIES, CLASSES, **facts, **options)


def _network_for(name: str, options: dict[str, Any]) -> Backbone:
    if _objective(name, options).options.segments:
        return _network("rfnet")
    net = _network("m3ae", image=(CROP,) * 3)
    net.begin("pretraining")
    return net


def _network(name: str, seed: int = 0, **options: Any) -> Backbone:
    torch.manual_seed(seed)
    return backbones.create(name, MODALITIES, CLASSES, CROP, width=2, **options)


def _batch(subsets: tuple[str, ...], empty: bool = False, seed: int = 0) -> RandomBatch:
    """One case for each of `subsets`; absent channels hold NaN, which must not be looked at."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.tensor([[bit == "1" for bit in subset] for subset in subsets])
    space = (CROP, CROP, CROP)
    volumes = torch.randn(*present.shape, *space, generator=generator)
    volumes[~present] = torch.nan
    target = torch.randint(0, 1 if empty else CLASSES, (len(subsets), *space), generator=generator)
    return RandomBatch(volumes, present, target, [f"case {i}" for i in range(len(subsets))])


def _train(objective: Objective, net: Backbone, batch: RandomBatch) -> list[float]:
    """Take two steps and end the epoch; return the losses."""
    weights = list(net.parameters())
    optimiser = torch.optim.AdamW([*weights, *objective.parameters()], lr=1e-3, weight_decay=0.0)
    before = [weight.detach().clone() for weight in weights]
    totals = []
    for step in range(2):
        with torch.no_grad():
            objective.outer_step(weights)
        with noise.step(f"step {step}", batch.cases):
            losses = objective.loss(net.train(), batch)
        _check_losses(losses)
        optimiser.zero_grad(set_to_none=True)
        objective.backward(losses, weights)
        if not all(
            p.grad is None or bool(p.grad.isfinite().all()) for p in (*weights, *objective.parameters())
        ):
            raise Broken("a gradient is not finite: look for a root, a logarithm or a quotient at zero")
        optimiser.step()
        totals.append(losses.total.item())
    if all(torch.equal(old, new) for old, new in zip(before, weights, strict=True)):
        raise Broken("no weight of the network has changed: let total depend on the network's outputs")
    changed = objective.end_epoch()
    for term, values in (changed or {}).items():
        if len(values) != MODALITIES:
            raise Broken(f"end_epoch gives {len(values)} values of {term}, expected one for each modality")
    return totals


def _check_losses(losses: Losses) -> None:
    if losses.total.dim() or not losses.total.isfinite():
        raise Broken(f"total is {losses.total.detach()}, expected a finite scalar")
    for term, value in losses.terms.items():
        if value.requires_grad:
            raise Broken(f"the term {term} carries a gradient: detach it, terms are for the record")
        if value.shape not in ((), (MODALITIES,)):
            raise Broken(
                f"the term {term} has shape {tuple(value.shape)}, expected a scalar or one per modality"
            )
        if not value.isfinite().all():
            raise Broken(f"the term {term} is not finite: {value}")


def _check_evaluation(objective: Objective, net: Backbone) -> None:
    batch, before = _batch(("111", "010")), copy.deepcopy(objective.state_dict())
    with torch.no_grad():
        first, second = (objective.loss(net.eval(), batch).total for _ in range(2))
    if net.training:
        raise Broken("loss puts the network in training mode: leave the mode to the caller")
    if not torch.equal(first, second):
        raise Broken("the same batch gives two losses in evaluation mode")
    if not equal_states(objective.state_dict(), before):
        raise Broken("state_dict changes without gradient: count steps only where torch.is_grad_enabled()")


def _check_state(name: str, options: dict[str, Any]) -> None:
    """Train an epoch, restore another objective from the state, and compare their next epochs."""
    objective, net = _objective(name, options), _network_for(name, options)
    _train(objective, net, _batch(BATCHES["several subsets"]))
    restored = _objective(name, options)
    restored.load_state_dict(copy.deepcopy(objective.state_dict()))
    losses = [
        _train(one, copy.deepcopy(net), _batch(("111", "110"), seed=1)) for one in (objective, restored)
    ]
    if losses[0] != losses[1] or not equal_states(objective.state_dict(), restored.state_dict()):
        raise Broken(
            "it does not go on alike: put all that training changes into state_dict, and let load_state_dict "
            "take it back"
        )


def _check_subsets(name: str, options: dict[str, Any]) -> str:
    """Ask twice for the subset of each step, the second time another objective and backwards."""
    objective, again = _objective(name, options), _objective(name, options)
    drawn = [objective.subset(seed, step) for seed in (0, 1) for step in range(8)]
    if drawn != [again.subset(seed, step) for seed in (1, 0) for step in reversed(range(8))][::-1]:
        raise Broken("subset gives two answers for one step: make it a function of seed and step alone")
    if wrong := [mask for mask in drawn if mask is not None and mask not in SUBSETS]:
        raise Broken(f"subset gives {wrong[0]}, which no training case can show: choose among self.subsets")
    kinds = len(set(drawn) - {None})
    return f"each step shows one subset, of {kinds}" if kinds else "the policy says what each case shows"


def equal_states(one: Any, other: Any) -> bool:
    """Whether two states, of numbers, texts, tensors and collections of these, are equal to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.shape == other.shape and one.dtype == other.dtype
        return alike and bool(((one == other) | (one.isnan() & other.isnan())).all())
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal_states(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal_states, one, other))
    return bool(one == other or (one != one and other != other))
