"""The entries of a board: ``entries(collected)``, a method on one dataset, profile and policy."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.config.run_config import digest
from benchmark.report.data.collect import Collected
from benchmark.report.data.names import options
from benchmark.report.data.runs import Run, Study
from benchmark.report.data.scores import training

RUNS = "runs"
"""The folder of a board's trainings, which reports take for a grid of that name."""
RECORD = "accepted.json"


@dataclass(frozen=True)
class Accepted:
    """What is known of an accepted training beside its run folder.

    Attributes:
        archive: SHA-256 of the file that was handed in.
        weights: SHA-256 of its weights; empty where they were not shared.
        recomputed: names of the tests whose scores were computed from shared predictions; shared weights
            were seen to make these.
        time: when it was accepted.
    """

    archive: str
    weights: str
    recomputed: tuple[str, ...]
    time: str

    @classmethod
    def of(cls, run: Path) -> "Accepted":
        """Read the record of a run folder of the board."""
        content = json.loads((run / RECORD).read_text(encoding="utf-8"))
        recomputed = tuple(content["recomputed"])
        return cls(content["archive"], content["weights"], recomputed, content["time"])


@dataclass(frozen=True)
class Entry:
    """A method in one study of the board.

    Attributes:
        study: of its dataset, profile and policy.
        method: its title.
        runs: its trainings, each tested once in this study.
    """

    study: Study
    method: str
    runs: tuple[Run, ...]

    @property
    def title(self) -> str:
        """``RFNet + PASSION on phantom, mr2468``."""
        return f"{self.method} on {self.study.dataset}, {self.study.title}"

    @property
    def seeds(self) -> int:
        """The number of trainings that repeat: those of one seed and split are one, under whatever tables."""
        return len({training(run).repeat for run in self.runs})

    @cached_property
    def accepted(self) -> list[tuple[Run, Accepted]]:
        """Each run with the record of its acceptance."""
        return [(run, Accepted.of(run.path)) for run in self.runs]

    @property
    def recomputed(self) -> int:
        """Of how many runs the scores were computed from shared predictions."""
        return sum(run.test is not None and run.test.name in kept.recomputed for run, kept in self.accepted)

    @property
    def page(self) -> str:
        """The name of its page: of letters, digits and dashes, and the same whatever else is on the board."""
        config = self.runs[0].config
        name = f"{self.study.name} {config['backbone']['name']} {config['objective']['name']}"
        return f"{slug(name)}-{digest([self.study.name, options(config)])}.html"


def entries(collected: Collected) -> list[Entry]:
    """Return the entries in the order of the tables."""
    return [
        Entry(study, method, tuple(run for run in study.runs if run.method == method))
        for study in collected.studies()
        for method in study.methods
    ]


def slug(text: str) -> str:
    """Return a part of a file's name that reads like the text: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80]
