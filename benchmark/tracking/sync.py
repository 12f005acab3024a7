"""``bench sync``: upload what a grid's runs logged without a server, once.

It is the run folders that are uploaded, not W&B's offline files: these start at step 0 each time, so those
of a run that was cut off would overwrite one another. The server says which epochs it has
and gets the others.
"""

import tempfile
from pathlib import Path

from bench_console import output
from bench_errors import InputError
from benchmark.report.tables.captions import counted
from benchmark.run_folder.folder import RunFolder, run_folders
from benchmark.tracking import server
from benchmark.tracking.tracker import FAILED, Tracker, in_one_line
from benchmark.tracking.uploaded import Uploaded

LIMITS = {"WANDB_INIT_TIMEOUT": 30, "WANDB_FINISH_TIMEOUT": 600, "WANDB_HTTP_TIMEOUT": 20}
"""More patience than a run has, see `benchmark.tracking.tracker.LIMITS`."""


def sync_grid(grid_folder: Path) -> int:
    """Upload what the server lacks of each run and print a line for it; return how many runs went wrong.

    A run that is being executed is left out. Raises `InputError` where there are no runs, no key, or no
    server that answers.
    """
    folders = run_folders(grid_folder)
    if not folders:
        raise InputError(
            f"no runs at {grid_folder}: start them with 'bench run', given the grid's name or file, or say "
            "with --runs where they are"
        )
    console = output()
    wrong = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        try:
            settings = server.settings_for(Path(scratch), LIMITS)
        except ValueError as error:
            raise InputError(f"{in_one_line(error)}: correct W&B's variables (WANDB_...)") from None
        for i, folder in enumerate(folders):
            if reason := server.why_offline(settings):
                raise InputError(f"{reason}: {counted(len(folders) - i, 'run')} can not be uploaded now")
            try:
                said = _sync(folder, server.address(settings), Path(scratch))
            except Exception as error:  # the trouble of one run need not be that of the next
                said = f"not uploaded ({in_one_line(error)})"
                wrong += 1
            console.print(f"{folder.path.name}: {said}", soft_wrap=True)
    return wrong


def _sync(folder: RunFolder, address: str, scratch: Path) -> str:
    """Upload one run; return what became of it. Raises whatever went wrong."""
    if folder.state() == "running":
        return "is running, left for later"
    wanted = Uploaded.all_of(folder, address)
    if not wanted.epochs:
        return "has nothing to upload yet"
    if not Uploaded.of(folder.path).lacks(wanted):
        return "was uploaded before"
    run = server.open_run(folder.path, folder.config(), "online", scratch)
    tracker = Tracker(run, folder, address)
    for line in folder.log():
        tracker.log_epoch(line)
    tracker.finish(FAILED if folder.state() == "failed" else 0)
    if Uploaded.of(folder.path).lacks(wanted):
        raise RuntimeError("the server did not take all of it, call again")
    return f"uploaded to {run.url}"
