"""Every backbone keeps the contract, and the check finds what a broken one does not keep."""

from typing import Any

import pytest
import torch
from docs_page import block
from torch import Tensor, nn

from backbones import BACKBONES
from backbones.check import CHECKS, check_backbone
from backbones.contract import Auxiliary, Features, Fused
from bench_errors import InputError
from bench_options import MethodOptions
from bench_registry import PLUGINS
from tests.tiny_networks import CROPS, tiny

exec(block("add-a-backbone.md", "python"))
Sound = globals()["MeanNet"]


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    """The classes of this file may be imported by their names."""
    classes = [name for name, value in globals().items() if isinstance(value, type)]
    monkeypatch.setenv(PLUGINS, ",".join(f"{__name__}:{name}" for name in classes))


@pytest.mark.parametrize("modalities", [pytest.param(1, marks=pytest.mark.long), 2])
@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_keeps_the_contract(name: str, modalities: int) -> None:
    lines = list(check_backbone(name, crop=CROPS.get(name, 32), modalities=modalities, **tiny(name)))
    assert sum(line.startswith("volumes") for line in lines) == 1 + len(CHECKS)
    assert sum(line.startswith("slices") for line in lines) == 1 + len(CHECKS)


class MultipliesByPresence(Sound):
    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        everything = torch.ones_like(available)
        features = super().encode(volumes, everything)
        levels = [level * available[:, :, None, None, None, None] for level in features.levels]
        return Features(levels, available)


class FusesWhatIsAvailable(Sound):
    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        return super().fuse(features, features.available if case is None else features.available[case], case)


class TakesTheFirstCase(Sound):
    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        return super().fuse(features, present, None if case is None else torch.zeros_like(case))


class MixesInEncode(Sound):
    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        features = super().encode(volumes, available)
        total = features.levels[0].sum(dim=1, keepdim=True) * available[:, :, None, None, None, None]
        return Features([features.levels[0] + total, features.levels[1]], available)


class MixesALittle(Sound):
    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        features = super().encode(volumes, available)
        others = 1e-4 * features.levels[0].sum(dim=1, keepdim=True)
        return Features([features.levels[0] + others, features.levels[1]], available)


class HasAnIdleLayer(Sound):
    def __init__(self, modalities: int, classes: int, options: MethodOptions):
        super().__init__(modalities, classes, options)
        self.idle = nn.Linear(2, 2)


class HidesAWeight(Sound):
    def __init__(self, modalities: int, classes: int, options: MethodOptions):
        super().__init__(modalities, classes, options)
        self.scale = torch.rand(()) + 0.5

    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        fused = super().fuse(features, present, case)
        return Fused(fused.logits * self.scale, fused.side_logits, fused.decoder_features)


class HalvesTheSize(Sound):
    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        fused = super().fuse(features, present, case)
        return Fused(fused.logits[..., ::2], fused.side_logits, fused.decoder_features)


class SidesInTrainingAlone(Sound):
    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        fused = super().fuse(features, present, case)
        return Fused(fused.logits, fused.side_logits if self.training else [], fused.decoder_features)


class AddsWhatIsNotFinite(Sound):
    def auxiliary(self, features: Features, fused: Fused, batch: Any) -> dict[str, Auxiliary]:
        return {"image": Auxiliary((batch.volumes - fused.logits[:, :1]).square().mean(), 1.0)}


class LiesWhereTheFirstDoes(Sound):
    def encode_at(self, volumes: Tensor, available: Tensor, corners: Tensor | None) -> Features:
        features = super().encode(volumes, available)
        shift = 0 if corners is None else corners[0, 0, 0]
        return Features([level + shift for level in features.levels], available)


class HasAMistake(Sound):
    def fuse(self, features: Features, present: Tensor, case: Tensor | None = None) -> Fused:
        raise RuntimeError("no\nluck")


class IgnoresTheStudy(Sound):
    def __init__(self, options: MethodOptions):
        super().__init__(4, 4, options)


class Other(nn.Module):
    pass


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (MultipliesByPresence, "holds nan: leave such channels out"),
        (FusesWhatIsAvailable, "A batch of subsets equals one at a time .* subset 100 as one of several"),
        (TakesTheFirstCase, "of the case that `case` names"),
        (MixesInEncode, r"levels\[0\] of modality 0 changes with what else is available"),
        (MixesALittle, r"levels\[0\] of modality 0 changes with what else is available"),
        (HasAnIdleLayer, "no gradient reaches idle.weight"),
        (HidesAWeight, "logits differs after load_state_dict"),
        (HalvesTheSize, r"logits has shape \(3, 3, 8, 8, 4\), expected \[K, channels, \*space\]"),
        (SidesInTrainingAlone, "0 side outputs in evaluation, 1 in training"),
        (AddsWhatIsNotFinite, "image is nan, expected a finite scalar: leave absent channels out"),
        (LiesWhereTheFirstDoes, "go by the corners of each item alone"),
        (HasAMistake, "RuntimeError in fuse, .*test_contract_check.py.*: no luck"),
        (IgnoresTheStudy, "let its __init__ take and pass on"),
        (Other, "Other is no backbone: derive a class"),
    ],
)
def test_what_is_broken_is_named(broken: type, says: str) -> None:
    with pytest.raises(InputError, match=says):
        list(check_backbone(f"{__name__}:{broken.__name__}", crop=8))


class OnlySinglePrecision(Sound):
    def encode(self, volumes: Tensor, available: Tensor) -> Features:
        return super().encode(volumes.float(), available)


def test_a_network_of_single_precision_alone_is_compared_in_that() -> None:
    network = OnlySinglePrecision(2, 2, Sound.Options(name="sound")).double()
    with pytest.raises(RuntimeError):
        network.encode(torch.ones(1, 2, 8, 8, 8), torch.ones(1, 2).bool())
    lines = list(check_backbone(f"{__name__}:OnlySinglePrecision", crop=8))
    assert any("a batch of subsets equals one at a time" in line for line in lines)


def test_networks_without_slices_say_so() -> None:
    assert "for volumes only" in list(check_backbone(f"{__name__}:OnlyVolumes", crop=8))[-1]


class OnlyVolumes(Sound):
    def __init__(self, modalities: int, classes: int, options: MethodOptions):
        super().__init__(modalities, classes, options)
