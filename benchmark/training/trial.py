"""How a run is tried out by a study: ``execute(folder, execution, trial=Trial(...))`` in `training.run`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.evaluation.metrics import POLICIES, Scoring
from benchmark.run_folder.case_rows import CaseRow

VALIDATION = Scoring(POLICIES["passion"], ("dice",))
"""How all looks at validation cases are scored, whatever the run is tested by."""


@dataclass(frozen=True)
class Trial:
    """A run that is trained and validated, and not tested.

    Attributes:
        every: epochs between two looks at validation cases. A run with `select: best` or `validate_every`
            has looks of its own, at all of them; `every`, `cases` and `score` are then not used.
        cases: the validation cases of such a look; those of the end are all.
        score: of their rows; higher is better.
        hopeless: asked after each look, with the number of epochs done and the score, whether to give up.
        note: told the rows of all validation cases at the end.
    """

    every: int
    cases: Sequence[str]
    score: Callable[[Sequence[CaseRow]], float]
    hopeless: Callable[[int, float], bool]
    note: Callable[[Sequence[CaseRow]], None]
