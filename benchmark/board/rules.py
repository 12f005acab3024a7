"""The rules of a leaderboard by name, and the error of a run that breaks one.

    require("trainings", count >= LEAST, f"found {count} trainings, expected {LEAST} or more")
    with keeping("split"):
        ...                     # whatever is wrong here breaks the rule 'split'

`docs/leaderboard.md` has the same names and sentences.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yaml import YAMLError

from bench_errors import InputError

LEAST = 3
"""Seeds whose trainings an entry has at least."""
RULES = {
    "archive": "An archive is as bench export writes it: whole, and with nothing else in it.",
    "finished": "The training has done all its epochs with finite losses, and its test every case.",
    "provenance": "Each session says version, hardware and precision; its code was not modified.",
    "configuration": "The configuration is one of today's code, and the run's hash is the hash of it.",
    "code": "Networks and objectives are ours, or those that the keeper of the board lets in.",
    "data": "It is trained and tested on the board's data, known by their hash.",
    "split": "The split is auto, the published one where there is one; training starts afresh.",
    "availability": "Who lacks what in training is what a profile with a name of ours draws.",
    "subsets": "One network is tested on every subset of what each test case has, the rest absent.",
    "policy": "The metrics are Dice and HD95 at least, by the rules of a policy of ours, in one test.",
    "scores": "Every case, subset, region and metric has one possible value, that of shared predictions.",
    "weights": "Weights that are shared fit the configuration, and make the predictions that are shared.",
    "trainings": f"An entry is trainings of {LEAST} seeds or more that differ in nothing but seed or table.",
    "once": "A training is handed in once, under one seed; no two have the same weights or scores.",
}
"""Name and sentence of each rule, about in the order in which they are checked."""


class BrokenRule(InputError):
    """What is handed in, the archive `source` if that is known, breaks a rule; `text`: what was found."""

    def __init__(self, rule: str, text: str, source: str = ""):
        of = f"{source}: " if source else ""
        super().__init__(f"{of}the rule '{rule}' is broken: {text} ({RULES[rule]})")
        self.rule, self.text = rule, text


def require(rule: str, kept: bool, text: str) -> None:
    """Raise `BrokenRule` with `text`, what was found and what was expected, unless the rule is kept."""
    if not kept:
        raise BrokenRule(rule, text)


@contextmanager
def keeping(rule: str) -> Iterator[None]:
    """Let whatever is wrong with what is read meanwhile break the rule."""
    try:
        yield
    except BrokenRule:
        raise
    except InputError as error:
        raise BrokenRule(rule, str(error)) from None
    except (OSError, YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if isinstance(error, OSError) and error.filename:  # whose folder is one of ours
            text = f"{Path(error.filename).name}: {error.strerror}"
        raise BrokenRule(rule, f"it cannot be read ({text})") from None
