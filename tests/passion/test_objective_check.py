"""Every objective keeps the contract, and the check finds what a broken one does not keep."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones.contract import Backbone
from bench_errors import InputError
from bench_registry import PLUGINS
from passion import OBJECTIVES, check
from passion.baseline import Baseline
from passion.check import check_objective, equal_states
from passion.objective import Batch, Losses

QUICK = ("baseline", "passion", "kd", "gradnorm", "mae")
"""One of each kind: without state, with state, with a teacher, with parameters of its own, pre-training."""


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    """The classes of this file may be imported by their names."""
    classes = [name for name, value in globals().items() if isinstance(value, type)]
    monkeypatch.setenv(PLUGINS, ",".join(f"{__name__}:{name}" for name in classes))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.long) for n in OBJECTIVES]
)
def test_every_objective_keeps_the_contract(name: str) -> None:
    assert len(list(check_objective(name))) == 8


class TakesALogarithm(Baseline):
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        losses = super().loss(backbone, batch)
        return Losses(losses.total + (losses.terms["sep"] * 0).log().sum(), losses.terms)


class LooksAtAbsentChannels(Baseline):
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        losses = super().loss(backbone, batch)
        return Losses(losses.total + batch.volumes.mean(), losses.terms)


class LearnsNothing(Baseline):
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        losses = super().loss(backbone, batch)
        return Losses(losses.total * 0, losses.terms)


class KeepsTheGraph(Baseline):
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        losses = super().loss(backbone, batch)
        return Losses(losses.total, {**losses.terms, "all": losses.total})


class Forgets(Baseline):
    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.steps = 0

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        losses = super().loss(backbone, batch)
        self.steps += 1
        return Losses(losses.total * self.steps, losses.terms)


class CountsEvaluations(Baseline):
    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.seen = 0

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        self.seen += 1
        return super().loss(backbone, batch)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": self.seen}


class Remembers(Baseline):
    """Counts steps in the middle of a large tensor, by less than four decimals show."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.memory = torch.zeros(3000)

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        if torch.is_grad_enabled():
            self.memory[1500] += 1e-6
        return super().loss(backbone, batch)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "memory": self.memory}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.memory = state["memory"].clone()


class RemembersEvaluations(Remembers):
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        with torch.enable_grad():
            return super().loss(backbone, batch)


class ForgetsOnLoading(Remembers):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        Baseline.load_state_dict(self, state)


class SwitchesTheMode(Baseline):
    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        return super().loss(backbone.train(), batch)


class ShowsWhatNobodyHas(Baseline):
    def subset(self, seed: int, step: int) -> tuple[bool, ...]:
        return (True, False, False)


class CountsItsSubsets(Baseline):
    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.asked = 0

    def subset(self, seed: int, step: int) -> tuple[bool, ...]:
        self.asked += 1
        return self.subsets[self.asked % len(self.subsets)]


class ForgetsItsOuterStep(Baseline):
    """Goes back to the weights of three steps ago, which it does not save."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.steps, self.start = 0, []

    def outer_step(self, weights: list[nn.Parameter]) -> None:
        if self.steps % 3 == 0:
            for weight, old in zip(weights, self.start, strict=False):
                weight.copy_(old)
            self.start = [weight.clone() for weight in weights]
        self.steps += 1


class SavesItsOuterStep(ForgetsItsOuterStep):
    def subset(self, seed: int, step: int) -> tuple[bool, ...]:
        return self.subsets[(seed + step) % 3]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "steps": self.steps, "start": self.start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.steps, self.start = state["steps"], state["start"]


class NotAnObjective:
    def loss(self, total: Tensor) -> Tensor:
        return total


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (TakesALogarithm, "total is -inf, expected a finite scalar"),
        (LooksAtAbsentChannels, "several subsets: total is nan"),
        (LearnsNothing, "no weight of the network has changed"),
        (KeepsTheGraph, "the term all carries a gradient"),
        (Forgets, "gives two losses in evaluation mode"),
        (CountsEvaluations, "state_dict changes without gradient"),
        (RemembersEvaluations, "state_dict changes without gradient"),
        (ForgetsOnLoading, "does not go on alike"),
        (SwitchesTheMode, "training mode"),
        (ShowsWhatNobodyHas, r"\(True, False, False\), which no training case can show"),
        (CountsItsSubsets, "subset gives two answers for one step"),
        (ForgetsItsOuterStep, "does not go on alike"),
        (NotAnObjective, "NotAnObjective is no objective: derive a class"),
    ],
)
def test_what_is_broken_is_named(broken: type, says: str, monkeypatch) -> None:
    monkeypatch.setattr(check, "BATCHES", {"several subsets": check.BATCHES["several subsets"]})
    with pytest.raises(InputError, match=says):
        list(check_objective(f"{__name__}:{broken.__name__}"))


class ForgetsWhatItLearned(Baseline):
    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.scale = 1.0

    def loss(self, backbone: Backbone, batch: Batch) -> Losses:
        losses = super().loss(backbone, batch)
        return Losses(losses.total * self.scale, losses.terms)

    def end_epoch(self) -> dict[str, list[float]] | None:
        self.scale = 2.0
        return super().end_epoch()


def test_a_state_that_is_saved_and_loaded_is_sound() -> None:
    lines = list(check_objective(f"{__name__}:SavesItsOuterStep"))
    assert lines[1] == "each step shows one subset, of 3"
    assert "goes on alike" in lines[-1]


NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": torch.tensor([1.0, NAN])}, {"a": torch.tensor([1.0, NAN])}, True),
        ({"a": [NAN, None, "x"]}, {"a": [NAN, None, "x"]}, True),
        ({"a": torch.tensor([1.0, NAN])}, {"a": torch.tensor([NAN, 1.0])}, False),
        ({"a": torch.ones(2)}, {"a": torch.ones(2).double()}, False),
        ({"a": torch.ones(2)}, {"a": torch.ones(1)}, False),
        ({"a": torch.ones(1)}, {"a": 1.0}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 0.1 + 0.2}, {"a": 0.3}, False),
    ],
)
def test_states_are_compared_by_value(one: Any, other: Any, equal: bool) -> None:
    assert equal_states(one, other) == equal


def test_state_that_is_not_saved_is_found() -> None:
    with pytest.raises(InputError, match="put all that training changes into state_dict"):
        list(check_objective(f"{__name__}:ForgetsWhatItLearned"))


def test_unknown_options_are_named() -> None:
    assert torch.is_grad_enabled()
    with pytest.raises(InputError, match="objective passion: tua: no such option here, did you mean tau"):
        list(check_objective("passion", tua=2))
