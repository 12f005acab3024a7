"""What ideal context makes of the phantom: the floor on intensities averaged within each voxel's own class.

    .venv/bin/python results/phantom2/ideal_context.py runs/floor/data/phantom2

Each intensity is replaced by the Gaussian mean, of a deviation of 4 mm, over the neighbours of the same true
class: a network that averaged without mistaking where a class ends would see no better. The classifier, the
split and the rule for empty regions are those of the grid floor.yaml. Prints the table of README.md.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import backbones
from datasets.batches.split import split
from datasets.store.store import Store
from datasets.vocabulary import subset_name

SIGMA_MM, VOXEL_MM, SEED = 4.0, 2.0, 1037


def averaged(volumes: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.floating]:
    """Return volumes [M, *space] averaged within the classes [*space]; air stays as it is."""
    air = (volumes == volumes.min(axis=(1, 2, 3), keepdims=True)).all(axis=0)
    means = volumes.copy()
    for label in np.unique(labels):
        inside = ((labels == label) & ~air).astype(np.float32)
        weight = gaussian_filter(inside, SIGMA_MM / VOXEL_MM, truncate=2.5)
        for m, volume in enumerate(volumes):
            total = gaussian_filter(volume * inside, SIGMA_MM / VOXEL_MM, truncate=2.5)
            np.divide(total, weight, out=means[m], where=inside > 0)
    return means


def main() -> None:
    """Fit on the training cases and print the mean Dice of the test cases."""
    if len(sys.argv) != 2:
        sys.exit("expected the store of a phantom2 study: ideal_context.py runs/floor/data/phantom2")
    store = Store.open(Path(sys.argv[1]))
    names = store.description.modalities
    parts = split(store.cases, store.description, "auto", SEED)
    everything = torch.ones(1, len(names), dtype=torch.bool)
    net = backbones.create("gaussian", modalities=len(names), classes=len(store.description.classes)).train()

    def case_of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        labels = np.asarray(store.labels(name)[:])
        means = averaged(np.asarray(store.volumes(name)[:]), labels)
        return torch.tensor(means[None]), torch.tensor(labels[None].astype(np.int64))

    for name in parts.train:
        volumes, target = case_of(name)
        features = net.encode(volumes, everything)
        net.auxiliary(features, net.fuse(features, everything), SimpleNamespace(target=target))
    net.eval()
    chosen = [(name,) for name in names] + [names]
    regions = store.description.regions[:3]
    scores: dict[tuple[str, ...], list[list[float]]] = {subset: [] for subset in chosen}
    for name in parts.test:
        volumes, target = case_of(name)
        for subset in chosen:
            with torch.no_grad():
                found = net(volumes, torch.tensor([[m in subset for m in names]])).argmax(dim=1)
            row = []
            for region in regions:
                a, b = (torch.isin(labels, torch.tensor(region.classes)) for labels in (found, target))
                both = int(a.sum() + b.sum())
                row.append(200 * int((a & b).sum()) / both if both else 100.0)
            scores[subset].append(row)
    print(
        f"| contrasts | {' | '.join(region.name for region in regions)} |\n| --- |{' ---: |' * len(regions)}"
    )
    for subset, rows in scores.items():
        values = " | ".join(f"{value:.1f}" for value in np.mean(rows, axis=0))
        print(f"| {subset_name(subset, names)} | {values} |")
    print(f"{len(parts.train)} training and {len(parts.test)} test cases, data hash {store.hash}")


if __name__ == "__main__":
    main()
