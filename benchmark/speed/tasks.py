"""The measurements, one function each: plain numbers, to be taken in a process of their own.

    config = published("rfnet", "passion")
    step(config, BRATS2020, 4, setting)             # one training step with four modalities
    window(config, BRATS2020, setting)              # all subsets of one test window
    case(config, BRATS2020, setting)                # one whole case tested
    metrics(config, BRATS2020, CASE, setting)       # Dice and HD95 of that case alone

Inputs are noise: neither it nor untrained weights change what there is to compute. Metrics are of nested
blobs, since what an untrained network paints says nothing of real surfaces. A process of its own makes the
peak memory that of the task.
"""

import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

import passion
from backbones import cpu
from backbones.contract import Backbone
from backbones.recompute import Recomputed
from bench_edges import space_of
from benchmark.config.run_config import RunConfig
from benchmark.evaluation.device_scores import can_score, score_on_device
from benchmark.evaluation.metrics import Scoring, score_case
from benchmark.evaluation.sliding_window import predict
from benchmark.evaluation.surface_distances import nearest
from benchmark.training.build import build_backbone
from benchmark.training.device import prepare_device
from benchmark.training.memory import peak
from benchmark.training.precision import DTYPES, autocast
from benchmark.training.train import Training, moved, record_steps, train_step
from datasets.batches.loader import LoadedBatch, Loader
from datasets.vocabulary import Description, Subset, table_subsets

PASSES = 3
"""How often a step moves each block's input and output at least: forward, and in both gradients."""
COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes that are copied to measure the bandwidth of the memory: more than any cache holds."""
CASE = (150, 180, 150)
"""Voxels of a published case."""


@dataclass(frozen=True)
class Measurement:
    """How to measure: the device (cpu or cuda), CPU threads, counted repeats after a warm-up.

    `resident`: with recorded steps, and scores where the maps are.
    """

    device: str = "cpu"
    threads: int = 1
    repeats: int = 3
    resident: bool = False


def published(backbone: str, objective: str = "passion", precision: str = "fp32", **train: Any) -> RunConfig:
    """Return a run on BraTS2020 with crops of 80 voxels, as published; `train` are options of training."""
    return RunConfig.model_validate(
        {
            "dataset": "brats2020",
            "backbone": backbone,
            "objective": objective,
            "train": train,
            "precision": precision,
        }
    )


class TrainingStep:
    """The training steps of a run, each called with a batch.

    Attributes:
        stages: seconds of each stage, added up from `time_stages` on, for which every stage is waited for.
    """

    def __init__(
        self, config: RunConfig, description: Description, device: torch.device, resident: bool = False
    ):
        self.stages: dict[str, float] = defaultdict(float)
        self._device = device
        self.network = network = build_backbone(config, description).to(device).train()
        objective = passion.create(
            config.objective,
            len(description.modalities),
            len(description.classes),
            batch_size=config.train.batch_size,
            teacher=build_backbone(config, description).to(device) if config.teacher else None,
        )
        objective.left_out(network)
        objective.epoch = config.objective.warmup_epochs  # what most epochs compute
        self._training = Training(config, network, objective, cast(Loader, None), device)
        self._timed = False
        self._trained = Recomputed(network) if config.train.recompute else network
        if resident:
            record_steps(self._training, self._trained)

    def __call__(self, batch: LoadedBatch) -> None:
        """Do a step: forward pass, losses, backward pass, and the optimiser's, which is all the rest."""
        with self._stage("optimiser") if self._timed else nullcontext():
            train_step(self._training, self._trained, batch)

    def time_stages(self) -> None:
        """From now on compute steps anew, and time their stages."""
        self._training.captured, self._timed = None, True
        for name in ("encode", "unimodal", "fuse"):
            setattr(self.network, name, self._stage(name)(getattr(self.network, name)))
        for stage, name in (("losses", "loss"), ("backward", "backward")):
            objective: Any = self._training.objective
            setattr(objective, name, self._stage(stage)(getattr(objective, name)))

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Add the time of what is done to a stage, without that of the stages within it."""
        began, inner = now(self._device), sum(self.stages.values())
        yield
        self.stages[name] += now(self._device) - began - (sum(self.stages.values()) - inner)


def step(config: RunConfig, description: Description, count: int, setting: Measurement) -> dict[str, Any]:
    """Time a training step whose samples have `count` modalities.

    Returns `seconds` (median), `peak_bytes`, `stages` (seconds of encode, unimodal, fuse, losses, backward,
    optimiser), the step's GFLOPs by kind, and the `bytes` that its convolutions must move.
    """
    from torch.utils.flop_counter import FlopCounterMode

    device = begin(setting)
    run = TrainingStep(config, description, device, setting.resident)
    batch = moved(noise_batch(config, description, count), device)
    for _ in range(2 if setting.resident else 1):  # a kind of batch is recorded when it comes again
        run(batch)
    seconds, peak_bytes = repeat(partial(run, batch), setting, device, warm=False), peak(device)
    run.time_stages()
    for _ in range(setting.repeats):
        run(batch)
    stages = dict(run.stages)
    numbers = ConvolutionMaps(run.network)
    with cpu.plain(), FlopCounterMode(display=False) as counter:  # last: it keeps what a step would let go
        run(batch)
    flops = counter.get_flop_counts()["Global"]
    convolution = sum(n for op, n in flops.items() if "conv" in str(op))
    return {
        "seconds": seconds,
        "peak_bytes": peak_bytes,
        "stages": {name: total / setting.repeats for name, total in stages.items()},
        "gflops": {"convolution": convolution / 1e9, "matrix": (sum(flops.values()) - convolution) / 1e9},
        "bytes": PASSES * numbers.total * DTYPES[config.precision].itemsize,
    }


class ConvolutionMaps:
    """Counts the numbers that a network's convolutions read and make in its forward passes from now on.

    Attributes:
        total: of inputs and outputs; those that are computed again in a backward pass count again.
    """

    def __init__(self, network: torch.nn.Module):
        self.total = 0
        for module in network.modules():
            if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                module.register_forward_hook(self._count)

    def _count(self, module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.total += inputs[0].numel() + output.numel()


def window(config: RunConfig, description: Description, setting: Measurement) -> dict[str, Any]:
    """Time the prediction of one test window for all subsets: `seconds`, `peak_bytes`."""
    device = begin(setting)
    network = build_backbone(config, description).to(device)
    test = prediction(network, config, description, space_of(config.window, description.spatial_dims), device)
    return {"seconds": repeat(test, setting, device), "peak_bytes": peak(device)}


def case(config: RunConfig, description: Description, setting: Measurement) -> dict[str, Any]:
    """Time the test of one case of all subsets, metrics included: `seconds`, `peak_bytes`."""
    device = begin(setting)
    network = build_backbone(config, description).to(device)
    test = prediction(network, config, description, CASE, device)
    score = scoring(config, description, CASE, device, setting.resident)
    began = now(device)
    test()
    score()
    return {"seconds": now(device) - began, "peak_bytes": peak(device)}


def metrics(
    config: RunConfig, description: Description, space: Sequence[int], setting: Measurement
) -> dict[str, Any]:
    """Time the metrics of all subsets of one case [X, Y, Z] in every region: `seconds`, `peak_bytes`."""
    device = begin(setting)
    score = scoring(config, description, space, device, setting.resident)
    return {"seconds": repeat(score, setting, device), "peak_bytes": peak(device)}


def limits(precision: str, setting: Measurement) -> dict[str, float]:
    """Measure the best large convolution and matrix product here, in GFLOP/s, and a copy, in GB/s."""
    device, dtype = begin(setting), DTYPES[precision]
    edge = 2048 if device.type == "cpu" else 8192
    a = torch.randn(edge, edge, device=device, dtype=dtype)
    x = torch.randn(4, 64, 32, 32, 32, device=device, dtype=dtype)
    x = x.to(memory_format=torch.channels_last_3d)
    weight = torch.randn(64, 64, 3, 3, 3, device=device, dtype=dtype)
    source = torch.zeros(COPIED[device.type] // 4, device=device)
    target = torch.zeros_like(source)
    product = repeat(lambda: a @ a, setting, device)
    copy = repeat(lambda: target.copy_(source), setting, device)
    convolution = repeat(lambda: torch.nn.functional.conv3d(x, weight, padding=1), setting, device)
    return {
        "matrix": 2 * edge**3 / product / 1e9,
        "convolution": 2 * x.numel() * 27 * 64 / convolution / 1e9,
        "bandwidth": 2 * COPIED[device.type] / copy / 1e9,  # read and written
    }


def scoring(
    config: RunConfig,
    description: Description,
    space: Sequence[int],
    device: torch.device,
    resident: bool = False,
) -> Callable[[], object]:
    """Return what computes the test's metrics of a prediction for each subset of a case [X, Y, Z].

    `resident`: of predictions that are on the device, where it can be done there.
    """
    labels, maps = blobs(description, space)
    maps = maps[: len(_subsets(config, description))]
    chosen = Scoring.of(config.test.model_dump())
    if resident and can_score(chosen, description.spatial_dims):
        there = torch.from_numpy(np.stack([labels, *maps])).to(device)
        names = [str(i) for i in range(len(maps))]
        mm = (1.0, 1.0, 1.0)
        return partial(score_on_device, there[1:], names, there[0], description.regions, chosen, mm)
    chances = noise(len(description.classes), int((labels > 0).sum())).softmax(dim=0).numpy()
    return partial(
        score_case,
        {str(i): prediction for i, prediction in enumerate(maps)},
        labels,
        description.regions,
        chosen,
        (1.0, 1.0, 1.0),
        description.spatial_dims,
        {str(i): chances for i in range(len(maps))} if chosen.of_probabilities else None,
        None if device.type == "cpu" else partial(nearest, device=device),
    )


def blobs(description: Description, space: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return labels [X, Y, Z], nested blobs of all classes, and a prediction of them for each subset."""
    dims, classes = description.spatial_dims, range(1, len(description.classes))
    axes, edge = np.ogrid[tuple(slice(0, n) for n in space)][:dims], min(space[:dims])
    wobble = 1 + 0.15 * np.sin(20 * axes[0] / edge) * np.cos(15 * axes[1] / edge)
    distance = np.sqrt(sum((axis - 0.48 * n) ** 2 for axis, n in zip(axes, space, strict=False))) * wobble
    labels = np.zeros(space, dtype=np.uint8)
    for i, value in enumerate((*classes[1:], *classes[:1])):  # oedema around the core, in BraTS
        labels[np.broadcast_to(distance < 0.2 * edge * (1 - i / len(description.classes)), space)] = value
    count = len(table_subsets(description))
    return labels, [np.roll(labels, 1 + k % 5, axis=k % dims) for k in range(count)]


def _subsets(config: RunConfig, description: Description) -> Sequence[Subset]:
    """What the run is tested on: every subset, or the one that its network is dedicated to."""
    only = config.subset(description.modalities)
    return [only] if only else table_subsets(description)


def begin(setting: Measurement) -> torch.device:
    """Set the process up as a run does; return the device."""
    device = prepare_device(setting.device, setting.threads)
    torch.manual_seed(0)
    if setting.device == "cuda":
        gc.collect()  # what the task before it has left in cycles
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return device


def noise(*shape: int) -> Tensor:
    """Return normal noise, the same at each call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def noise_batch(config: RunConfig, description: Description, count: int) -> LoadedBatch:
    """Return a batch of the run's size whose samples have the first `count` modalities."""
    size, space = config.train.batch_size, space_of(config.train.crop, description.spatial_dims)
    present = (torch.arange(len(description.modalities)) < count).expand(size, -1)
    coarse = torch.randint(
        0, len(description.classes), (size, 1, 5, 5, 5), generator=torch.Generator().manual_seed(2)
    )
    target = torch.nn.functional.interpolate(coarse.float(), size=space).long()[:, 0]
    names = [f"case {i}" for i in range(size)]
    return LoadedBatch(noise(size, len(description.modalities), *space), present, present, target, names)


def prediction(
    network: Backbone, config: RunConfig, description: Description, space: Sequence[int], device: torch.device
) -> Callable[[], object]:
    """Return what segments a volume [X, Y, Z] for every subset."""
    volumes = noise(len(description.modalities), *space)
    poor, flips = volumes if config.test.outside else None, config.test.flips
    subsets, modalities = _subsets(config, description), description.modalities

    def predict_all() -> object:
        with autocast(config.precision, device):
            return predict(network, volumes, subsets, modalities, config.window, device, poor, flips)

    return predict_all


def repeat(
    function: Callable[[], object], setting: Measurement, device: torch.device, warm: bool = True
) -> float:
    """Median seconds of the counted calls."""
    if warm:
        function()
    times = []
    for _ in range(setting.repeats):
        began = now(device)
        function()
        times.append(now(device) - began)
    return statistics.median(times)


def now(device: torch.device) -> float:
    """Seconds on a clock of its own, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
