"""The layouts that a YAML file describes: ``layouts(patterns)``, where `check_layouts` finds nothing wrong.

Where a study's parts lie in several ways, each entry has a list of patterns; the first of all make a layout,
the second another, and so on. A single pattern stands for all.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from bench_schema import Location
from datasets.studies.patterns import words
from datasets.vocabulary import ENDINGS, Layout, nfc

LABEL: Location = ("label",)
MASK: Location = ("mask",)
CASE: Location = ("case",)
_WORD = r"\{[A-Za-z_]\w*(?::[^{}/]+)?\}"

Patterns = Mapping[Location, Sequence[str]]
"""Location in the file -> patterns: of the modalities in their order, `LABEL`, `CASE`, and `MASK` if any."""


def check_pattern(text: object) -> str:
    """Return the pattern of a file's path without its ending; raise `ValueError` for what is none."""
    if not isinstance(text, str):
        raise ValueError(f"expected a file pattern such as '{{case}}/{{case}}_t1.nii.gz', found {text!r}")
    ending = next((ending for ending in ENDINGS if text.endswith(ending)), None)
    if ending is None:
        raise ValueError(f"expected a pattern that ends in {' or '.join(ENDINGS)}, found '{text}'")
    if "\\" in text or any(not part or part.startswith(".") for part in text.split("/")):
        raise ValueError(f"expected a path below the study's folder, without hidden parts, found '{text}'")
    return _with_words(text.removesuffix(ending))


def check_name(text: object) -> str:
    """Return the pattern of a case's name; raise `ValueError` for what is none."""
    if not isinstance(text, str) or not words(text) or "/" in text or ":" in text:
        raise ValueError(
            f"expected words in braces that the patterns have, such as '{{site}}_{{case}}', found {text!r}"
        )
    return _with_words(text)


def layouts(patterns: Patterns) -> tuple[Layout, ...]:
    """Return the layouts of patterns in which nothing is wrong."""
    made = []
    for row in _rows(patterns):
        name, label, mask = row.pop(CASE), row.pop(LABEL), row.pop(MASK, "")
        made.append(Layout(tuple(row.values()), label, mask, name))
    return tuple(made)


def check_layouts(patterns: Patterns, channels: Sequence[int | None]) -> dict[Location, str]:
    """Return what is wrong with patterns that are sound each by itself, and where.

    `channels`: of the modalities; None where one has a file of its own.
    """
    lengths = Counter(len(entries) for entries in patterns.values() if len(entries) != 1)
    number = lengths.most_common(1)[0][0] if lengths else 1
    problems = {
        location: f"found {len(entries)} patterns, expected 1 or {number}, as many as the others have"
        for location, entries in patterns.items()
        if len(entries) not in (1, number)
    }
    for row in _rows(patterns) if not problems else ():
        problems = _check_together(row, channels) | problems
    return problems


def _rows(patterns: Patterns) -> list[dict[Location, str]]:
    """The patterns of each layout."""
    number = max(map(len, patterns.values()))
    return [
        {location: entries[i % len(entries)] for location, entries in patterns.items()} for i in range(number)
    ]


def _with_words(text: str) -> str:
    if set("{}") & set(re.sub(_WORD, "", text)):
        raise ValueError(f"expected braces around single words, found '{text}'")
    return nfc(text)


def _check_together(row: Mapping[Location, str], channels: Sequence[int | None]) -> dict[Location, str]:
    """The patterns of a layout have to tell the files of a case apart, and to say the same of it."""
    problems: dict[Location, str] = {}
    seen: dict[tuple[str, int | None], Location] = {}
    files = [location for location in row if location not in (LABEL, MASK, CASE)]
    for location in (location for location in row if location != CASE):
        if lacking := words(row[CASE]).keys() - words(row[location]).keys():
            named = ", ".join(f"{{{word}}}" for word in sorted(lacking))
            problems[location] = f"expected {named} in the pattern, found '{row[location]}'"
        elif words(row[location]).keys() != words(row[LABEL]).keys():
            problems[location] = f"expected the words in braces that label has, found '{row[location]}'"
    for location, channel in zip(files, channels, strict=True):
        if (other := seen.setdefault((row[location], channel), location)) != location:
            problems[location] = f"the same file as {other[1]}, expected another"
    if row[LABEL] in [row[location] for location in files]:
        problems[LABEL] = f"the same file as a modality, '{row[LABEL]}', expected another"
    if row.get(MASK) in [row[location] for location in (*files, LABEL)]:
        problems[MASK] = f"the same file as another, '{row[MASK]}', expected one of its own"
    return problems
