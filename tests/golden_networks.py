"""Small networks with weights, input and draws that can be rebuilt, for golden figures of published code.

    net = tiny_network("robustseg", crop=16, width=2)
    volumes = tiny_input(16)
    with golden_draws():                               # dropout and latents of a training step
        features = net.train().encode(volumes, available)

The figures in ``tests/golden/small/<name>.json`` were computed outside the project, with the published code
run on the same weights (its parameters set from ours), input and draws: probabilities of all subsets at some
voxels in evaluation mode, and in training mode those of the subsets of SHOWN and each loss.
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from released import GOLDEN, drawn_state
from torch import Tensor

import backbones
from backbones import noise
from backbones.contract import Backbone

SUBSETS = [f"{code:04b}" for code in range(1, 16)]
SHOWN = ["1111", "1010", "0001"]


def tiny_network(name: str, crop: int, **options: Any) -> Backbone:
    """Build a network of 4 modalities and 4 classes; its weights follow from their names."""
    net = backbones.create(name, 4, 4, crop, **options)
    net.load_state_dict(drawn_state(net))
    return net


def tiny_input(size: int) -> Tensor:
    """Return volumes, float32 [1, 4, size, size, size]."""
    random = np.random.Generator(np.random.PCG64(102))
    low = torch.from_numpy(random.standard_normal((1, 4, size // 4, size // 4, size // 4)))
    grain = torch.from_numpy(random.standard_normal((1, 4, size, size, size)))
    return (F.interpolate(low, scale_factor=4.0, mode="trilinear") + 0.3 * grain).float()


def golden_draw(row: str, label: str, shape: tuple[int, ...], normal: bool) -> np.ndarray:
    """Return what a row of a network draws for `label`."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(f"{row}\n{label}".encode())))
    return random.standard_normal(shape) if normal else random.random(shape)


@contextmanager
def golden_draws() -> Iterator[None]:
    """Draw as `golden_draw` does, for a batch of one case."""

    def draw(function: Any, like: Tensor, label: str) -> Tensor:
        assert noise._rows is not None
        shape, normal = tuple(like.shape[1:]), function is torch.randn
        return torch.stack(
            [torch.from_numpy(golden_draw(row, label, shape, normal)) for row in noise._rows]
        ).to(like)

    with noise.step("golden", ["case"]), patch.object(noise, "_draw", draw):
        yield


def worst_difference(net: Backbone, name: str, volumes: Tensor) -> dict[str, float]:
    """Compare with the published network: worst absolute difference of probabilities, relative of losses."""
    figures = json.loads((GOLDEN / "small" / f"{name}.json").read_text())
    worst: dict[str, float] = {}

    def note(what: str, values: Tensor, expected: Any, relative: bool) -> None:
        reference = torch.tensor(expected, dtype=torch.float64)
        difference = (values.double() - reference).abs() / (reference.abs() if relative else 1)
        worst[what] = max(worst.get(what, 0.0), difference.max().item())

    evaluated, _ = outcome(net.eval(), volumes, list(figures))
    note("probabilities", evaluated, [outputs["evaluation"] for outputs in figures.values()], False)
    for subset in SHOWN:
        with golden_draws():
            trained, losses = outcome(net.train(), volumes, [subset])
        note("probabilities in training", trained[0], figures[subset]["training"], False)
        assert set(losses) == set(figures[subset]["losses"])
        for loss, value in losses.items():
            note(loss, value, figures[subset]["losses"][loss], True)
    return worst


def outcome(net: Backbone, volumes: Tensor, subsets: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return probabilities of each subset at some voxels, and, of a lone one, the network's losses."""
    everything = torch.ones(1, 4, dtype=torch.bool)
    present = torch.tensor([[bit == "1" for bit in subset] for subset in subsets])
    with torch.no_grad():
        features = net.encode(volumes, everything)
        fused = net.fuse(features, present, torch.zeros(len(subsets), dtype=torch.int64))
        batch = SimpleNamespace(volumes=volumes, available=everything, present=present)
        losses = net.auxiliary(features, fused, batch) if len(subsets) == 1 else {}
    step = volumes.shape[-1] // 3
    some = fused.logits.softmax(dim=1)[..., 1::step, 2::step, 3::step]
    return some, {name: term.loss for name, term in losses.items()}
