"""The code blocks and commands of a page under docs/, so that what a user copies is what is tested."""

import re
import shlex
from pathlib import Path

from benchmark.commands.app import app

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Return the page's blocks of a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{page} has no block of {language}"
    return found


def block(page: str, language: str) -> str:
    """Return the page's first block of a language."""
    return blocks(page, language)[0]


def commands(page: str) -> list[list[str]]:
    """Return what follows `bench` in each such line of the page's sh blocks, as a shell would split it."""
    text = "".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line[1:] for line in lines if line and line[0] in ("bench", ".venv/bin/bench")]


def run(arguments: list[str]) -> int:
    """Run `bench` in this process, which spares the import of torch; return its exit code."""
    return app(arguments, standalone_mode=False) or 0
