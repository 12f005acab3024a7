"""Between two steps of training the host never waits for the device: tried on `meta`, which has no values.

Whoever asks a tensor there for a value, or for what depends on one (`nonzero`, a boolean index), gets an
error; a mode raises at copies from the host that would wait for their end.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

import backbones
import passion
from backbones import BACKBONES
from backbones.host import host, on_device
from benchmark.config.run_config import RunConfig
from benchmark.training import train as training
from benchmark.training.train import EpochProgress, Training, check_finite
from datasets.batches.loader import LoadedBatch
from passion import OBJECTIVES
from tests.nothing_waits import NothingWaits, Waits
from tests.passion.tiny_backbone import TinyBackbone
from tests.tiny_networks import SEGMENTING, tiny, trained_by

META = torch.device("meta")
MODALITIES, CLASSES, CROP = 3, 3, 16
TRAININGS = [(name, "tiny" if name in SEGMENTING else "m3ae") for name in OBJECTIVES]
FITTED = ("gaussian",)
"""Counted in one epoch, not trained by steps: these do look at values."""
TRAININGS += [("passion", name) for name in BACKBONES if name not in FITTED]
OF_FAST = ("tiny", "m3ae", "sharedunet", "uhemis")
"""Networks of few parts: working out shapes on `meta` takes as long as computing small maps."""


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


class Batches:
    """Three steps: two of a full and a partial case, one of a lone modality."""

    modalities = ("one", "two", "three")
    wait = 0.0
    subsets = (("111", "100"), ("111", "100"), ("010", "010"))

    def __init__(self, crop):
        self.space = (crop, crop, 1)

    def __len__(self):
        return len(self.subsets)

    def cases_in(self, step):
        return 2

    def batches(self, epoch, first_step, subset):
        for subsets in self.subsets:
            present = torch.tensor([[bit == "1" for bit in subset] for subset in subsets])
            volumes = torch.zeros(2, MODALITIES, *self.space)
            target = torch.zeros(2, *self.space, dtype=torch.int64)
            yield LoadedBatch(volumes, present, present.clone(), target, ["a", "b"])


def network(objective, backbone, crop):
    if objective not in SEGMENTING:
        return trained_by(objective, MODALITIES, CLASSES, 2)
    if backbone == "tiny":
        return TinyBackbone(MODALITIES, CLASSES)
    return backbones.create(backbone, MODALITIES, CLASSES, crop=crop, spatial_dims=2, **tiny(backbone))


def small_training(objective, backbone, **train):
    crop = CROP if backbone in ("tiny", "rfnet", "uhemis", "uhved", "robustseg", "a2fseg") else 32
    config = RunConfig.model_validate(
        {"objective": objective, "train": {"epochs": 1, "crop": crop, "batch_size": 2, **train}}
    )
    net, teacher = (network(objective, backbone, crop).to(META) for _ in range(2))
    facts = {"counts": [4, 4, 4], "cases": 6, "batch_size": 2, "teacher": teacher}
    made = passion.create(config.objective, MODALITIES, CLASSES, **facts)
    for name, value in vars(made).items():  # whose `data` cannot be set to a tensor without values
        if isinstance(value, torch.nn.Parameter):
            setattr(made, name, torch.nn.Parameter(value.detach().to(META)))
    return Training(config, net, made, Batches(crop), META)


def steps_without_waiting(made):
    """Do an epoch, of which only the first step may bring what stays to the device; return the others."""
    steps = training.steps(made)
    next(steps)
    with NothingWaits():
        return sum(1 for _ in steps)


@pytest.mark.parametrize(
    ("objective", "backbone"),
    [pytest.param(*pair, marks=[pytest.mark.long] * (pair[1] not in OF_FAST)) for pair in TRAININGS],
)
def test_nothing_waits_within_an_epoch(objective, backbone):
    made = small_training(objective, backbone)
    assert steps_without_waiting(made) == 2
    assert made.progress.totals["total"].device == META


@pytest.mark.long
@pytest.mark.parametrize("backbone", ["rfnet", "mmformer", "uhved"])
def test_nothing_waits_with_recompute(backbone):
    assert steps_without_waiting(small_training("passion", backbone, recompute=True)) == 2


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: bool(x.isfinite().all()),
        lambda x: x[torch.tensor([0])],
        lambda x: x[[0, 2]],
        lambda x: x[..., [0, 2]],
        lambda x: x + torch.ones(3).to(META),
    ],
)
def test_the_guard_sees_what_waits(look):
    with NothingWaits(), pytest.raises((Waits, RuntimeError)):
        look(torch.ones(3, device=META))


def test_the_host_knows_what_it_has_sent():
    mask = torch.tensor([True, False])
    assert host(on_device(mask, META)) is mask
    assert on_device(mask, mask.device) is mask
    assert host(mask).equal(mask)
    assert host(on_device([3, 1], META)).tolist() == [3, 1]
    with pytest.raises(NotImplementedError):
        host(mask.to(META))


def test_a_loss_that_is_not_finite_is_named_by_a_second_look():
    made = SimpleNamespace(progress=EpochProgress(), epoch=2, shown={})
    made.device, made.team, made.backbone = (
        torch.device("cpu"),
        SimpleNamespace(size=1),
        SimpleNamespace(modalities=2),
    )
    training._resume(made.progress, made)
    for step, loss in enumerate((1.0, 2.0, float("inf"), float("nan"))):
        check_finite(made) if step < 3 else None
        made.shown[step] = [f"case {step}"]
        training._add(made.progress, step, {"total": torch.tensor(loss)}, torch.zeros(2))
    with pytest.raises(FloatingPointError, match=r"the loss is inf in epoch 2 at case 2: lower train\.lr"):
        check_finite(made)
