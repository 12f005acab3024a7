"""`bench export`: one file that holds a run, with the same bytes each time."""

import os
import tarfile
from pathlib import Path

import pytest
from recorded_runs import record

from bench_errors import InputError
from benchmark.models.archive import FILES, archive_path, export_run


@pytest.fixture
def run(tmp_path):
    folder = record(tmp_path / "runs" / "small", "passion")
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "output.txt", "sessions.jsonl", ".x.partial"):
        (folder.path / name).write_bytes(b"its own machine's")
    return folder


def test_it_holds_what_is_shared_and_equal_runs_give_equal_bytes(tmp_path, run):
    out = export_run(run.path.name, tmp_path / "runs", tmp_path / "a.tar.gz")
    with tarfile.open(out) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    unpacked = tmp_path / "there" / "small" / run.path.name
    shared = {name for name in FILES if (run.path / name).exists()}
    assert {p.name for p in unpacked.iterdir()} == shared
    assert {"config.yaml", "environment.json", "log.jsonl", "cases.csv", "done"} <= shared
    assert all((unpacked / name).read_bytes() == (run.path / name).read_bytes() for name in shared)
    for path in run.path.iterdir():
        os.utime(path, (0, 0))
        path.chmod(0o600)
    assert export_run(str(run.path), tmp_path, tmp_path / "b.tar.gz").read_bytes() == out.read_bytes()
    assert export_run(str(unpacked), tmp_path, tmp_path / "c.tar.gz").read_bytes() == out.read_bytes()


def test_it_is_named_as_the_run(tmp_path, run, monkeypatch):
    monkeypatch.chdir(run.path)
    assert archive_path(".", tmp_path) == Path(f"{run.path.name}.tar.gz")


def test_an_unfinished_run_only_if_asked(tmp_path):
    run = record(tmp_path / "runs" / "small", "passion", state="partial")
    with pytest.raises(
        InputError, match="is partial, not done: finish it with bench run, or give --unfinished"
    ):
        export_run(str(run.path), tmp_path, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()
    export_run(str(run.path), tmp_path, tmp_path / "a.tar.gz", unfinished=True)
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert f"small/{run.path.name}/log.jsonl" in archive.getnames()


@pytest.mark.parametrize(
    ("out", "message"),
    [("a.zip", "expected a name that ends in .tar.gz"), ("no/a.tar.gz", "cannot be written")],
)
def test_bad_places(tmp_path, run, out, message):
    with pytest.raises(InputError, match=message):
        export_run(str(run.path), tmp_path, tmp_path / out)
