"""The optimiser of a run and its learning rate: ``make_optimiser(config, backbone, objective, device)``.

By default AdamW with amsgrad and a polynomial learning rate per epoch (PROTOCOL: as released).
"""

import inspect
from collections.abc import Callable, Container
from math import cos, pi
from typing import Any

import torch

from backbones.contract import Backbone
from benchmark.config.run_config import RunConfig, TrainConfig
from passion.objective import Objective

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "radam": torch.optim.RAdam,
}
MOMENTUM = 0.99
"""Nesterov's, of `sgd`: that of nnU-Net and of what builds on it."""


def make_optimiser(
    config: RunConfig, backbone: Backbone, objective: Objective, device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimiser of a run, of its network and of what the objective itself learns."""
    train = config.train
    kind = OPTIMISERS[train.optimiser]
    options: dict[str, Any] = {"amsgrad": train.amsgrad} if train.optimiser in ("adamw", "adam") else {}
    if train.optimiser == "sgd":
        options = {"momentum": MOMENTUM, "nesterov": True}
    options |= fused(inspect.signature(kind).parameters, device)
    named = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    weights = [p for name, p in named.items() if name not in backbone.rates]
    optimiser = kind(weights, lr=train.lr, weight_decay=train.weight_decay, **options)
    for name, factor in backbone.rates.items():
        if name in named:
            optimiser.add_param_group({"params": [named[name]], "factor": factor})
    if learnt := objective.parameters():
        for parameter in learnt:
            parameter.data = parameter.data.to(device)
        optimiser.add_param_group({"params": learnt, "weight_decay": 0.0})
    return optimiser


def fused(known: Container[str], device: torch.device) -> dict[str, bool]:
    """Ask for one kernel for many weights, a tenth of the time on a GPU, where an optimiser has one."""
    return {"fused": device.type == "cuda"} if "fused" in known else {}


def learning_rate(train: TrainConfig, epoch: int) -> float:
    """Return the rate of an epoch; `poly` is rounded to 8 digits as in the released scheduler."""
    done = epoch / train.epochs
    if train.schedule == "constant":
        return train.lr
    if train.schedule == "cosine":
        return train.lr * (1 + cos(pi * done)) / 2
    return round(train.lr * (1 - done) ** 0.9, 8)


def fill_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Give parameters that took no part a zero gradient, as in the released code, where all are run.

    So momentum and weight decay act on an absent modality's encoder at every step.
    """
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
