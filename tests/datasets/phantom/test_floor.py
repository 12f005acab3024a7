"""What a voxel tells of its class is bounded: the floor on patients of the second edition."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import backbones
from datasets.phantom.patient import CONTRASTS, patient
from datasets.studies.brats import PHANTOM2

SHAPE = (76, 92, 76)
BOUNDS = {"WT": 60, "TC": 60, "ET": 65}
"""Dice in % that the classifier reaches at most with all contrasts."""


def prepared(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """z-scored volumes [1, M, *space] and classes [1, *space] of a patient."""
    volumes, labels = patient(SHAPE, 1, f"Phantom2_{number:03d}")
    head = volumes["flair"] > 0
    stacked = np.stack([
        (volumes[contrast] - volumes[contrast][head].mean()) / volumes[contrast][head].std()
        for contrast in CONTRASTS
    ])  # fmt: skip
    classes = np.vectorize(PHANTOM2.file_labels.__getitem__)(labels)
    return torch.tensor(stacked[None], dtype=torch.float32), torch.tensor(classes[None])


@pytest.mark.long
def test_the_floor_stays_below_its_bounds_and_above_nothing():
    everything = torch.ones(1, len(CONTRASTS), dtype=torch.bool)
    net = backbones.create("gaussian", modalities=len(CONTRASTS), classes=4).train()
    for number in range(1, 15):
        volumes, target = prepared(number)
        features = net.encode(volumes, everything)
        net.auxiliary(features, net.fuse(features, everything), SimpleNamespace(target=target))
    net.eval()
    scores: dict[str, list[float]] = {name: [] for name in BOUNDS}
    for number in range(15, 23):
        volumes, target = prepared(number)
        found = net(volumes, everything).argmax(dim=1)
        for region in PHANTOM2.regions[:3]:
            a, b = (torch.isin(labels, torch.tensor(region.classes)) for labels in (found, target))
            if b.any():
                scores[region.name].append(200 * float((a & b).sum() / (a.sum() + b.sum())))
    for name, bound in BOUNDS.items():
        assert 10 < np.mean(scores[name]) < bound, name
