"""One test of a training: the folder `tests/NAME` in its run folder.

    test = TestFolder(run.path / TESTS / "passion-1a2b3c4d")
    test.done, test.cases               # whether it is whole; the path of its `cases.csv`

`test.yaml` says what is tested and how, `cases.csv` holds a row per case, subset, region and metric,
`examples.npz` slices with predictions; `done` stands there when all is written. A training has any number of
tests, and none of them trains it again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_errors import InputError
from benchmark.run_folder.files import read_yaml, write_atomically, write_yaml

TESTS = "tests"
"""The folder of all tests in a run folder."""
SETTINGS = "test.yaml"
PREDICTIONS = "predictions"
"""The folder of a test's class maps, a file a case, where they are kept to be shared."""


@dataclass(frozen=True)
class TestFolder:
    """The folder of one test; nothing is kept in memory."""

    __test__ = False  # a folder, not a test class

    path: Path

    @property
    def done(self) -> bool:
        """Whether every case is scored."""
        return (self.path / "done").exists()

    @property
    def cases(self) -> Path:
        """The file of its scores."""
        return self.path / "cases.csv"

    def settings(self) -> dict[str, Any]:
        """Return the content of `test.yaml`; raise `InputError` where it is damaged."""
        return read_yaml(self.path / SETTINGS)

    @property
    def own(self) -> bool:
        """Whether it is on the run's own data, not one of `bench evaluate`; a damaged one counts as such."""
        try:
            return "evaluated" not in self.settings()
        except InputError:
            return True

    def begin(self, settings: dict[str, Any]) -> None:
        """Write `test.yaml`, unless the test has begun before."""
        if not (self.path / SETTINGS).exists():
            write_yaml(self.path / SETTINGS, settings)

    def mark_done(self) -> None:
        """Say that every case is scored."""
        write_atomically(self.path / "done", b"")


def tests_of(run: Path) -> list[TestFolder]:
    """The tests in a run folder, sorted by name."""
    return [TestFolder(path.parent) for path in sorted(run.glob(f"{TESTS}/*/{SETTINGS}"))]
