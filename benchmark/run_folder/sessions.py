"""What the sessions of a run say together: ``hardware(folder.environments())``.

A run that began on one machine and ended on another has two environments, and says both.
"""

from collections.abc import Callable, Sequence
from typing import Any

Environment = dict[str, Any]
"""What `training.provenance.environment` returns."""


def commits(environments: Sequence[Environment]) -> str:
    """The commits that it ran at, marked where the code had been changed since; of a wheel the version."""
    return _each(environments, _commit)


def _commit(environment: Environment) -> str:
    if not environment.get("commit"):
        return f"of version {environment['version']}" if "version" in environment else "unknown"
    return environment["commit"] + (" (modified)" if environment.get("dirty") else "")


def hardware(environments: Sequence[Environment]) -> str:
    """What it ran on: the GPU, or the processor's name."""
    return _each(
        environments, lambda e: str(e.get("cpu" if e.get("device") == "cpu" else "device") or "unknown")
    )


def precisions(environments: Sequence[Environment]) -> str:
    """The precision as it was computed."""
    return _each(environments, lambda e: str(e.get("precision", "unknown")))


def _each(environments: Sequence[Environment], say: Callable[[Environment], str]) -> str:
    """What each environment says, equal words once, in their order."""
    return ", then ".join(dict.fromkeys(map(say, environments))) or "unknown"
