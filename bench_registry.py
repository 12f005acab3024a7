"""Names to things, resolved on first use.

    BACKBONES = Registry("backbone", {"rfnet": "backbones.rfnet:RFNet"})
    BACKBONES.get("rfnet")


A leaf that every room may import; it imports nothing heavy, so names can be listed without torch.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from bench_errors import InputError


class Registry:
    """Maps a name to ``"module:attribute"`` and imports the module when the name is first asked for."""

    def __init__(self, kind: str, entries: Mapping[str, str]):
        self.kind = kind
        self._entries = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def check(self, name: str) -> str:
        """Return `name` if it is known; raise `InputError` naming the nearest entries if it is not."""
        if name not in self._entries:
            raise InputError(unknown(self.kind, name, list(self._entries)))
        return name

    def get(self, name: str) -> Any:
        """Import and return what `name` stands for; raise `InputError` for an unknown name."""
        module, attribute = self._entries[self.check(name)].split(":")
        return getattr(import_module(module), attribute)


def unknown(kind: str, name: str, known: list[str]) -> str:
    """Say that `name` is no `kind`, with the nearest of the `known` names and the list of all."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} '{name}': {hint}known are {', '.join(known)}"
