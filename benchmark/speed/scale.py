"""What the report of a large study costs: ``.venv/bin/python -m benchmark.speed.scale --out scale.json``.

Writes synthetic run folders into a temporary folder (100 test cases, 15 subsets, 3 regions, Dice and HD95;
up to 9 profiles, 3 networks, 14 methods and 3 seeds; 300 epochs; slices of 4 cases), makes their whole report
in a process of its own, and prints its seconds of wall clock and of processor, its peak memory and what it
wrote. On a shared machine only the seconds of the processor mean something.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from benchmark.evaluation.example_slices import FILE, Example, save
from benchmark.report.write import write_report
from benchmark.run_folder.folder import RunFolder
from benchmark.speed.bench import alone
from benchmark.training.device import available_cores
from benchmark.training.provenance import environment
from datasets.randomness import generator
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import subset_name, table_subsets

DESCRIPTION = replace(BRATS2020, regions=BRATS2020.regions[:3])
CASES = tuple(f"BraTS20_Training_{i:03d}" for i in range(1, 101))
SUBSETS = tuple(subset_name(s, DESCRIPTION.modalities) for s in table_subsets(DESCRIPTION))
RATES = {
    f"mr{''.join(f'{rate:.0f}' for rate in np.multiply(rates, 10))}": rates
    for rates in (
        *((0.2, 0.4, 0.6, 0.8), (0.8, 0.6, 0.4, 0.2), (0.4, 0.8, 0.2, 0.6), (0.2, 0.2, 0.5, 0.8)),
        *((0.5, 0.5, 0.2, 0.8), (0.8, 0.8, 0.2, 0.5), (0.1, 0.3, 0.7, 0.9), (0.5, 0.2, 0.5, 0.8)),
        (0.6, 0.2, 0.8, 0.4),
    )
}
"""Missing rates of the modalities by name of the profile."""
NETWORKS = ("rfnet", "mmformer", "m2ftrans")
PASSION = {"pixel": True, "semantic": True, "delta": True, "beta": True, "tau": 4.0}
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("baseline", {"policy": "idt"}),
    ("baseline", {"policy": "idt_drop"}),
    ("passion", PASSION),
    *(("passion", {**PASSION, part: False}) for part in ("pixel", "semantic", "delta", "beta")),
    *(("passion", {**PASSION, "tau": tau}) for tau in (1.0, 2.0, 8.0)),
    *((name, {}) for name in ("pmr", "kd", "gradnorm", "dwa")),
)
SEEDS = (1037, 1038, 1039)
EPOCHS = 300
SCORES = 12
"""Different files of scores; runs share them, as they are 1 MB each."""


def main(
    runs: Annotated[int, typer.Option(min=1, help="Run folders.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Save the figures as JSON.")] = None,
) -> None:
    """Measure the report of a study of many runs."""
    with TemporaryDirectory() as folder:
        write_runs(Path(folder), runs)
        found = alone(report, Path(folder))
    content = {"runs": runs, **found, "environment": environment("cpu", available_cores(), "fp32")}
    text = json.dumps(content, indent=1)
    typer.echo(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")


def report(folder: Path) -> dict[str, float]:
    """Make the report of what `write_runs` wrote: seconds, most memory in GiB, files, megabytes."""
    began = time.perf_counter()
    written = write_report([folder / "scale"], folder / "report")
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Of its drawing processes only the largest is known: at most, all were as large at the same time.
    peaks = [usages[0].ru_maxrss, available_cores() * usages[1].ru_maxrss]
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "wall_seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(sum(u.ru_utime + u.ru_stime for u in usages), 1),
        "peak_gib": round(sum(peaks) * unit / 2**30, 2),
        "files": len(written.files),
        "megabytes": round(sum(path.stat().st_size for path in written.files) / 1e6, 1),
    }


def write_runs(folder: Path, count: int) -> None:
    """Write the first `count` of all combinations as finished runs into `folder`/scale."""
    shared = folder / "shared"
    shared.mkdir(parents=True)
    for i in range(SCORES):
        (shared / f"{i}.csv").write_text("".join(_scores(i)), encoding="utf-8")
    (shared / "log.jsonl").write_text("".join(_log()), encoding="utf-8")
    save(shared / FILE, _examples())
    for i, parts in enumerate(islice(product(RATES, NETWORKS, METHODS, SEEDS), count)):
        run = RunFolder(folder / "scale" / f"run-{i:04d}")
        run.write_config(_content(*parts))
        (run.path / "environment.json").write_text(
            '{"commit": "synthetic", "device": "cpu"}', encoding="utf-8"
        )
        os.link(shared / f"{i % SCORES}.csv", run.path / "cases.csv")
        for name in ("log.jsonl", FILE):
            os.link(shared / name, run.path / name)
        run.mark_trained()


def _content(profile: str, network: str, method: tuple[str, dict[str, Any]], seed: int) -> dict[str, Any]:
    objective, options = method
    return {
        "config": {
            "dataset": DESCRIPTION.name,
            "profile": profile,
            "backbone": {"name": network, "width": 8},
            "objective": {"name": objective, **options},
            "train": {"epochs": EPOCHS, "crop": 80},
            "test": {"metrics": "passion", "select": "last"},
            "seed": seed,
        },
        "dataset": DESCRIPTION.to_dict(),
        "metrics": {"policy": "passion", "text": "Synthetic scores."},
        "data": {
            "hash": "synthetic",
            "split": "auto",
            "cases": {"train": 219, "val": 50, "test": len(CASES)},
            "availability": {
                "profile": profile,
                "hash": profile,
                "realised": dict(zip(DESCRIPTION.modalities, RATES[profile], strict=True)),
            },
        },
    }


def _scores(i: int) -> Iterator[str]:
    random = generator(i, "scores")
    yield "case,subset,region,metric,policy,value\n"
    for case, subset, region in product(CASES, SUBSETS, DESCRIPTION.regions):
        dice = float(random.uniform(0.3, 0.9)) + 0.003 * i
        yield f"{case},{subset},{region.name},dice,passion,{dice}\n"
        yield f"{case},{subset},{region.name},hd95,passion,{40 * (1 - dice)}\n"


def _log() -> Iterator[str]:
    random = generator(0, "log")
    for epoch in range(EPOCHS):
        loss = dict(
            zip(("total", "fuse", "prm", "sep", "kl", "proto"), random.random(6).tolist(), strict=True)
        )
        terms = {
            m: dict(
                zip(("kl", "proto", "distance", "preference", "beta"), random.random(5).tolist(), strict=True)
            )
            for m in DESCRIPTION.modalities
        }
        line = {"epoch": epoch, "loss": loss, "modality": terms, "timing": {"seconds": 60.0}}
        yield json.dumps(line) + "\n"


def _examples() -> list[Example]:
    """Slices of 150x180 pixels with a disc as label; predictions lie beside it."""
    rows, columns = np.ogrid[:150, :180]
    disc = ((rows - 75) ** 2 + (columns - 90) ** 2 < 30**2).astype(np.uint8)
    noise = generator(0, "slices").integers(
        0, 256, (len(DESCRIPTION.modalities), *disc.shape), dtype=np.uint8
    )
    moved = {name: np.roll(disc, i, axis=1) for i, name in enumerate(SUBSETS)}
    roles = ("first", "worst", "median", "best")
    return [Example(case, (role,), 70, noise, disc, moved) for case, role in zip(CASES, roles, strict=False)]


if __name__ == "__main__":
    typer.run(main)
