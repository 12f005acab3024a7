"""What of a run is known to be on a server: ``Uploaded.of(folder)``, the file `wandb/uploaded.json`.

Imports neither wandb nor anything else that is slow.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.folder import VALIDATED, RunFolder

FOLDER = "wandb"
"""Where in a run folder W&B's files lie."""
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Uploaded:
    """What a server is known to have of a run.

    Attributes:
        address: the server and project.
        epochs: how many epochs.
        results: of how many tests, or validations of a trial, it has what is logged at the end.
        weights: whether it has the weights.
    """

    address: str = ""
    epochs: int = 0
    results: int = 0
    weights: bool = False

    @classmethod
    def of(cls, folder: Path) -> "Uploaded":
        """Read the file; nothing is uploaded where there is none or it is damaged."""
        try:
            return cls(**json.loads((folder / FOLDER / "uploaded.json").read_text()))
        except (OSError, ValueError, TypeError):
            return cls()

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
        return (
            self.address != wanted.address
            or self.epochs < wanted.epochs
            or self.results < wanted.results
            or (wanted.weights and not self.weights)
        )


def waiting_text(folders: Iterable[RunFolder]) -> str:
    """Say how many tracked runs are not wholly uploaded and how that is done; empty where there are none."""
    left = [folder for folder in folders if _waits(folder)]
    return f"{len(left)} tracked offline, upload with: {command(left[0].path)}" if left else ""


def command(run_folder: Path) -> str:
    """Return the command that uploads what waits in the run's grid."""
    grid = run_folder.parent
    where = "" if str(grid.parent) == "runs" else f" --runs {grid.parent}"
    return f"bench sync --grid {grid.name}{where}"


def _waits(folder: RunFolder) -> bool:
    there = Uploaded.of(folder.path)
    tracked = (folder.path / FOLDER).exists() and folder.state() != "running"
    return tracked and there.lacks(Uploaded.all_of(folder, there.address))
