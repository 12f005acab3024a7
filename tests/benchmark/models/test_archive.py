"""`bench export`: one file that holds a run, with the same bytes each time."""

import json
import os
import socket
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from lone_test_folder import single_test
from recorded_runs import record

from bench_errors import InputError
from benchmark.models.archive import FILES, MANIFEST, archive_path, export_run
from benchmark.run_folder.folder import RunFolder


@pytest.fixture
def run(tmp_path):
    folder = record(tmp_path / "runs" / "small", "passion")
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "output.txt", ".x.partial"):
        (folder.path / name).write_bytes(b"its own machine's")
    return folder


def test_it_holds_what_is_shared_and_equal_runs_give_equal_bytes(tmp_path, run):
    out = export_run(run.path.name, tmp_path / "runs", tmp_path / "a.tar.gz")
    with tarfile.open(out) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    unpacked = tmp_path / "there" / "small" / run.path.name
    shared = {path.relative_to(run.path) for pattern in FILES for path in run.path.glob(pattern)}
    assert {p.relative_to(unpacked) for p in unpacked.rglob("*") if p.is_file()} == {*shared, Path(MANIFEST)}
    manifest = json.loads((unpacked / MANIFEST).read_text())
    assert manifest == {str(p): sha256((unpacked / p).read_bytes()).hexdigest() for p in shared}
    assert {"config.yaml", "sessions.jsonl", "log.jsonl", "cases.csv", "done"} <= {p.name for p in shared}
    same = {path for path in shared if path.name != "sessions.jsonl"}
    assert all((unpacked / path).read_bytes() == (run.path / path).read_bytes() for path in same)
    assert RunFolder(unpacked).environments() == run.environments()
    assert socket.gethostname() not in (unpacked / "sessions.jsonl").read_text()
    for path in run.path.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700 if path.is_dir() else 0o600)
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


def test_a_damaged_run_is_not_shared(tmp_path, run):
    cases = single_test(run) / "cases.csv"
    cases.write_bytes(cases.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"cases.csv is damaged"):
        export_run(str(run.path), tmp_path, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [("a.zip", "expected a name that ends in .tar.gz"), ("no/a.tar.gz", "cannot be written")],
)
def test_bad_places(tmp_path, run, out, message):
    with pytest.raises(InputError, match=message):
        export_run(str(run.path), tmp_path, tmp_path / out)
