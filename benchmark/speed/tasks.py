"""The measurements, one function each: a dictionary of plain numbers, to be run in a process of its own.

    step("rfnet", "passion", "1111", setting)       # one training step
    window("rfnet", setting)                        # all subsets of one window
    case("rfnet", setting)                          # one whole case tested
    checkpoint("rfnet", setting)                    # writing a checkpoint
    metrics(setting)                                # Dice and HD95 of that case alone
    sample(setting)                                 # waiting for training samples

Inputs are synthetic and of the published size: crops and windows of 80 voxels, four modalities, four classes,
width 8; a case of 150x180x150. A process of its own makes the peak memory that of the task.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

import backbones
import passion
from backbones import cpu
from backbones.contract import Backbone
from backbones.recompute import Recomputed
from benchmark.evaluation.metrics import POLICIES, Scoring, score_case
from benchmark.evaluation.sliding_window import predict
from benchmark.evaluation.surface_distances import nearest
from benchmark.run_folder.checkpoint import FILES, save_checkpoint
from benchmark.run_folder.folder import RunFolder
from benchmark.training.memory import peak
from benchmark.training.precision import autocast
from benchmark.training.train import fill_gradients
from datasets.batches.loader import Batch, Loader
from datasets.missingness.availability import availability
from datasets.phantom.study import write_study
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import subset_name, table_subsets

CROP = 80
CASE = (150, 180, 150)
STUDY = (240, 240, 155)
CLASSES = len(BRATS2020.classes)
MODALITIES = BRATS2020.modalities


@dataclass(frozen=True)
class Setting:
    """How to measure: the device (cpu or cuda), CPU threads, precision, counted repeats after a warm-up.

    `recompute`: as `train.recompute` in a grid.
    """

    device: str = "cpu"
    threads: int = 1
    precision: str = "fp32"
    repeats: int = 3
    width: int = 8
    recompute: bool = False


def step(backbone: str, objective: str, present: str, setting: Setting) -> dict[str, Any]:
    """Time one training step (forward, backward, optimiser) of a batch of one case.

    `present`: a digit per modality, ``"1010"``. Returns `seconds` (median), `peak_bytes`, `stages` (seconds
    of encode, unimodal, fuse, losses, backward, optimiser) and the step's GFLOPs by kind.
    """
    from torch.utils.flop_counter import FlopCounterMode

    device = begin(setting)
    network = _network(backbone, setting).train()
    goal = passion.create(objective, modalities=len(MODALITIES), classes=CLASSES)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=2e-4, weight_decay=1e-4, amsgrad=True, fused=device.type == "cuda"
    )
    weights = [p for p in network.parameters() if p.requires_grad]
    batch = batch_of(present).to(device)
    stages: dict[str, float] = {}
    for name in ("encode", "unimodal", "fuse"):
        setattr(network, name, _timed(getattr(network, name), name, stages, device))

    trained = Recomputed(network) if setting.recompute else network

    def one() -> None:
        began = now(device)
        inner = sum(stages.values())
        with autocast(setting.precision, device):
            losses = goal.loss(trained, batch)
        forward = now(device)
        stages["losses"] = stages.get("losses", 0.0) + forward - began - (sum(stages.values()) - inner)
        optimiser.zero_grad(set_to_none=True)
        inner = sum(stages.values())
        goal.backward(losses, weights)
        backward = now(device)
        again = sum(stages.values()) - inner  # recomputed stages count as themselves
        fill_gradients(optimiser)
        optimiser.step()
        stages["backward"] = stages.get("backward", 0.0) + backward - forward - again
        stages["optimiser"] = stages.get("optimiser", 0.0) + now(device) - backward

    one()
    stages.clear()
    seconds = repeat(one, setting, device, warm=False)
    taken, peak_bytes = dict(stages), peak(device)
    with (
        cpu.plain(),
        FlopCounterMode(display=False) as counter,
    ):  # last, for it keeps what a step would let go
        one()
    flops = counter.get_flop_counts()["Global"]
    convolution = sum(n for op, n in flops.items() if "conv" in str(op))
    return {
        "seconds": seconds,
        "peak_bytes": peak_bytes,
        "stages": {name: total / setting.repeats for name, total in taken.items()},
        "gflops": {
            "convolution": convolution / 1e9,
            "matrix": (sum(flops.values()) - convolution) / 1e9,
        },
    }


def window(backbone: str, setting: Setting) -> dict[str, Any]:
    """Time the prediction of one window for all 15 subsets: `seconds`, `peak_bytes`."""
    device = begin(setting)
    network = _network(backbone, setting)
    volumes = volumes_of((CROP,) * 3)
    subsets = table_subsets(BRATS2020)

    def one() -> None:
        with autocast(setting.precision, device):
            predict(network, volumes, subsets, MODALITIES, CROP, device)

    return {"seconds": repeat(one, setting, device), "peak_bytes": peak(device)}


def case(backbone: str, setting: Setting) -> dict[str, Any]:
    """Time the test of one case, 15 subsets, Dice and HD95 of 4 regions: `seconds`, `peak_bytes`."""
    device = begin(setting)
    network = _network(backbone, setting)
    volumes, (labels, maps) = volumes_of(CASE), tumours()
    subsets = table_subsets(BRATS2020)
    began = now(device)
    with autocast(setting.precision, device):
        predict(network, volumes, subsets, MODALITIES, CROP, device)
    predicted = now(device)
    # What an untrained network paints says nothing of real surfaces, so the metrics get tumours.
    _score(labels, maps, device)
    return {"seconds": now(device) - began, "network": predicted - began, "peak_bytes": peak(device)}


def checkpoint(backbone: str, setting: Setting) -> dict[str, Any]:
    """Time the writing of a checkpoint into the folder for temporary files: `seconds`, `bytes`."""
    device = begin(setting)
    network = _network(backbone, setting)
    optimiser = torch.optim.AdamW(network.parameters(), amsgrad=True)
    fill_gradients(optimiser)
    optimiser.step()
    with TemporaryDirectory() as path:
        folder = RunFolder(Path(path))
        content = {"weights": network.state_dict(), "optimiser": optimiser.state_dict()}
        seconds = repeat(lambda: save_checkpoint(folder, content), setting, device)
        return {"seconds": seconds, "bytes": (folder.path / FILES[0]).stat().st_size}


def metrics(setting: Setting) -> dict[str, Any]:
    """Time Dice and HD95 of 15 predictions of one case in 4 regions: `seconds`."""
    device = begin(setting)
    labels, maps = tumours()
    return {
        "seconds": repeat(lambda: _score(labels, maps, device), setting, device),
        "peak_bytes": peak(device),
    }


def sample(setting: Setting) -> dict[str, Any]:
    """Time training samples of a phantom study of the real size.

    Returns `seconds` to make one (read, crop, augment) and `wait`, what a loop waits for one whose steps
    take as long as ten samples.
    """
    begin(setting)
    with TemporaryDirectory() as folder:
        names = write_study(Path(folder) / "study", 2, STUDY, 0, "brats")
        store = prepare(Path(folder) / "study", BRATS2020, Path(folder) / "store")
        table = availability("complete", names, BRATS2020)
        loader = Loader(store, names, table, crop=CROP)
        count = 5 * setting.repeats
        began = time.perf_counter()
        for epoch in range(count):
            list(loader.batches(epoch))
        seconds = (time.perf_counter() - began) / (count * len(names))
        waited = 0.0
        for epoch in range(setting.repeats):
            for _ in loader.batches(epoch):
                time.sleep(10 * seconds)
            waited += loader.wait
    return {"seconds": seconds, "wait": waited / (setting.repeats * len(names))}


def limits(setting: Setting) -> dict[str, float]:
    """Measure the best large convolution and matrix product here, in GFLOP/s at the setting's precision."""
    from benchmark.training.precision import DTYPES

    device, dtype = begin(setting), DTYPES[setting.precision]
    edge = 2048 if device.type == "cpu" else 8192
    a = torch.randn(edge, edge, device=device, dtype=dtype)
    x = torch.randn(4, 64, 32, 32, 32, device=device, dtype=dtype)
    x = x.to(memory_format=torch.channels_last_3d)
    weight = torch.randn(64, 64, 3, 3, 3, device=device, dtype=dtype)
    product = repeat(lambda: a @ a, setting, device)
    convolution = repeat(lambda: torch.nn.functional.conv3d(x, weight, padding=1), setting, device)
    return {
        "matrix": 2 * edge**3 / product / 1e9,
        "convolution": 2 * x.numel() * 27 * 64 / convolution / 1e9,
    }


def tumours() -> tuple[np.ndarray, list[np.ndarray]]:
    """Return labels of a nested tumour [150, 180, 150] and 15 predictions of it, blobs of other sizes."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in CASE), indexing="ij"), axis=-1)

    def blob(centre: tuple[int, int, int], radius: float) -> np.ndarray:
        distance = np.linalg.norm((places - centre) / (1.0, 1.2, 0.8), axis=-1)
        wobble = 1 + 0.15 * np.sin(places[..., 0] / 3) * np.cos(places[..., 1] / 4)
        labels = np.zeros(CASE, dtype=np.uint8)
        for value, share in ((2, 1.0), (3, 0.6), (1, 0.35)):
            labels[distance * wobble < share * radius] = value
        return labels

    maps = [blob((70 + k, 90 - k, 75 + k % 3), 26.0 + k) for k in range(len(table_subsets(BRATS2020)))]
    return blob((72, 88, 75), 30.0), maps


def _score(labels: np.ndarray, maps: list[np.ndarray], device: torch.device) -> None:
    names = [subset_name(s, MODALITIES) for s in table_subsets(BRATS2020)]
    named = dict(zip(names, maps, strict=True))
    finder = None if device.type == "cpu" else partial(nearest, device=device)
    scoring = Scoring(POLICIES["passion"])
    score_case(named, labels, BRATS2020.regions, scoring, (1.0, 1.0, 1.0), nearest=finder)


def begin(setting: Setting) -> torch.device:
    """Set the process up as a run does; return the device."""
    torch.set_num_threads(setting.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    if setting.device == "cuda":
        gc.collect()  # what the task before it has left in cycles
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return torch.device(setting.device)


def _network(name: str, setting: Setting) -> Backbone:
    sizes = {"modalities": len(MODALITIES), "classes": CLASSES, "crop": CROP, "width": setting.width}
    return backbones.create(name, **sizes).to(setting.device)


def volumes_of(space: tuple[int, ...]) -> Tensor:
    """Return noise [M, *space], the same at each call."""
    return torch.randn(len(MODALITIES), *space, generator=torch.Generator().manual_seed(1))


def batch_of(present: str) -> Batch:
    """Return a batch of one synthetic case with those modalities."""
    there = torch.tensor([[digit == "1" for digit in present]])
    coarse = torch.randint(0, CLASSES, (1, 1, 5, 5, 5), generator=torch.Generator().manual_seed(2))
    target = torch.nn.functional.interpolate(coarse.float(), size=(CROP,) * 3).long()[:, 0]
    return Batch(volumes_of((CROP,) * 3)[None], there, there, target, ["case"])


def _timed(
    function: Callable[..., Any], name: str, stages: dict[str, float], device: torch.device
) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        began = now(device)
        result = function(*arguments, **options)
        stages[name] = stages.get(name, 0.0) + now(device) - began
        return result

    return timed


def repeat(
    function: Callable[[], object], setting: Setting, device: torch.device, warm: bool = True
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
