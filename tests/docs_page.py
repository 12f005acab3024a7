"""The code blocks of a page under docs/, so that what a user copies is what is tested."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def block(page: str, language: str) -> str:
    """Return the page's first block of a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no block of {language}"
    return found[1]
