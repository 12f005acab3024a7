"""Trainings of a board: real ones of seconds, handed in, and recorded ones; a helper of the board's tests."""

import json
import shutil
import tarfile
from contextlib import ExitStack
from unittest import mock

import yaml
from bench_program import bench
from recorded_runs import TEST, record

from benchmark.board.entries import RECORD, RUNS
from benchmark.models.archive import FILES, MAPS, _archive
from benchmark.training.run import Execution, execute

GRID = {
    "axes": {"seed": [1, 2, 3]},
    "base": {
        "dataset": "phantom",
        "profile": "ir2468",
        "backbone": {"name": "rfnet", "width": 2},
        "objective": {"name": "baseline"},
        "train": {"epochs": 1, "crop": 32, "lr": 0.002},
    },
    "data": {"phantom": {"cases": 5, "size": 32, "seed": 0}},
}
IDENTITY = {name: f"{name}-hash" for name in ("training", "options", "data", "split", "table", "plugins")}


def launch(jobs, slots, track, console, retries):
    for job in jobs:
        execute(job.folder, Execution(job.store, "cpu", 1, track=False))


def hand_in(place):
    """Train three seeds in `place` as from a clean commit; return their archives and the store's folder.

    The first has its predictions.
    """
    (place / "tiny.yaml").write_text(yaml.safe_dump(GRID))
    with ExitStack() as patches:
        for name, stand_in in (
            ("benchmark.launch.execute_grid.launch_here", launch),
            ("benchmark.training.provenance._commit", lambda: ("c0ffee1234", False)),
        ):
            patches.enter_context(mock.patch(name, stand_in))
        done = bench("run", "--grid", "tiny.yaml", "--device", "cpu", "--no-track", cwd=place)
        assert done.returncode == 0, done.stderr
    for i, run in enumerate(sorted((place / "runs" / "tiny").glob("phantom-*"))):
        done = bench("export", run.name, *([] if i else ["--predictions", "--device", "cpu"]), cwd=place)
        assert done.returncode == 0, done.stderr
    return sorted(place.glob("*.tar.gz")), place / "runs" / "tiny" / "data" / "phantom"


def changed(archive, place, change):
    """The archive with `change(run folder)` made to its content, packed as bench packs it."""
    shutil.rmtree(place, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    (run,) = place.glob("*/*")
    change(run)
    out = place / archive.name
    out.write_bytes(_archive(run, (*FILES, MAPS)))
    return out


def accept(board, objective, seed, strength, recomputed=True, **changes):
    """A training on the board, as if it had been accepted; returns its `RunFolder`."""
    folder = record(board / RUNS, objective, seed, strength, identity=IDENTITY, **changes)
    accepted = {
        "archive": "a" * 64,
        "weights": "b" * 64,
        "recomputed": [TEST] if recomputed else [],
        "time": "2026-11-29T01:02:03+0000",
    }
    (folder.path / RECORD).write_text(json.dumps(accepted))
    return folder
