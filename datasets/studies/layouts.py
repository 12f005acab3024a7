"""The layouts that a YAML file describes: ``layouts, faults = read_layouts(patterns, channels, case)``.

Where a study's parts lie in several ways, each entry has a list of patterns; the first of all make a layout,
the second another, and so on. A single pattern stands for all.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets.studies.patterns import words
from datasets.vocabulary import ENDINGS, Layout

Place = tuple[str | int, ...]
"""Keys and numbers that lead to a part of the file."""
Fault = tuple[Place, str]

LABEL: Place = ("label",)
MASK: Place = ("mask",)
CASE: Place = ("case",)
_WORD = r"\{[A-Za-z_]\w*(?::[^{}/]+)?\}"


def read_layouts(
    patterns: Mapping[Place, Any], channels: Sequence[int], case: Any
) -> tuple[tuple[Layout, ...], list[Fault]]:
    """Return the layouts, and where what is wrong.

    Args:
        patterns: place in the file -> a pattern, or a list; of the modalities in their order, then `LABEL`,
            and `MASK` where there is one.
        channels: of the modalities; empty where each has a file of its own.
        case: the pattern of a case's name, or a list.
    """
    lists = {place: entry if isinstance(entry, list) else [entry] for place, entry in patterns.items()}
    lists[CASE] = case if isinstance(case, list) else [case]
    lengths = Counter(len(entries) for entries in lists.values() if len(entries) != 1)
    number = lengths.most_common(1)[0][0] if lengths else 1
    faults: list[Fault] = [
        (place, f"found {len(entries)} patterns, expected 1 or {number}, as many as the others have")
        for place, entries in lists.items()
        if len(entries) not in (1, number)
    ]
    for place, entries in lists.items():
        check = _check_name if place == CASE else _check_pattern
        where = [(*place, i) for i in range(len(entries))] if len(entries) > 1 else [place]
        faults += [(here, text) for here, entry in zip(where, entries, strict=True) for text in check(entry)]
    if faults:
        return (), faults
    layouts = []
    for i in range(number):
        row = {place: entries[i % len(entries)] for place, entries in lists.items()}
        faults += _check_together(row, channels)
        name = row.pop(CASE)
        stems = {
            place: re.sub(f"({'|'.join(map(re.escape, ENDINGS))})$", "", text) for place, text in row.items()
        }
        mask, label = stems.pop(MASK, ""), stems.pop(LABEL)
        layouts.append(Layout(tuple(stems.values()), label, mask, name))
    return tuple(layouts), list(dict.fromkeys(faults))


def _check_pattern(text: Any) -> list[str]:
    """What is wrong with the pattern of a file's path."""
    if not isinstance(text, str):
        return [f"expected a file pattern such as '{{case}}/{{case}}_t1.nii.gz', found {text!r}"]
    faults = _check_words(text)
    if not text.endswith(ENDINGS):
        faults.append(f"expected a pattern that ends in {' or '.join(ENDINGS)}, found '{text}'")
    if "\\" in text or any(not part or part.startswith(".") for part in text.split("/")):
        faults.append(f"expected a path below the study's folder, without hidden parts, found '{text}'")
    return faults


def _check_name(text: Any) -> list[str]:
    """What is wrong with the pattern of a case's name."""
    if not isinstance(text, str) or not words(text) or "/" in text or ":" in text:
        return [
            f"expected words in braces that the patterns have, such as '{{site}}_{{case}}', found {text!r}"
        ]
    return _check_words(text)


def _check_words(text: str) -> list[str]:
    odd = set("{}") & set(re.sub(_WORD, "", text))
    return [f"expected braces around single words, found '{text}'"] if odd else []


def _check_together(row: Mapping[Place, str], channels: Sequence[int]) -> list[Fault]:
    """The patterns of a layout have to tell the files of a case apart, and to say the same of it."""
    faults: list[Fault] = []
    seen: dict[tuple[str, int], Place] = {}
    files = [place for place in row if place not in (LABEL, MASK, CASE)]
    channel_of = dict(zip(files, channels, strict=False))
    for place in files:
        other = seen.setdefault((row[place], channel_of.get(place, 0)), place)
        if other != place:
            faults.append((place, f"the same file as {other[1]}, expected another"))
    if row[LABEL] in [row[place] for place in files]:
        faults.append((LABEL, f"the same file as a modality, '{row[LABEL]}', expected another"))
    if row.get(MASK) in [row[place] for place in (*files, LABEL)]:
        faults.append((MASK, f"the same file as another, '{row[MASK]}', expected one of its own"))
    for place in (place for place in row if place != CASE):
        if words(row[place]).keys() != words(row[LABEL]).keys():
            faults.append((place, f"expected the words in braces that label has, found '{row[place]}'"))
        if lacking := words(row[CASE]).keys() - words(row[place]).keys():
            named = ", ".join(f"{{{word}}}" for word in sorted(lacking))
            faults.append((place, f"expected {named} in the pattern, found '{row[place]}'"))
    return faults
