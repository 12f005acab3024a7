import subprocess
import sys

import pytest

from bench_errors import InputError
from benchmark.record import RunFolder, write_atomically


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run")
    made.write_config({"hash": "abc"})
    return made


def test_states(tmp_path, folder):
    assert RunFolder(tmp_path / "nothing").state() == "absent"
    assert folder.state() == "partial"
    with folder.lease() as mine:
        assert mine
        assert folder.state() == "running"
        with folder.lease() as second:
            assert not second
    folder.mark_failed("disk full")
    assert (folder.state(), folder.reason()) == ("failed", "disk full")
    folder.mark_done()
    assert (folder.state(), folder.reason()) == ("done", "")


def test_lease_of_a_killed_process_is_free(folder):
    code = (
        "import os, signal, sys; from pathlib import Path; from benchmark.record import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lease() as mine:\n"
        "    assert mine; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder.path)], check=False).returncode == -9
    assert folder.state() == "partial"


def test_log_without_its_torn_last_line(folder):
    folder.append_log({"epoch": 0})
    folder.append_log({"epoch": 1})
    with (folder.path / "log.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert [line["epoch"] for line in folder.log()] == [0, 1]
    folder.truncate_log(1)
    assert (folder.path / "log.jsonl").read_text() == '{"epoch": 0}\n'


def test_atomic_write_leaves_no_temporary_file(tmp_path):
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"22")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"22"


def test_unwritable_place_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another place with --runs"):
        RunFolder(tmp_path / "file" / "run").write_config({})
