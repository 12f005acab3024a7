"""Archives that anybody may have made: what is no run as bench packs it is refused, and writes nothing."""

import gzip
import io
import json
import tarfile

import pytest
from recorded_runs import record

from benchmark.board import unpack as unpacking
from benchmark.board.rules import BrokenRule
from benchmark.board.unpack import unpack
from benchmark.models.archive import MANIFEST, export_run

ROOT = "grid/run"


@pytest.fixture
def archive(tmp_path):
    record(tmp_path / "runs" / "small", "passion")
    return export_run("small", tmp_path / "runs", tmp_path / "run.tar.gz")


def packed(path, members):
    """An archive of members: a `TarInfo` or name, and its content."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def special(name, kind, target="/etc/passwd"):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def test_a_whole_one_is_a_run_folder(tmp_path, archive):
    folder, hashes = unpack(archive, tmp_path / "there")
    assert folder.state() == "done"
    assert folder.path.parent.parent == tmp_path / "there"
    assert json.loads((folder.path / MANIFEST).read_text()) == hashes
    assert "config.yaml" in hashes


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../config.yaml", b"")], "is no file that bench export writes"),
        ([("/etc/run/config.yaml", b"")], "is no file that bench export writes"),
        ([(f"{ROOT}/../../config.yaml", b"")], "is no file that bench export writes"),
        ([("a\\..\\b/run/config.yaml", b"")], "is no file that bench export writes"),
        ([(special(f"{ROOT}/config.yaml", tarfile.SYMTYPE), b"")], "is no plain file"),
        ([(special(f"{ROOT}/config.yaml", tarfile.LNKTYPE), b"")], "is no plain file"),
        ([(special(f"{ROOT}/tests", tarfile.DIRTYPE), b"")], "is no plain file"),
        ([(special(f"{ROOT}/log.jsonl", tarfile.FIFOTYPE), b"")], "is no plain file"),
        ([(special(f"{ROOT}/log.jsonl", tarfile.CHRTYPE), b"")], "is no plain file"),
        ([(f"{ROOT}/setup.py", b"")], "is no file that bench export writes"),
        ([(f"{ROOT}/tests/a/b/cases.csv", b"")], "is no file that bench export writes"),
        ([("config.yaml", b"")], "is no file that bench export writes"),
        ([(f"{ROOT}/config.yaml", b""), (f"{ROOT}/config.yaml", b"")], "is there twice"),
        (
            [(f"{ROOT}/config.yaml", b""), ("grid/other/config.yaml", b"")],
            "it holds more than one run folder",
        ),
        ([(f"{ROOT}/config.yaml", b"")], "it has no manifest"),
        (
            [(f"{ROOT}/config.yaml", b"a"), (f"{ROOT}/{MANIFEST}", b'{"config.yaml": "0"}')],
            "not what",
        ),
        ([(f"{ROOT}/{MANIFEST}", b'{"done": "0"}')], "done is not what the manifest says"),
        ([(f"{ROOT}/{MANIFEST}", b"[1]")], "it cannot be read"),
        ([], "it has no manifest"),
    ],
)
def test_anything_else_is_refused(tmp_path, members, said):
    place = tmp_path / "deep" / "place"
    place.mkdir(parents=True)
    with pytest.raises(BrokenRule) as refused:
        unpack(packed(tmp_path / "bad.tar.gz", members), place)
    assert refused.value.rule == "archive"
    assert said in str(refused.value)
    outside = {path for path in tmp_path.rglob("*") if not path.is_relative_to(place)}
    assert outside == {tmp_path / "bad.tar.gz", tmp_path / "deep"}


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\3\4", gzip.compress(b"no tar"), gzip.compress(b"\0" * 300)],
    ids=["empty", "zip", "no tar", "an empty tar"],  # the bytes have the time in them
)
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "bad.tar.gz").write_bytes(content)
    with pytest.raises(BrokenRule, match=r"'archive' is broken: .*(is no whole \.tar\.gz|has no manifest)"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "place")


def test_a_cut_one_is_refused(tmp_path, archive):
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(BrokenRule, match=r"run.tar.gz is no whole .tar.gz"):
        unpack(archive, tmp_path / "place")


def test_what_follows_the_files_is_refused(tmp_path, archive):
    whole = gzip.decompress(archive.read_bytes())
    for more in (b"x" * 10, b"\0" * 100_000):
        archive.write_bytes(gzip.compress(whole + more))
        with pytest.raises(BrokenRule, match="something follows its files"):
            unpack(archive, tmp_path / f"place{len(more)}")


def header(name, size, kind=tarfile.REGTYPE):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def test_no_more_is_unpacked_than_it_may_hold(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.tar.gz"
    for content, said in (
        (header(f"{ROOT}/log.jsonl", 1 << 40), "expected 67108864 at most"),
        (header("x", 1 << 40, tarfile.XHDTYPE), "a header of"),
        (header("x", 1 << 40, tarfile.GNUTYPE_LONGNAME), "a header of"),
    ):
        bomb.write_bytes(gzip.compress(content + b"\0" * 5000))
        with pytest.raises(BrokenRule, match=said):
            unpack(bomb, tmp_path / "place")
    monkeypatch.setattr(unpacking, "ALL", 10_000)
    packed(bomb, [(f"{ROOT}/tests/a/examples.npz", b"\0" * 6000), (f"{ROOT}/log.jsonl", b"\0" * 6000)])
    with pytest.raises(BrokenRule, match=r"holds more than|more bytes than it may hold"):
        unpack(bomb, tmp_path / "other")
    monkeypatch.setattr(unpacking, "MANY", 1)
    packed(bomb, [(f"{ROOT}/done", b""), (f"{ROOT}/failed", b"")])
    with pytest.raises(BrokenRule, match="more than 1 files"):
        unpack(bomb, tmp_path / "third")
