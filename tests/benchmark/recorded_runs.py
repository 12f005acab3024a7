"""Recorded tiny run folders with numbers that can be checked by hand; a helper of the report's tests."""

import numpy as np

from benchmark.evaluation.example_slices import FILE, Example, save
from benchmark.run_folder.case_rows import CaseRow, write_rows
from benchmark.run_folder.files import write_yaml
from benchmark.run_folder.folder import RunFolder
from datasets.studies.brats import PHANTOM
from datasets.studies.myops import PHANTOM_HEART
from datasets.vocabulary import subset_name, table_subsets

TEST = "passion-0123456789"
ENVIRONMENT = {
    "commit": "c0ffee1234",
    "dirty": False,
    "precision": "fp32",
    "device": "cpu",
    "cpu": "A CPU",
}
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

    `changes` are made to its `config.yaml`, or to the `test.yaml` of its test.

    Dice of region r, subset s and case c, counted from 0: 0.3 + 0.02 s - 0.1 r + 0.1 c + strength.
    """
    tested = {key: changes.pop(key) for key in ("metrics", "test", "evaluated") if key in changes}
    rates = HEART_RATES if description is PHANTOM_HEART else RATES
    config = {
        "dataset": description.name,
        "profile": profile,
        "backbone": {"name": backbone, "width": 4},
        "objective": {"name": objective, "policy": "idt", **(options or {})},
        "train": {"epochs": 3, "crop": 32, "select": "last"},
        "seed": seed,
    }
    content = {
        "hash": "0123456789",
        "name": f"{description.name}-{backbone}-{objective}-{profile}-s{seed}",
        "grid": grid_folder.name,
        "identity": {"training": "7ra1n", "split": "5911"},
        "config": config,
        "dataset": description.to_dict(),
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
    folder.note_session("begun", environment=ENVIRONMENT)
    test = folder.test(TEST)
    test.begin({"test": {"policy": "passion"}, "metrics": POLICY, **tested})
    for epoch in range(3 if state == "done" else 1):
        folder.append_log(_line(epoch, description.modalities, objective, seed))
    if state == "failed":
        folder.mark_failed("the loss is nan in epoch 1 at case 1: lower train.lr, or check the data")
    if state == "done":
        _write_cases(test, description, cases, strength)
        test.mark_done()
        folder.mark_trained()
    return folder


def change(folder, **changes):
    """Change what a run folder says of itself or, of its metrics and test settings, its test."""
    test = folder.test(TEST)
    of_test = {key: changes.pop(key) for key in ("metrics", "test") if key in changes}
    write_yaml(test.path / "test.yaml", merged(test.settings(), of_test))
    folder.write_config(merged(folder.config(), changes))


def merged(tree, changes):
    """A tree of mappings with some of its values changed."""
    return {
        **tree,
        **{k: merged(tree.get(k, {}), v) if isinstance(v, dict) else v for k, v in changes.items()},
    }


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
        "timing": {"seconds": 60.0, "step": 1.5, "peak_gib": 2.0},
    }


def _write_cases(test, description, cases, strength):
    rows = []
    for c, case in enumerate(cases):
        for s, subset in enumerate(table_subsets(description)):
            name = subset_name(subset, description.modalities)
            for r, region in enumerate(description.regions):
                dice = 0.3 + 0.02 * s - 0.1 * r + 0.1 * c + strength
                rows.append(CaseRow(case, name, region.name, "dice", "passion", dice))
                rows.append(CaseRow(case, name, region.name, "hd95", "passion", 30 * (1 - dice)))
    write_rows(test.cases, rows)


def record_examples(folder, cases=("case 1", "case 2"), description=PHANTOM):
    """Add slices of the cases to a run folder: a square as label, for subset s one that is s columns off."""
    names = [subset_name(s, description.modalities) for s in table_subsets(description)]
    square = np.zeros((20, 30), dtype=np.uint8)
    square[5:15, 5:15] = 1
    grey = np.tile(np.arange(30, dtype=np.uint8) * 8, (len(description.modalities), 20, 1))
    shifted = {name: np.roll(square, s, axis=1) for s, name in enumerate(names)}
    roles = [("first", "worst"), ("median", "best")]
    save(
        folder.test(TEST).path / FILE,
        [Example(case, roles[i], 7 + i, grey, square, shifted) for i, case in enumerate(cases[:2])],
    )
