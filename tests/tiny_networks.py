"""Options that make each backbone so small that every test may train it: ``tiny("rfnet")``."""

from typing import Any

LESS: dict[str, dict[str, Any]] = {"m3ae": {"image": (40, 24, 3)}}
"""What beside `width` makes a network small."""


def tiny(name: str, width: int = 2) -> dict[str, Any]:
    """Return the options of backbone `name`."""
    return {"width": width, **LESS.get(name, {})}
