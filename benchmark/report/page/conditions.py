"""Under which conditions runs came about, each said once: ``conditions(runs, out)``."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from benchmark.report.data.names import options
from benchmark.report.data.runs import Run
from benchmark.report.tables.captions import rates


@dataclass(frozen=True)
class RunLine:
    """What stands of one run alone.

    Attributes:
        run: itself.
        link: the address of its test from the report's folder.
        started: when its sessions began, as far as they have said.
        alike: place of its conditions in `Conditions.alike`.
        environment: place of where it computed in `Conditions.environments`.
    """

    run: Run
    link: str
    started: str
    alike: int
    environment: int


@dataclass(frozen=True)
class Conditions:
    """The runs of a report, and what several of them share.

    Attributes:
        lines: one per run.
        alike: the conditions that runs of different seeds share: names and texts.
        environments: where they computed and with which code, as YAML; when each began is in `lines`.
    """

    lines: tuple[RunLine, ...]
    alike: tuple[dict[str, Any], ...]
    environments: tuple[str, ...]


def conditions(runs: Sequence[Run], out: Path) -> Conditions:
    """Gather the conditions of finished runs; `out` is the report's folder, from which links go."""
    lines = []
    alike: dict[str, dict[str, Any]] = {}
    environments: dict[str, None] = {}
    for run in runs:
        shared = _shared(run)
        key = json.dumps(shared)
        alike.setdefault(key, shared)
        where = [{k: v for k, v in e.items() if k != "started"} for e in run.environments]
        once = [e for i, e in enumerate(where) if e not in where[:i]]
        environment = yaml.safe_dump_all(once, sort_keys=False, allow_unicode=True)
        environments.setdefault(environment)
        started = ", ".join(str(e["started"]) for e in run.environments if "started" in e)
        places = list(alike).index(key), list(environments).index(environment)
        lines.append(RunLine(run, link(run, out), started, *places))
    return Conditions(tuple(lines), tuple(alike.values()), tuple(environments))


def link(run: Run, out: Path) -> str:
    """Return the address of a run's test, or of its folder, from the report's folder."""
    return quote(os.path.relpath(run.test or run.path, out).replace(os.sep, "/")) + "/"


def _shared(run: Run) -> dict[str, Any]:
    """What a page says of a run that its other seeds share, in the order of reading."""
    data = run.content["data"]
    return {
        "method": run.method,
        "study": f"{run.config['dataset']}, {run.config['profile']}",
        "rates": rates(run.content),
        "availability": data["availability"]["hash"],
        "data": data["hash"],
        "split": data["split"],
        "cases": data["cases"],
        "policy": run.metric_text,
        "options": {
            k: json.dumps(v) if not isinstance(v, str) else v for k, v in options(run.config).items()
        },
    }
