"""Make `docs/example-report`: ``.venv/bin/python docs/make_example_report.py``.

Runs the grid `docs/example.yaml` (into `runs/`, where only what is missing is done), puts the small files of
its run folders beside the report, so that the report's links lead somewhere, and writes the report.
"""

import shutil
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.config.grid import load_grid
from benchmark.launch.execute_grid import Launch, execute_grid
from benchmark.models.archive import export_run
from benchmark.report.write import write_report
from benchmark.run_folder.folder import run_folders

DOCS = Path(__file__).parent
REPORT = DOCS / "example-report"
RUNS = DOCS.parent / "runs"


def main() -> None:
    """Run the grid and replace the report; exit with 1 where a run failed."""
    grid = load_grid(str(DOCS / "example.yaml"))
    if execute_grid(grid, RUNS, {}, Launch("cpu", track=False)):
        sys.exit(1)
    shutil.rmtree(REPORT, ignore_errors=True)
    copies = REPORT / "runs"
    for run in run_folders(RUNS / grid.name):
        with TemporaryDirectory() as folder:
            archive = export_run(str(run.path), RUNS, Path(folder) / "run.tar.gz")
            with tarfile.open(archive) as shared:
                small = [file for file in shared if not file.name.endswith("weights.safetensors")]
                shared.extractall(copies, small, filter="data")
    write_report([copies / grid.name], REPORT, formats=["png"])
    size = sum(path.stat().st_size for path in REPORT.rglob("*") if path.is_file())
    print(f"wrote {REPORT} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
