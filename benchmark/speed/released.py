"""Our figures as ratios to a clone of the released PASSION code, each pair measured in turn on one machine.

    python -m benchmark.speed.released CLONE --out ratios.json      # CLONE: github.com/Jun-Jie-Shi/PASSION
    python -m benchmark.speed.released CLONE --out ratios.json --ours fp32 bf16 bf16+recompute

Theirs is measured in fp32, once for all that it is compared with. The clone is imported and run as it is; on
a CPU its `.cuda()` calls do nothing. Both get the memory allocator's settings that `bench run` gives its
workers, unless the user sets others. Needs `medpy` for its HD95 (`pip install medpy`).
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.nn.functional import one_hot

from bench_console import output
from bench_edges import space_of
from bench_errors import InputError
from benchmark.evaluation.sliding_window import count_windows
from benchmark.launch.worker_command import MALLOC
from benchmark.speed import tasks
from benchmark.speed.bench import PROFILE, alone, mean_seconds, profile_counts
from benchmark.speed.tasks import Measurement
from benchmark.training.device import device_text
from benchmark.training.memory import peak
from benchmark.training.precision import check_precision
from benchmark.training.provenance import environment
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import presence, table_subsets

OURS = tasks.published("rfnet")
"""Ours where the network does not matter: its crop, window and metrics."""
THEIR_COUNTS = (4, 2, 1)
"""Modalities of its timed steps: it runs everything whatever is there, so three stand for all."""
WAYS = [
    f"{precision}{how}"
    for precision in ("fp32", "bf16", "fp16")
    for how in ("", "+recompute", "+compile", "+resident", "+compile+resident")
]
NETWORKS = ("rfnet", "mmformer", "m2ftrans")


def their_step(
    clone: Path, backbone: str, objective: str, count: int, setting: Measurement
) -> dict[str, Any]:
    """Time a training step of the released code, as its `train.py` composes it (policy idt, w = beta = 1)."""
    device, network = _their_network(clone, backbone, setting)
    criterions = _their(clone, "utils.criterions")
    network.use_passion = objective == "passion"
    network.is_training = True
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4, weight_decay=1e-4, amsgrad=True)
    batch = tasks.noise_batch(OURS, BRATS2020, count).to(device)
    mask, classes = batch.present, len(BRATS2020.classes)
    target = one_hot(batch.target, classes).permute(0, 4, 1, 2, 3).float()

    def one() -> None:
        fused, prm, *rest = network(batch.volumes, mask, target=target, temp=4.0)
        entropy = criterions.softmax_weighted_loss_bs(fused, target, num_cls=classes)
        loss = (entropy + criterions.dice_loss_bs(fused, target, num_cls=classes)).sum() + prm.sum()
        per_modality = [(term * mask).sum(dim=0) for term in rest]
        if objective == "passion":
            sep, kl, proto, distance = per_modality
            lags = mask[0] * (distance / (distance.sum() / mask.sum()) - 1) > 0
            loss = loss + (lags * sep).sum() + 0.5 * kl.sum() + 0.1 * (lags * proto).sum()
        else:
            loss = loss + per_modality[0].sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return {"seconds": tasks.repeat(one, setting, device), "peak_bytes": peak(device)}


def their_window(clone: Path, backbone: str, setting: Measurement) -> dict[str, Any]:
    """Time the released network on one window for each of the 15 masks in turn."""
    device, network = _their_network(clone, backbone, setting)
    network.is_training = False
    network.eval()
    volumes = tasks.noise(1, len(BRATS2020.modalities), *space_of(OURS.window, 3)).to(device)
    masks = [
        torch.tensor([presence(s, BRATS2020.modalities)], device=device) for s in table_subsets(BRATS2020)
    ]

    @torch.no_grad()
    def one() -> None:
        for mask in masks:
            network(volumes, mask)

    return {"seconds": tasks.repeat(one, setting, device), "peak_bytes": peak(device)}


def their_metrics(clone: Path, setting: Measurement) -> dict[str, Any]:
    """Time Dice and HD95 of the released code (medpy's) for 15 predictions of one case."""
    device = tasks.begin(setting)
    module = _their(clone, "utils.predict")
    labels, maps = tasks.blobs(BRATS2020, tasks.CASE)

    def one() -> None:
        for prediction in maps:
            pair = [torch.from_numpy(m.astype(np.int64))[None] for m in (prediction, labels)]
            module.softmax_output_dice_class4(*pair)
            module.cal_hd95(prediction, labels)

    return {"seconds": tasks.repeat(one, setting, device), "peak_bytes": peak(device)}


def compare(
    clone: Path,
    names: Sequence[str],
    setting: Measurement,
    ways: Sequence[str],
    console: Console,
    save: Callable[[dict[str, Any]], object],
) -> None:
    """Measure theirs and ours in turn; `save` gets the report, with ratios, after each pair.

    Of a way with `recompute`, which is there for the memory, only the PASSION step with all modalities is
    measured.
    """
    options = {way: _options(way) for way in ways}
    settings = {way: replace(setting, resident="resident" in way) for way in ways}
    report: dict[str, Any] = {
        "environment": environment(device_text(setting.device), setting.threads, "fp32"),
        "setting": asdict(setting),
        "ways": list(ways),
        "pairs": {},
    }

    def pair(label: str, way: str, released: dict[str, Any], ours: dict[str, Any]) -> None:
        ratios = {key: released[key] / ours[key] for key in ("seconds", "peak_bytes") if key in released}
        report["pairs"][f"{label}, {way}"] = {"released": released, "ours": ours, "ratios": ratios}
        save(report)
        text = f"{label}, {way}: released {released['seconds']:.2f} s, ours {ours['seconds']:.2f} s"
        console.print(text, soft_wrap=True)

    scored = alone(their_metrics, clone, setting)
    pair("metrics", "fp32", scored, alone(tasks.metrics, OURS, BRATS2020, tasks.CASE, setting))
    for name, objective in product(names, ("passion", "baseline")):
        theirs = {n: alone(their_step, clone, name, objective, n, setting) for n in THEIR_COUNTS}
        mean = {"seconds": sum(step["seconds"] for step in theirs.values()) / len(theirs)}
        for way, of_way in options.items():
            config = tasks.published(name, objective, **of_way)
            counts = sorted(profile_counts(), reverse=True)
            if config.train.recompute:
                counts = counts[:1] if objective == "passion" else []
            steps = {n: alone(tasks.step, config, BRATS2020, n, settings[way]) for n in counts}
            for n in [n for n in steps if n in theirs]:
                pair(f"{name} {objective} step, {n} modalities", way, theirs[n], steps[n])
            if not config.train.recompute:
                ours = {"seconds": mean_seconds({n: step["seconds"] for n, step in steps.items()})}
                pair(f"{name} {objective} step, {PROFILE}", way, mean, ours)
    windows = count_windows(tasks.CASE, OURS.window, 3)
    for name in names:
        window = alone(their_window, clone, name, setting)
        # Their test of a case runs this window at each place for each mask, then their metrics.
        case = {"seconds": window["seconds"] * windows + scored["seconds"]}
        for way, of_way in options.items():
            config = tasks.published(name, **of_way)
            if not config.train.recompute:
                pair(f"{name} window", way, window, alone(tasks.window, config, BRATS2020, settings[way]))
                pair(f"{name} case", way, case, alone(tasks.case, config, BRATS2020, settings[way]))


def _options(way: str) -> dict[str, Any]:
    """Return the options of a way to run ours: a precision, and of training what stands behind each plus."""
    precision, *how = way.split("+")
    return {"precision": precision, **{name: name in how for name in ("recompute", "compile")}}


def _their_network(clone: Path, name: str, setting: Measurement) -> tuple[torch.device, Any]:
    device = tasks.begin(setting)
    network = _their(clone, f"models.{name}").Model(num_cls=len(BRATS2020.classes))
    network.mask_type = "idt"
    return device, network.to(device)


def _their(clone: Path, module: str) -> Any:
    """Import a module of theirs, whose unused import of `scipy.misc` today's SciPy no longer has."""
    sys.path.insert(0, str(clone / "code"))
    sys.modules.setdefault("scipy.misc", ModuleType("scipy.misc"))
    if not torch.cuda.is_available():
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[method-assign,assignment]
    return import_module(module)


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.speed.released", description=__doc__)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbone", nargs="+", default=NETWORKS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--ours", nargs="+", default=["fp32"], choices=WAYS, help="how to run ours")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not (options.clone / "code" / "models" / "rfnet.py").is_file():
        sys.exit(f"error: {options.clone} is no clone of the released code (it has no code/models/rfnet.py)")
    setting = Measurement(options.device, options.threads, options.repeats)
    os.environ.update({**MALLOC, **os.environ, "OMP_NUM_THREADS": str(options.threads)})
    try:
        for way in options.ours:
            check_precision(_options(way)["precision"], torch.device(options.device))
    except InputError as error:
        sys.exit(f"error: {error}")

    def save(report: dict[str, Any]) -> None:
        options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")

    compare(options.clone, options.backbone, setting, options.ours, output(), save)


if __name__ == "__main__":
    main()
