"""The terminal: ``output().print(table)`` for answers, ``messages().print(text)`` for what goes on.

What is printed is text and never markup, so that a path or a reason may hold brackets. A leaf that every room
may import.
"""

import sys

from rich.console import Console


def output(width: int = 200) -> Console:
    """Return a console on standard output; `width`: in characters where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else width, markup=False, emoji=False, highlight=False)


def messages(width: int | None = None) -> Console:
    """Return a console on standard error; `width`: in characters where it is no terminal."""
    return Console(
        stderr=True, width=None if sys.stderr.isatty() else width, markup=False, emoji=False, highlight=False
    )
