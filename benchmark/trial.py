"""How a run is tried out by a study: ``execute(folder, store, ..., trial=Trial(...))`` in `benchmark.run`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.evaluate import Row

VALIDATED = "validation.csv"
"""What a trial has in place of `cases.csv`: the same of its validation cases, Dice alone."""
STUDY = "study"
"""Folder beside the run folders of a study, with what is the study's own."""


@dataclass(frozen=True)
class Trial:
    """A run that is trained and validated, and not tested.

    Attributes:
        every: epochs between two looks at validation cases. A run with `select: best` has looks of its own,
            at all of them; `every`, `cases` and `score` are then not used.
        cases: the validation cases of such a look; those of the end are all.
        score: of their rows; higher is better.
        hopeless: asked after each look, with the number of epochs done and the score, whether to give up.
    """

    every: int
    cases: Sequence[str]
    score: "Callable[[Sequence[Row]], float]"
    hopeless: Callable[[int, float], bool]


class Pruned(Exception):
    """A trial that was given up, as what it has learnt so far is not worth going on."""


def is_of_study(run_folder: Path) -> bool:
    """Whether a run belongs to a study: a trial, or the teacher of one."""
    return (run_folder.parent / STUDY).is_dir()
