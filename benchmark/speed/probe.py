"""What a run's steps and the test of a case cost: one function each, to be run in a process of its own.

    time_steps(config, description, (150, 180, 150), {4: 5, 1: 5}, "cuda", 8, time.time())
    time_case(config, description, (150, 180, 150), "cuda", 8)

The steps are those of `training.train`, the test is that of `evaluation.sliding_window`, on noise of the
study's size and an untrained network: neither changes what there is to compute.
"""

import time
from dataclasses import replace
from itertools import islice
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmark.config.run_config import RunConfig
from benchmark.evaluation.metrics import Scoring
from benchmark.evaluation.sliding_window import count_windows, score_maps, segment_case
from benchmark.speed.tasks import Setting, begin, now
from benchmark.training.build import build_backbone, build_objective
from benchmark.training.memory import peak
from benchmark.training.network_size import model_size
from benchmark.training.precision import autocast, check_precision
from benchmark.training.train import Progress, Training, steps
from datasets.batches.loader import Loader
from datasets.missingness.availability import Availability
from datasets.missingness.degrade import Degradation
from datasets.preparation.expected import NOISE, noise_store
from datasets.store.store import Store
from datasets.vocabulary import Description

RATE = 1e-6
"""Learning rate of timed steps: noise teaches nothing, and the loss must stay finite."""


def time_steps(
    config: RunConfig,
    description: Description,
    shape: tuple[int, ...],
    counts: dict[int, int],
    device_name: str,
    threads: int,
    asked: float,
) -> dict[str, Any]:
    """Time training steps, after the warm-up epochs, on samples that have so many modalities.

    Args:
        config: the run.
        description: of its study.
        shape: of a training case, [X, Y, Z] in voxels.
        counts: number of modalities -> how many steps to time, after one that is not counted.
        device_name: `cpu` or `cuda`.
        threads: of the CPU.
        asked: when this process was asked for, as `time.time()`.

    Returns `seconds`, number of modalities -> those of each step; `peak_bytes`; and `start`, the seconds from
    `asked` to the first step.
    """
    train = config.train.model_copy(update={"lr": RATE})
    config = config.model_copy(update={"train": train})
    device = begin(Setting(device_name, threads))
    check_precision(config.precision, device)
    with TemporaryDirectory() as folder:
        making = time.time()
        store = noise_store(description, shape, Path(folder))
        asked += time.time() - making
        backbone = build_backbone(config, description).to(device)
        teacher = build_backbone(config, description).to(device) if config.teacher else None
        whole = _loader(config, store, len(description.modalities), 1)
        objective = build_objective(config, description, whole, teacher)
        objective.left_out(backbone)
        objective.epoch = epoch = config.objective.warmup_epochs
        training = Training(config, backbone, objective, whole, device)
        training.epoch = epoch
        model_size(backbone, config.train.crop)
        start = time.time() - asked
        seconds: dict[int, list[float]] = {}
        for count in sorted(counts, reverse=True):
            training.loader = _loader(config, store, count, counts[count] + 1)
            training.progress = Progress()
            going = steps(training)
            ends = [now(device) for _ in islice(going, counts[count] + 1)]
            going.close()
            seconds[count] = np.diff(ends).tolist()
    return {"seconds": seconds, "peak_bytes": peak(device), "start": start}


def time_case(
    config: RunConfig, description: Description, shape: tuple[int, ...], device_name: str, threads: int
) -> dict[str, Any]:
    """Time the test of one case of that shape [X, Y, Z], with every modality.

    Returns `segment` and `score`, in seconds (the network's part and the metrics'), the number of `windows`,
    of `voxels`, and `peak_bytes`. The scored maps are the labels moved by some voxels: what an untrained
    network paints says nothing of real surfaces.
    """
    device = begin(Setting(device_name, threads))
    check_precision(config.precision, device)
    outside = Degradation.parse(config.test.outside) if config.test.outside else None
    scoring = Scoring.of(config.test.model_dump())
    with TemporaryDirectory() as folder, autocast(config.precision, device):
        store = noise_store(description, shape, Path(folder))
        backbone = build_backbone(config, description).to(device)
        model_size(backbone, config.train.crop)  # the first pass on a GPU takes longer
        began = now(device)
        segmented = segment_case(
            backbone,
            store,
            NOISE,
            window=config.window,
            device=device,
            outside=outside,
            probabilities=scoring.of_probabilities,
        )
        done = now(device)
        labels = np.asarray(store.labels(NOISE))
        moved = {subset: np.roll(labels, i + 1, axis=0) for i, subset in enumerate(segmented.maps)}
        score_maps(store, NOISE, replace(segmented, maps=moved), scoring, device)
        scored = now(device)
    return {
        "segment": done - began,
        "score": scored - done,
        "windows": count_windows(shape, config.window, description.spatial_dims),
        "voxels": prod(shape),
        "peak_bytes": peak(device),
    }


def _loader(config: RunConfig, store: Store, count: int, batches: int) -> Loader:
    """Load so many batches of samples that have `count` modalities, by the run's options."""
    has = np.arange(len(store.description.modalities)) < count
    table = Availability(NOISE, store.description.modalities, (NOISE,), has[None], None)
    samples = 1 if store.description.spatial_dims == 3 else store.record(NOISE).shape[-1]
    return Loader(
        store,
        [NOISE] * -(-batches * config.train.batch_size // samples),
        table,
        crop=config.train.crop,
        policy="pdt" if config.objective.policy == "pdt" else "idt",
        batch_size=config.train.batch_size,
        seed=config.seed,
        augment=config.train.augment,
        label_share=config.train.label_share,
    )
