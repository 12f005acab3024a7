"""What the checks of a training have found to be so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.run_folder.case_rows import CaseRow
from benchmark.training.inputs import Inputs


@dataclass(frozen=True)
class CheckedTest:
    """A test on the run's own data.

    Attributes:
        name: of its folder.
        settings: the content of its `test.yaml`.
        rows: its scores, in the order of the tables.
        recomputed: whether they are those of predictions that were handed in.
    """

    name: str
    settings: dict[str, Any]
    rows: tuple[CaseRow, ...]
    recomputed: bool


@dataclass(frozen=True)
class Checked:
    """A training that keeps the rules of a single one.

    Attributes:
        inputs: its configuration, store, split and table.
        tests: one or more.
        environments: of its sessions.
        log: a line an epoch: `epoch`, `lr`, `loss`, `timing`, and no `modality`.
        hashes: SHA-256 of the files that were handed in, by name.
    """

    inputs: Inputs
    tests: tuple[CheckedTest, ...]
    environments: tuple[dict[str, Any], ...]
    log: tuple[dict[str, Any], ...]
    hashes: Mapping[str, str]
