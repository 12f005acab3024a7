"""What the golden figures were computed with, rebuilt: ``released_state("rfnet")``, ``golden_input()``."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"


def released_state(name: str) -> dict[str, Tensor]:
    """Return the golden weights of backbone `name`, float32, under the released names."""
    shapes = json.loads((GOLDEN / f"shapes_{name}.json").read_text())
    return {key: torch.from_numpy(_draw(key, shape)) for key, shape in shapes.items()}


def _draw(name: str, shape: list[int]) -> np.ndarray:
    seed = zlib.crc32(f"shared:{name}".encode())
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    if len(shape) > 1:
        if not name.endswith("pos") and name != "fusion":
            values *= np.sqrt(2 / np.prod(shape[1:]))
    else:
        values = 1 + 0.1 * values if name.endswith(".weight") else 0.1 * values
    return values.astype(np.float32)


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
