"""Image files of a study that no case has: ``unused(root, description, find_cases(root, description))``.

A layout that a description forgets is a part of the study that nobody sees; here it gets its line.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datasets.preparation.disk import FOREIGN, Disk, stem
from datasets.preparation.examine import Problem
from datasets.preparation.find import Case
from datasets.vocabulary import ENDINGS, Description, nfc

SHOWN = 6
"""Names of files that a line shows, of those that lie beside the files of cases."""


def unused(root: Path, description: Description, cases: Sequence[Case]) -> list[Problem]:
    """Return a warning for each folder of `root` with image files that are no case's, and a note of the rest.

    The rest is what lies in cases' own folders: contrasts that the description does not name, and the like.
    What the description tells to ignore is left out.
    """
    used = {path for case in cases for path in case.paths.values()}
    owners = {case.folder: case for case in cases if case.folder != root}
    beside: Counter[str] = Counter()
    outside: dict[tuple[str, bool], list[str]] = {}
    for path in Disk().without(description.ignore, root).images(root):
        if path in used:
            continue
        relative = path.relative_to(root)
        owner = next((owners[folder] for folder in path.parents if folder in owners), None)
        if owner:
            beside[_general(owner, path)] += 1
        else:
            top = relative.parts[0] if len(relative.parts) > 1 else "."
            outside.setdefault((top, bool(stem(path.name))), []).append(relative.as_posix())
    warnings = [_warning(top, nifti, files) for (top, nifti), files in sorted(outside.items())]
    return warnings + ([_note(beside)] if beside else [])


def _warning(top: str, nifti: bool, files: list[str]) -> Problem:
    advice = (
        "add a pattern for them to the description (lists of patterns are several layouts), or ignore them"
        if nifti
        else f"convert them to {ENDINGS[0]} ({', '.join(FOREIGN)} are not read), or ignore them"
    )
    such = ", ".join([*sorted(files)[:2], *["..."] * (len(files) > 2)])
    found = f"found {len(files)} image file{'s' * (len(files) > 1)} that no pattern takes"
    return Problem("", "warning", top, f"{found} ({such}): {advice}")


def _note(beside: Counter[str]) -> Problem:
    files = [f"{count} {name}" for name, count in sorted(beside.items())]
    more = f" and {len(files) - SHOWN} more names" if len(files) > SHOWN else ""
    found = f"found files that no pattern takes beside those of the cases: {', '.join(files[:SHOWN])}{more}"
    return Problem("", "note", "{case}", f"{found}: nothing to do if they are not meant")


def _general(case: Case, path: Path) -> str:
    """The name of a file in a case's folder, with `{case}` for the name of the case or its folder."""
    names = "|".join(re.escape(name) for name in dict.fromkeys((case.name, nfc(case.folder.name))))
    return re.sub(rf"(?<![^/])({names})(?![0-9A-Za-z])", "{case}", nfc(case.relative(path)))
