"""What of a run is known to be on a server: ``Uploaded.of(folder)``, the file `wandb/uploaded.json`.

Imports neither wandb nor anything else that is slow.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.record import RunFolder, write_atomically

FOLDER = "wandb"
"""Where in a run folder W&B's files lie."""


@dataclass(frozen=True)
class Uploaded:
    """What a server is known to have of a run.

    Attributes:
        address: the server and project.
        epochs: how many epochs.
        results: whether it has what is logged at the end.
        weights: whether it has the weights.
    """

    address: str = ""
    epochs: int = 0
    results: bool = False
    weights: bool = False

    @classmethod
    def of(cls, folder: Path) -> "Uploaded":
        """Read the file; nothing is uploaded where there is none or it is damaged."""
        try:
            return cls(**json.loads((folder / FOLDER / "uploaded.json").read_text()))
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, folder: Path) -> None:
        """Write the file."""
        (folder / FOLDER).mkdir(exist_ok=True)
        write_atomically(folder / FOLDER / "uploaded.json", json.dumps(asdict(self)).encode())

    def lacks(self, wanted: "Uploaded") -> bool:
        """Say whether the server lacks any of `wanted`, or is another one."""
        return (
            self.address != wanted.address
            or self.epochs < wanted.epochs
            or (wanted.results and not self.results)
            or (wanted.weights and not self.weights)
        )


def waiting(folders: Iterable[RunFolder]) -> list[RunFolder]:
    """Return the finished runs that were tracked and are not wholly uploaded."""
    tracked = [f for f in folders if f.state() == "done" and (f.path / FOLDER).exists()]
    return [f for f in tracked if not Uploaded.of(f.path).results]


def command(run_folder: Path) -> str:
    """Return the command that uploads what waits in the run's grid."""
    grid = run_folder.parent
    where = "" if str(grid.parent) == "runs" else f" --runs {grid.parent}"
    return f"bench sync --grid {grid.name}{where}"
