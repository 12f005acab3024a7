"""The patterns of paths in a `Layout`: which names fit them, and what their words in braces stand for.

    fits("{case}_{when:a|b}", "p7_b", {})           # {"case": "p7", "when": "b"}
    filled("{site}_{case}", {"site": "Bern", "case": "p7"})

Names are compared in Unicode's composed form (`nfc`): to a file system "ü" may be one letter or two.
"""

import re

from datasets.vocabulary import Layout, nfc

PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]*))?\}")

Columns = dict[str, str]
"""What words in braces stand for."""


def words(pattern: str) -> dict[str, list[str]]:
    """Return the words in braces, each with the values that it can have, where they are listed."""
    return {word: values.split("|") if values else [] for word, values in PLACEHOLDER.findall(pattern)}


def fits(pattern: str, name: str, columns: Columns) -> Columns | None:
    """Match a name with one part of a pattern: what its words stand for, None if it does not fit.

    `columns`: what words stand for already.
    """
    text, last, seen = "", 0, set()
    for word in PLACEHOLDER.finditer(pattern):
        key, values = word.groups()
        text += re.escape(pattern[last : word.start()])
        if key in columns:
            text += re.escape(columns[key])
        elif key in seen:
            text += f"(?P={key})"
        else:
            allowed = "|".join(map(re.escape, values.split("|"))) if values else ".+?"
            text += f"(?P<{key}>{allowed})"
            seen.add(key)
        last = word.end()
    match = re.fullmatch(text + re.escape(pattern[last:]), nfc(name))
    return match.groupdict() if match else None


def filled(pattern: str, columns: Columns) -> str:
    """Return the pattern with each word in braces replaced by what it stands for."""
    return PLACEHOLDER.sub(lambda word: columns[word[1]], pattern)


def layout_text(layout: Layout) -> str:
    """Return how the files of a layout must lie, such as ``<case>/<case>_{flair,t1,seg}.nii.gz``."""
    patterns = list(dict.fromkeys(PLACEHOLDER.sub(_readable, p) for p in (*layout.files, layout.label)))
    first, last = min(patterns), max(patterns)
    alike = next((i for i, letter in enumerate(first) if last[i : i + 1] != letter), len(first))
    shared = re.sub(r"[^/>_-]*$", "", first[:alike])
    return f"{shared}{{{','.join(pattern[len(shared) :] for pattern in patterns)}}}.nii.gz"


def _readable(word: re.Match[str]) -> str:
    return f"{{{word[2].replace('|', ',')}}}" if word[2] else f"<{word[1]}>"
