"""Recorded tiny run folders with numbers that can be checked by hand; a helper of the report's tests."""

import csv
import json

import numpy as np

from benchmark.evaluation.example_slices import FILE, Example, save
from benchmark.run_folder.folder import RunFolder
from datasets.studies.brats import PHANTOM
from datasets.studies.myops import PHANTOM_HEART
from datasets.vocabulary import subset_name, table_subsets

RATES = {"flair": 0.5714, "t1ce": 0.4286, "t1": 0.1905, "t2": 0.7619}
HEART_RATES = {"bssfp": 0.25, "lge": 0.5, "t2": 0.75}
POLICY = {
    "policy": "passion",
    "text": "Metric policy passion: two empty masks have Dice 1 and HD95 0, one empty HD95 1.0 mm.",
}


def record(
    grid_folder,
    objective,
    seed=1037,
    strength=0.0,
    backbone="rfnet",
    description=PHANTOM,
    profile="mr2468",
    state="done",
    cases=("case 1", "case 2"),
    options=None,
    **changes,
):
    """Write one run folder; `strength` raises its Dice and lowers its HD95. Returns the `RunFolder`.

    Dice of region r, subset s and case c, counted from 0: 0.3 + 0.02 s - 0.1 r + 0.1 c + strength.
    """
    rates = HEART_RATES if description is PHANTOM_HEART else RATES
    config = {
        "dataset": description.name,
        "profile": profile,
        "backbone": {"name": backbone, "width": 4},
        "objective": {"name": objective, "policy": "idt", **(options or {})},
        "train": {"epochs": 3, "crop": 32},
        "test": {"metrics": "passion", "select": "last"},
        "seed": seed,
    }
    content = {
        "hash": "0123456789",
        "name": f"{description.name}-{backbone}-{objective}-{profile}-s{seed}",
        "grid": grid_folder.name,
        "config": config,
        "dataset": description.to_dict(),
        "metrics": POLICY,
        "data": {
            "hash": "d474",
            "split": "auto",
            "cases": {"train": 21, "val": 3, "test": len(cases)},
            "availability": {"profile": profile, "hash": "ab1e", "nominal": None, "realised": rates},
        },
        **changes,
    }
    name = content["name"] + "".join(f"-{value}" for value in (options or {}).values())
    folder = RunFolder(grid_folder / name)
    folder.write_config(content)
    environment = {
        "commit": "c0ffee1234",
        "dirty": False,
        "precision": "fp32",
        "device": "cpu",
        "cpu": "A CPU",
    }
    (folder.path / "environment.json").write_text(json.dumps(environment))
    for epoch in range(3 if state == "done" else 1):
        folder.append_log(_line(epoch, description.modalities, objective, seed))
    if state == "failed":
        folder.mark_failed("the loss is nan in epoch 1 at case 1: lower train.lr, or check the data")
    if state == "done":
        _write_cases(folder, description, cases, strength)
        folder.mark_done()
    return folder


def _line(epoch, modalities, objective, seed):
    terms = {m: {"sep": 0.5} for m in modalities}
    if objective == "passion":
        for i, m in enumerate(modalities):
            lag = (i - 1.5) * 0.2 + (seed - 1037) * 0.05
            terms[m] |= {"preference": lag / (epoch + 1), "beta": 1 - lag * epoch / 5}
    return {
        "epoch": epoch,
        "lr": 0.002,
        "loss": {"total": 3.0},
        "modality": terms,
        "timing": {"seconds": 60.0},
    }


def _write_cases(folder, description, cases, strength):
    with (folder.path / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "subset", "region", "metric", "policy", "value"])
        for c, case in enumerate(cases):
            for s, subset in enumerate(table_subsets(description)):
                name = subset_name(subset, description.modalities)
                for r, region in enumerate(description.regions):
                    dice = 0.3 + 0.02 * s - 0.1 * r + 0.1 * c + strength
                    writer.writerow([case, name, region.name, "dice", "passion", repr(dice)])
                    writer.writerow([case, name, region.name, "hd95", "passion", repr(30 * (1 - dice))])


def record_examples(folder, cases=("case 1", "case 2"), description=PHANTOM):
    """Add slices of the cases to a run folder: a square as label, for subset s one that is s columns off."""
    names = [subset_name(s, description.modalities) for s in table_subsets(description)]
    square = np.zeros((20, 30), dtype=np.uint8)
    square[5:15, 5:15] = 1
    grey = np.tile(np.arange(30, dtype=np.uint8) * 8, (len(description.modalities), 20, 1))
    shifted = {name: np.roll(square, s, axis=1) for s, name in enumerate(names)}
    roles = [("first", "worst"), ("median", "best")]
    save(
        folder.path / FILE,
        [Example(case, roles[i], 7 + i, grey, square, shifted) for i, case in enumerate(cases[:2])],
    )
