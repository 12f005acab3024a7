"""Is a study fit for use? Every problem of every case, before anything is computed.

    for problem in check_study(Path("BraTS2020")):
        print(problem.severity, problem.case, problem.file, problem.message)

Errors keep a case out of a store; warnings and notes are for the user to know.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.preparation.examine import Problem, examine
from datasets.preparation.find import Case, find_cases, recognise
from datasets.preparation.parallel import Progress, in_parallel
from datasets.preparation.unused import unused
from datasets.vocabulary import Description


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
) -> list[Problem]:
    """Return all problems of a study with these cases; see `check_study`."""

    def job(case: Case) -> tuple[list[Problem], dict[str, str]]:
        examined = examine(case, description)
        return examined.problems, examined.prints

    results = in_parallel(job, cases, workers, progress)
    problems = [problem for found, _ in results for problem in found]
    prints = {case.name: prints for case, (_, prints) in zip(cases, results, strict=True)}
    return sort_problems(unused(root, description, cases) + problems + duplicates(prints))


def sort_problems(problems: list[Problem]) -> list[Problem]:
    """Return the problems by case and, within it, by severity."""
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(problems, key=lambda problem: (problem.case, order[problem.severity]))


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
