"""Is a study fit for use? Every problem of every case, before anything is computed.

    for problem in check_study(Path("BraTS2020")):
        print(problem.severity, problem.case, problem.file, problem.message)

Errors keep a case out of a store; warnings and notes are for the user to know. Each case is looked at by
itself (`examine`), then all side by side: patients that are there twice, cases that look unlike the others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from datasets.preparation.examine import Problem, examine
from datasets.preparation.find import Case, find_cases, recognise
from datasets.preparation.likeness import Appearance, Likeness
from datasets.preparation.nifti import STORED, orientation, turned_sizes
from datasets.preparation.parallel import Progress, in_parallel
from datasets.preparation.unused import unused
from datasets.vocabulary import Description

BRAIN = 2200
"""mL that no brain fills: adults' have 1000 to 1700, and with what lies around within the skull some more."""


class _Seen(NamedTuple):
    """What is kept of a case to be compared with others."""

    case: str
    problems: list[Problem]
    prints: dict[str, str]
    orientation: str
    appearance: Appearance | None


def check_case(case: Case, description: Description) -> list[Problem]:
    """Return all problems of one case, errors first."""
    return sort_problems(examine(case, description).problems)


def check_study(
    root: Path,
    description: Description | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Problem]:
    """Return all problems of a study, first of what no case has, then by case, errors first.

    Args:
        root: folder with one folder a case.
        description: None recognises it by the files' names.
        workers: cases at a time, one a core by default; each takes about 0.5 GB at 240x240x155.
        progress: called with (cases done, cases).

    Raises `InputError` if `root` is no study.
    """
    described = description or recognise(root)
    return check_cases(root, find_cases(root, described), described, workers, progress)


def check_cases(
    root: Path,
    cases: Sequence[Case],
    description: Description,
    workers: int | None = None,
    progress: Progress | None = None,
    labelled: bool = True,
) -> list[Problem]:
    """Return all problems of a study with these cases; see `check_study`.

    `labelled`: whether cases are to have a label; False for patients who are to be predicted.
    """

    def job(case: Case) -> _Seen:
        examined = examine(case, description, labelled)
        first, look = next(iter(examined.images.values()), None), None
        if first and examined.head:
            held = orientation(first.affine)
            wanted = STORED if description.spatial_dims == 3 else held
            look = Appearance.of(examined.head, turned_sizes(first.affine, held, wanted))
        lies = first.orientation if first else ""
        return _Seen(case.name, examined.problems, examined.prints, lies, look)

    seen = in_parallel(job, cases, workers, progress)
    problems = unused(root, description, cases) + [problem for one in seen for problem in one.problems]
    problems += duplicates({one.case: one.prints for one in seen})
    problems += _turned(seen, description) + _unlike(seen, description)
    masked = any(layout.mask for layout in description.layouts)
    if description.spatial_dims == 3 and not (description.whole or masked or description.background):
        problems += _larger_than_a_brain(seen)
    return sort_problems(problems)


def sort_problems(problems: list[Problem]) -> list[Problem]:
    """Return the problems by case and, within it, by severity."""
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(problems, key=lambda problem: (problem.case, order[problem.severity]))


def _turned(seen: Sequence[_Seen], description: Description) -> list[Problem]:
    """Report each case that lies otherwise than most."""
    ways = Counter(one.orientation for one in seen if one.orientation)
    if len(ways) < 2:
        return []
    usual = min(ways, key=lambda way: (-ways[way], way))
    found = f"where most cases lie {usual}"
    problems = []
    for one in seen:
        if one.orientation not in ("", usual) and description.spatial_dims == 3:
            message = f"lies {one.orientation}, {found}: all are turned to {STORED} when they are prepared"
            problems.append(Problem(one.case, "note", one.case, message))
        elif one.orientation not in ("", usual):
            message = f"slices lie {one.orientation}, {found}, and stay as they are: turn them alike"
            problems.append(Problem(one.case, "warning", one.case, message))
    return problems


def _unlike(seen: Sequence[_Seen], description: Description) -> list[Problem]:
    """Report each case that does not look like the middle half of them, where there are three or more."""
    looks = [one.appearance for one in seen if one.appearance]
    if len(looks) < 3:
        return []
    typical = Likeness.typical(looks)
    if description.spatial_dims == 2 or description.whole:  # they show what lies around, more or less of it
        typical = replace(typical, tissue=None)
    return [
        Problem(one.case, "warning", one.case, message)
        for one in seen
        if one.appearance
        for message in typical.differences(one.appearance, "in most cases")
    ]


def _larger_than_a_brain(seen: Sequence[_Seen]) -> list[Problem]:
    """Report the cases of a study whose heads are all larger than any brain."""
    looks = {one.case: one.appearance.tissue for one in seen if one.appearance}
    if not looks or min(looks.values()) <= BRAIN:
        return []
    found = f"what is not background fills {{:.4g}} mL, more than a brain ({BRAIN} mL)"
    advice = "strip the skulls (docs/raw-images.md) if they are brains, else there is nothing to do"
    return [Problem(case, "warning", case, f"{found.format(size)}: {advice}") for case, size in looks.items()]


def duplicates(prints: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """Report each case with the voxels of an earlier one in a modality, given case -> `Examined.prints`."""
    first: dict[str, str] = {}
    problems = []
    for case in sorted(prints):
        for modality, digest in prints[case].items():
            other = first.setdefault(digest, case)
            if other != case:
                message = (
                    f"the same {modality} voxels as case '{other}', expected another patient's: remove one"
                )
                problems.append(Problem(case, "error", modality, message))
                break
    return problems
