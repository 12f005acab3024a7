"""What the golden figures were computed with, rebuilt: weights, input, draws of dropout.

    net.load_state_dict(from_released("mmformer", released_state("mmformer")))
    volumes, target = golden_input()
    with golden_dropout(net, "1010"):                  # a training step of a case with FLAIR and T1
        losses = objective.loss(net.train(), batch)

Each mask of dropout follows from a key: the layer, which of its dropouts, and whose tokens they are (see
`golden_dropout`). So the released code, which draws path by path and modality by modality, and a network that
computes rows together drop out the same.

Networks without published weights are compared at a small size, with weights drawn for our own names:

    net.load_state_dict(drawn_state(net))
    figures = golden_figures("small/imfuse")
    with counted_dropout():                            # a single row: masks in the order of their draws
        fused = net.train().fuse(features, present)
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"
RATE = 0.1
"""Of every dropout of the released networks."""


def released_state(name: str) -> dict[str, Tensor]:
    """Return the golden weights of backbone `name`, float32, under the released names."""
    shapes = json.loads((GOLDEN / f"shapes_{name}.json").read_text())
    return {key: torch.from_numpy(_draw(key, shape)) for key, shape in shapes.items()}


def _draw(name: str, shape: list[int]) -> np.ndarray:
    seed = zlib.crc32(f"shared:{name}".encode())
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    if len(shape) > 1:
        if not name.endswith(("pos", "position", "learnt")) and name != "fusion":
            values *= np.sqrt(2 / np.prod(shape[1:]))
    else:
        values = 1 + 0.1 * values if name.endswith(".weight") else 0.1 * values
    return values.astype(np.float32)


def drawn_state(net: nn.Module) -> dict[str, Tensor]:
    """Return weights of `net` that depend on names and shapes alone, float32."""
    return {name: torch.from_numpy(_draw(name, list(t.shape))) for name, t in net.state_dict().items()}


def every_subset(modalities: int) -> Tensor:
    """Return all subsets but the empty one, bool [2^M - 1, M]; row 0 has the first modality alone."""
    codes = torch.arange(1, 2**modalities)
    return (codes[:, None] >> torch.arange(modalities) & 1).bool()


def golden_input() -> tuple[Tensor, Tensor]:
    """Return the golden volumes, float32 [1, 4, 80, 80, 80], and target, int64 [1, 80, 80, 80]."""
    generator = np.random.Generator(np.random.PCG64(101))
    low = torch.from_numpy(generator.standard_normal((1, 4, 10, 10, 10)).astype(np.float32))
    noise = generator.standard_normal((1, 4, 80, 80, 80)).astype(np.float32)
    volumes = F.interpolate(low, size=(80, 80, 80), mode="trilinear", align_corners=True)
    target = generator.integers(0, 4, (5, 5, 5))
    for axis in range(3):
        target = target.repeat(16, axis)
    return volumes + 0.3 * torch.from_numpy(noise), torch.from_numpy(target)[None]


def golden_figures(name: str) -> dict[str, np.ndarray]:
    """Return the reference figures of backbone `name`: masks, probabilities and losses."""
    with np.load(GOLDEN / f"{name}.npz") as figures:
        return dict(figures)


def golden_training(name: str) -> dict[str, dict[str, list[float]]]:
    """Return the reference losses of backbone `name` in training mode: of each subset, by term."""
    figures: dict[str, dict[str, list[float]]]
    figures = json.loads((GOLDEN / f"training_{name}.json").read_text())
    return figures


def dropout_mask(key: str, shape: tuple[int, ...]) -> Tensor:
    """Return what dropout multiplies values of `shape` with: 0, or 1 / (1 - rate) where they are kept."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(f"dropout:{key}".encode())))
    return torch.from_numpy((random.random(shape) >= RATE) / (1 - RATE))


@contextmanager
def golden_dropout(net: nn.Module, subset: str) -> Iterator[None]:
    """Let an mmFormer or M2FTrans drop out what the released one did in a step on one case of `subset`.

    A mask's key is ``LAYER.USE:PATH``, or ``LAYER.USE:PATH:SET`` where M2FTrans runs the tokens of a modality
    (its index) or the fusion tokens (``f``). LAYER is the name of our module; USE counts its dropouts in
    their order (a transformer layer has five: attention, twice what was found, twice the perceptron). PATH is
    ``t`` for the teacher, the modality's index for a student, and empty where tokens serve all paths.
    """
    taught = [m for m, bit in enumerate(subset) if bit == "1"]
    rows = {"t": taught} | {str(m): [m] for m in taught}
    stages = {
        "encoders": [[""]],
        "intermodal": [list(rows)],
        "crosses": [list(rows)],
        "transformer": [
            [f"{path}:{m}" for path, modalities in rows.items() for m in modalities],
            [f"{path}:f" for path in rows],
        ],
    }
    names = {part: name for name, part in net.named_modules() if isinstance(part, nn.Dropout)}
    calls: Counter[str] = Counter()

    def drop(part: nn.Dropout, x: Tensor) -> Tensor:
        layer, _, place = names[part].partition(".perceptron.")
        layer, _, _ = layer.partition(".dropout")
        uses = 3 if layer.split(".")[0] != "crosses" and not place else 1
        stage, use = divmod(calls[names[part]], uses)
        calls[names[part]] += 1
        use = {"": use, "3": 3, "5": 4}[place]
        keys = [f"{layer}.{use}:{label}" for label in stages[layer.split(".")[0]][stage]]
        assert len(keys) == len(x)
        return x * torch.stack([dropout_mask(key, tuple(x.shape[1:])) for key in keys]).to(x)

    with patch.object(nn.Dropout, "forward", drop):
        yield


@contextmanager
def counted_dropout() -> Iterator[None]:
    """Let dropout in training draw the masks of one row that belong to 0, 1, 2, ..., call by call."""
    calls = count()

    def drop(part: nn.Dropout, x: Tensor) -> Tensor:
        return x * dropout_mask(str(next(calls)), tuple(x.shape[1:])).to(x) if part.training else x

    with patch.object(nn.Dropout, "forward", drop):
        yield
