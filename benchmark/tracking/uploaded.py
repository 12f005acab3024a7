"""What of a run is known to be on a server: ``Uploaded.of(folder)``, the file `wandb/uploaded.json`.

Imports neither wandb nor anything else that is slow.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.folder import VALIDATED, WEIGHTS, RunFolder, grid_options

FOLDER = "wandb"
"""Where in a run folder W&B's files lie."""


@dataclass(frozen=True)
class Uploaded:
    """What a server is known to have of a run.

    Attributes:
        address: the server and project.
        epochs: how many epochs.
        results: of how many tests, or validations of a trial, it has what is logged at the end.
        weights: whether it has the weights.
        offline: why the run was last tracked offline, or not to its end; empty where it was.
    """

    address: str = ""
    epochs: int = 0
    results: int = 0
    weights: bool = False
    offline: str = ""

    @classmethod
    def of(cls, folder: Path) -> "Uploaded":
        """Read the file; nothing is uploaded where there is none or it is damaged."""
        try:
            return cls(**json.loads((folder / FOLDER / "uploaded.json").read_text()))
        except (OSError, ValueError, TypeError):
            return cls()

    @classmethod
    def note(cls, folder: Path, reason: str) -> None:
        """Keep why a run is not online, for `waiting_text`."""
        replace(cls.of(folder), offline=reason).save(folder)

    @classmethod
    def all_of(cls, folder: RunFolder, address: str) -> "Uploaded":
        """Return all that a run folder has by now.

        Weights count if they are asked for in W&B's own way, `WANDB_LOG_MODEL=end`.
        """
        asked = os.environ.get("WANDB_LOG_MODEL", "").lower() in ("end", "checkpoint", "true")
        return cls(
            address,
            folder.epochs(),
            sum(test.done for test in folder.tests()) + (folder.path / VALIDATED).exists(),
            asked and (folder.path / WEIGHTS).exists(),
        )

    def save(self, folder: Path) -> None:
        """Write the file."""
        (folder / FOLDER).mkdir(exist_ok=True)
        write_atomically(folder / FOLDER / "uploaded.json", json.dumps(asdict(self)).encode())

    def lacks(self, wanted: "Uploaded") -> bool:
        """Say whether the server lacks any of `wanted`, or is another one."""
        counts = ("epochs", "results", "weights")
        return self.address != wanted.address or any(getattr(self, n) < getattr(wanted, n) for n in counts)


def waiting_text(folders: Iterable[RunFolder]) -> str:
    """Say how many tracked runs are not wholly uploaded, why, and how that is done; empty where all are."""
    left = {folder: there for folder in folders if (there := _waits(folder))}
    if not left:
        return ""
    why = "; ".join(dict.fromkeys(there.offline for there in left.values() if there.offline))
    several = f"{len(left)} tracked offline" + (f" ({why})" if why else "")
    return f"{several}, upload with: {command(next(iter(left)).path)}"


def command(run_folder: Path) -> str:
    """Return the command that uploads what waits in the run's grid."""
    return f"bench sync {grid_options(run_folder)}"


def _waits(folder: RunFolder) -> Uploaded | None:
    """Return what the server has of a tracked run, if that is not all."""
    there = Uploaded.of(folder.path)
    tracked = (folder.path / FOLDER).exists() and folder.state() != "running"
    return there if tracked and there.lacks(Uploaded.all_of(folder, there.address)) else None
