"""One training that is handed in, checked against the board's own data.

    checked = check_run(folder, hashes, {"phantom": Path("data/phantom")})

What the checks find to be so, `Checked` holds; the board keeps that, and not what was handed in.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from backbones import BACKBONES
from bench_yaml import Document
from benchmark.board.check_network import check_weights
from benchmark.board.check_scores import checked_rows
from benchmark.board.checked import Checked, CheckedTest
from benchmark.board.rules import keeping, require
from benchmark.config.run_config import RunConfig, TestConfig, read_config
from benchmark.evaluation.metrics import DEFAULT_METRICS, Scoring
from benchmark.models.predictions import find_store
from benchmark.run_folder.files import LOADER, read_yaml
from benchmark.run_folder.folder import WEIGHTS, RunFolder
from benchmark.run_folder.tests import SETTINGS, TestFolder
from benchmark.training.inputs import Inputs, run_split
from benchmark.training.provenance import identity, test_conditions
from benchmark.training.seen_cases import SPLIT, prints_of_parts
from datasets.batches.split import PARTS
from datasets.missingness.availability import PROFILES, store_availability
from datasets.missingness.quotas import named_rates
from datasets.store.store import Store, check_name
from passion import OBJECTIVES

IDENTITY = {
    "options": "configuration",
    "data": "data",
    "split": "split",
    "table": "availability",
    "plugins": "code",
    "training": "configuration",
}
"""Which rule each part of a run's identity is of."""
FACTS = (
    *("commit", "dirty", "version", "python", "torch", "monai", "numpy", "scipy", "platform", "cpu", "cores"),
    *("device", "devices", "threads", "precision", "tf32"),
)
"""What is kept of an environment."""
NEEDED = ("version", "torch", "device", "precision")
"""What each environment says at least."""
LONGEST = 100
"""Characters of such a fact."""
YAML_BYTES = 1 << 20


def check_run(folder: RunFolder, hashes: Mapping[str, str], stores: Mapping[str, Path]) -> Checked:
    """Check a run folder that anybody may have made.

    Args:
        folder: as `unpack` wrote it.
        hashes: of its files.
        stores: the board's own stores by dataset; others are looked for at `data/NAME`.

    Raises `BrokenRule` naming the first rule that it breaks, and `InputError` where a store is missing.
    """
    require("finished", folder.state() == "done", f"the run is {folder.state()}, expected one that is done")
    environments = _environments(folder)
    recorded = _content("configuration", folder.path / "config.yaml")
    config = _configuration(recorded)
    with keeping("data"):
        dataset = check_name(config.dataset)
    store = Store.open(find_store(dataset, stores))
    inputs = _inputs(folder, recorded, config, store)
    log = _log(folder, config)
    tests = tuple(
        _test(test, settings, inputs)
        for test in folder.tests()
        if "evaluated" not in (settings := _content("policy", test.path / SETTINGS))
    )
    require("finished", bool(tests), "it has no test on its own data: run its grid")
    kinds = [
        {key: value for key, value in test.settings["test"].items() if key != "metrics"} for test in tests
    ]
    once = all(kind not in kinds[:i] for i, kind in enumerate(kinds))
    require("policy", once, "two of its tests differ in their metrics alone: hand in one, with all of them")
    if WEIGHTS in hashes:
        check_weights(folder, inputs, tests)
    return Checked(inputs, tests, environments, log, hashes)


def _content(rule: str, path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, which is refused where it is built to be larger than it looks."""
    with keeping(rule):
        require(rule, path.stat().st_size <= YAML_BYTES, f"{path.name} has more than {YAML_BYTES} bytes")
        events = yaml.parse(path.read_text(encoding="utf-8"), Loader=LOADER)
        aliases = any(isinstance(event, yaml.AliasEvent) for event in events)
        require(rule, not aliases, f"{path.name} has aliases, which bench does not write")
        return read_yaml(path)


def _configuration(recorded: dict[str, Any]) -> RunConfig:
    with keeping("configuration"):
        require(
            "configuration",
            "identity" in recorded,
            "it is of before edition 2, whose hash covers less: run its grid again with today's bench",
        )
        with keeping("code"):
            for registry, key in ((BACKBONES, "backbone"), (OBJECTIVES, "objective")):
                registry.check(recorded["config"][key]["name"])
        config = read_config(recorded["config"], "config.yaml")
        require(
            "configuration",
            recorded["hash"] == config.hash,
            f"its hash is {str(recorded['hash'])[:20]!r}, that of its configuration is {config.hash}",
        )
    return config


def _inputs(folder: RunFolder, recorded: dict[str, Any], config: RunConfig, store: Store) -> Inputs:
    """What the run works with by the board's store."""
    with keeping("data"):
        name, digest = store.description.name, store.description.digest
        require(
            "data",
            config.dataset == name and config.description == digest,
            f"it is of {config.dataset} {config.description}, the store {store.path} of {name} {digest}",
        )
        found = recorded["identity"]["data"]
        require("data", found == store.hash, f"it has data {str(found)[:20]!r}, the board {store.hash}")
    with keeping("split"):
        require("split", config.split == "auto", f"its split is {config.split!r}, expected 'auto'")
        parts = run_split(config, store)
        said = json.loads((folder.path / SPLIT).read_text(encoding="utf-8"))
        expected = prints_of_parts(store, parts)
        same = {part: said.get(part) for part in PARTS} == expected
        require("split", same, f"{SPLIT} has other cases than the split of the board's data")
        started = config.train.init or said.get("before")
        require("split", not started, "it starts from other weights, which may have learnt from test cases")
    with keeping("availability"):
        named = config.profile in PROFILES or named_rates(config.profile) is not None
        require("availability", named, f"its profile is {config.profile[:60]!r}, expected a name of ours")
        table = store_availability(config.profile, store, parts.train, config.table_seed)
        same = (folder.path / "availability.csv").read_text(encoding="utf-8") == table.to_csv()
        require("availability", same, f"availability.csv is not what {config.profile} draws")
    subset = config.train.subset
    require("subsets", subset is None, f"its network is dedicated to {subset}, expected one for all subsets")
    inputs = Inputs(config, store, parts, table)
    for part, now in identity(inputs).items():
        with keeping(IDENTITY[part]):
            was = recorded["identity"][part]
            require(IDENTITY[part], was == now, f"its {part} has the hash {str(was)[:20]!r}, expected {now}")
    return inputs


def _log(folder: RunFolder, config: RunConfig) -> tuple[dict[str, Any], ...]:
    """The epochs, with what of them are plain numbers."""
    with keeping("finished"):
        lines = folder.log()
        epochs = [line["epoch"] for line in lines]
        require(
            "finished",
            epochs == list(range(config.train.epochs)),
            f"its log has {len(epochs)} epochs, expected {config.train.epochs}, each once",
        )
        losses = all(math.isfinite(line["loss"]["total"]) for line in lines)
        require("finished", losses, "its loss was not finite")
        return tuple(
            {
                "epoch": int(line["epoch"]),
                "lr": float(line["lr"]),
                "loss": {"total": float(line["loss"]["total"])},
                "modality": {},
                "timing": {key: float(line["timing"][key]) for key in ("seconds", "step", "peak_gib")},
            }
            for line in lines
        )


def _test(test: TestFolder, settings: dict[str, Any], inputs: Inputs) -> CheckedTest:
    with keeping("policy"):
        asked = Document(settings["test"], SETTINGS).check(TestConfig)
        missing = [metric for metric in DEFAULT_METRICS if metric not in asked.metrics]
        require("policy", not missing, f"it has no {' and no '.join(missing)}")
        outside = asked.outside
        require("subsets", outside is None, f"what is outside a subset was shown as {outside}, not left out")
        config = inputs.config.model_copy(update={"test": asked})
        training = identity(inputs)["training"]
        expected = test_conditions(config, training, inputs.store, inputs.tested)
        same = all(settings[key] == expected[key] for key in ("hash", "training", "metrics"))
        require("policy", same, "its hash or the text of its metrics is not that of its settings")
        named = test.path.name == config.test_name
        require("policy", named, f"its folder is {test.path.name!a}, expected {config.test_name}")
    rows, recomputed = checked_rows(test, inputs, Scoring.of(settings["test"]))
    return CheckedTest(config.test_name, expected, rows, recomputed)


def _environments(folder: RunFolder) -> tuple[dict[str, Any], ...]:
    with keeping("provenance"):
        environments = [_facts(environment) for environment in folder.environments()]
        require("provenance", bool(environments), "no session says where it computed")
        return tuple(environments)


def _facts(environment: dict[str, Any]) -> dict[str, Any]:
    """What an environment says, as far as it is plain words and numbers."""
    facts = {key: environment[key] for key in FACTS if key in environment}
    for key, value in facts.items():
        plain = value is None or isinstance(value, (bool, int, float))
        words = isinstance(value, str) and value.isprintable() and len(value) <= LONGEST
        require("provenance", plain or words, f"{key} is no short word or number")
    lacking = [key for key in NEEDED if not facts.get(key)]
    require("provenance", not lacking, f"a session does not say its {', '.join(lacking)}")
    modified = f"its code was modified after commit {facts.get('commit')}: run it from a commit"
    require("provenance", not facts.get("dirty"), modified)
    return facts
