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
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.nn.functional import one_hot

from bench_errors import InputError
from benchmark.launch.worker import MALLOC
from benchmark.speed import tasks
from benchmark.speed.bench import alone, device_name, mean_seconds, profile_counts
from benchmark.speed.tasks import Setting
from benchmark.training.memory import peak
from benchmark.training.precision import check_precision
from benchmark.training.provenance import environment
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import presence, table_subsets

ROWS = ("1111", "1110", "1010", "0001")
"""Of each number of modalities one subset stands for all: a network treats its modalities alike."""
THEIR_ROWS = ("1111", "1010", "0001")
"""The released code runs everything whatever is present, so three rows stand for all."""
WAYS = [f"{precision}{memory}" for precision in ("fp32", "bf16", "fp16") for memory in ("", "+recompute")]


def their_step(clone: Path, backbone: str, objective: str, present: str, setting: Setting) -> dict[str, Any]:
    """Time a training step of the released code, as its `train.py` composes it (policy idt, w = beta = 1)."""
    device, network = _their_network(clone, backbone, setting)
    criterions = import_module("utils.criterions")
    network.use_passion = objective == "passion"
    network.is_training = True
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-4, weight_decay=1e-4, amsgrad=True)
    batch = tasks.batch_of(present).to(device)
    mask = batch.present
    target = one_hot(batch.target, tasks.CLASSES).permute(0, 4, 1, 2, 3).float()

    def one() -> None:
        fused, prm, *rest = network(batch.volumes, mask, target=target, temp=4.0)
        entropy = criterions.softmax_weighted_loss_bs(fused, target, num_cls=tasks.CLASSES)
        loss = (entropy + criterions.dice_loss_bs(fused, target, num_cls=tasks.CLASSES)).sum() + prm.sum()
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


def their_window(clone: Path, backbone: str, setting: Setting) -> dict[str, Any]:
    """Time the released network on one window for each of the 15 masks in turn."""
    device, network = _their_network(clone, backbone, setting)
    network.is_training = False
    network.eval()
    volumes = tasks.volumes_of((tasks.CROP,) * 3)[None].to(device)

    def one() -> None:
        with torch.no_grad():
            for subset in table_subsets(BRATS2020):
                network(volumes, torch.tensor([presence(subset, tasks.MODALITIES)], device=device))

    return {"seconds": tasks.repeat(one, setting, device), "peak_bytes": peak(device)}


def their_metrics(clone: Path, setting: Setting) -> dict[str, Any]:
    """Time Dice and HD95 of the released code (medpy's) for 15 predictions of one case."""
    device = tasks.begin(setting)
    _import_from(clone)
    module = _their_predict()
    labels, maps = tasks.tumours()

    def one() -> None:
        for prediction in maps:
            pair = [torch.from_numpy(m.astype(np.int64))[None] for m in (prediction, labels)]
            module.softmax_output_dice_class4(*pair)
            module.cal_hd95(prediction, labels)

    return {"seconds": tasks.repeat(one, setting, device), "peak_bytes": peak(device)}


def windows_of_a_case() -> int:
    """How many windows a case has, ours and theirs alike."""
    from benchmark.evaluation.sliding_window import count_windows

    return count_windows(tasks.CASE, tasks.CROP, 3)


def ours(way: str, setting: Setting) -> Setting:
    """Return the setting of a way to run ours: a precision, with or without `+recompute`."""
    precision, _, rest = way.partition("+")
    return replace(setting, precision=precision, recompute=rest == "recompute")


def compare(
    clone: Path,
    names: list[str],
    setting: Setting,
    ways: list[str],
    console: Console,
    save: Callable[[dict[str, Any]], object],
) -> None:
    """Measure theirs and ours in turn; `save` gets the report, with ratios, after each pair.

    `setting` is theirs. Of a way with `recompute`, which is there for the memory, only the PASSION step with
    all modalities is measured.
    """
    counts = profile_counts()
    settings = {way: ours(way, setting) for way in ways}
    whole = {way: s for way, s in settings.items() if not s.recompute}
    report: dict[str, Any] = {
        "environment": environment(device_name(setting.device), setting.threads, setting.precision),
        "setting": asdict(setting),
        "ways": ways,
        "pairs": {},
    }

    def pair(label: str, way: str, released: dict[str, Any], own: dict[str, Any]) -> None:
        ratios = {key: released[key] / own[key] for key in ("seconds", "peak_bytes") if key in released}
        report["pairs"][f"{label}, {way}"] = {"released": released, "ours": own, "ratios": ratios}
        save(report)
        console.print(
            f"{label}, {way}: released {released['seconds']:.2f} s, ours {own['seconds']:.2f} s",
            soft_wrap=True,
        )

    theirs_metrics = alone(their_metrics, clone, setting)
    pair("metrics", "fp32", theirs_metrics, alone(tasks.metrics, setting))
    for name in names:
        for objective in ("passion", "baseline"):
            theirs: dict[str, Any] = {}
            seconds: dict[str, dict[int, float]] = {way: {} for way in whole}
            for row in ROWS:
                if row in THEIR_ROWS:
                    theirs[row] = alone(their_step, clone, name, objective, row, setting)
                memory = objective == "passion" and row == "1111"
                for way, of_way in (settings if memory else whole).items():
                    step = alone(tasks.step, name, objective, row, of_way)
                    if way in whole:
                        seconds[way][row.count("1")] = step["seconds"]
                    if row in theirs:
                        pair(f"{name} {objective} step {row}", way, theirs[row], step)
            mean = {"seconds": sum(t["seconds"] for t in theirs.values()) / len(theirs)}
            for way, of_number in seconds.items():
                own = {"seconds": mean_seconds({row: of_number[row.count("1")] for row in counts})}
                pair(f"{name} {objective} step, mr2468", way, mean, own)
        window = alone(their_window, clone, name, setting)
        # Their test of a case runs this window at each place for each mask, then their metrics.
        case = {"seconds": window["seconds"] * windows_of_a_case() + theirs_metrics["seconds"]}
        for way, of_way in whole.items():
            pair(f"{name} window", way, window, alone(tasks.window, name, of_way))
            pair(f"{name} case", way, case, alone(tasks.case, name, of_way))


def _their_network(clone: Path, name: str, setting: Setting) -> tuple[torch.device, Any]:
    device = tasks.begin(setting)
    _import_from(clone)
    network = import_module(f"models.{name}").Model(num_cls=tasks.CLASSES)
    network.mask_type = "idt"
    return device, network.to(device)


def _import_from(clone: Path) -> None:
    sys.path.insert(0, str(clone / "code"))
    if not torch.cuda.is_available():
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[method-assign,assignment]


def _their_predict() -> Any:
    """Their evaluation, whose unused import of `scipy.misc` today's SciPy no longer has."""
    sys.modules.setdefault("scipy.misc", ModuleType("scipy.misc"))
    return import_module("utils.predict")


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.speed.released", description=__doc__)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbone", nargs="+", default=["rfnet", "mmformer", "m2ftrans"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--ours", nargs="+", default=["fp32"], choices=WAYS, help="how to run ours")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not (options.clone / "code" / "models" / "rfnet.py").is_file():
        sys.exit(f"error: {options.clone} is no clone of the released code (it has no code/models/rfnet.py)")
    setting = Setting(options.device, options.threads, "fp32", options.repeats)
    os.environ.update({**MALLOC, **os.environ, "OMP_NUM_THREADS": str(options.threads)})
    try:
        for way in options.ours:
            check_precision(ours(way, setting).precision, torch.device(options.device))
    except InputError as error:
        sys.exit(f"error: {error}")

    def save(report: dict[str, Any]) -> None:
        options.out.write_text(json.dumps(report, indent=1), encoding="utf-8")

    compare(options.clone, options.backbone, setting, options.ours, Console(), save)


if __name__ == "__main__":
    main()
