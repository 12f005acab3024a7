import json
import os
import socket

import pytest

from bench_errors import InputError
from bench_lease import LeaseLost
from benchmark.run_folder.files import write_atomically
from benchmark.run_folder.folder import RunFolder


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
    folder.mark_trained()
    assert (folder.state(), folder.reason()) == ("done", "")
    folder.test("first").begin({"test": {}})
    folder.test("second").begin({"test": {}})
    folder.test("first").mark_done()
    states = [folder.state(test) for test in (None, "first", "second")]
    assert states == ["partial", "done", "partial"]
    folder.test("second").mark_done()
    assert folder.state() == "done"


def test_an_evaluation_is_no_test_of_the_run(folder):
    folder.mark_trained()
    own, elsewhere, begun = (folder.test(name) for name in ("own", "on-elsewhere", "on-third"))
    own.begin({"test": {}})
    for test in (elsewhere, begun):
        test.begin({"test": {}, "evaluated": {}})
    for test in (own, elsewhere):
        test.cases.write_text("case\n")
        test.mark_done()
    assert folder.own_tests() == [own]
    assert [folder.state(), folder.state("on-third")] == ["done", "partial"]
    with folder.lease() as mine:
        assert mine
        folder.forget_results(tests_alone=True)
        assert [own.done, own.cases.exists()] == [False, False]
        assert [elsewhere.done, elsewhere.cases.exists()] == [True, True]
        folder.forget_results()  # the weights that were evaluated are gone too
        assert [elsewhere.done, elsewhere.cases.exists()] == [False, False]


def test_a_test_with_damaged_settings_counts(folder):
    folder.mark_trained()
    test = folder.test("first")
    test.begin({"test": {}, "evaluated": {}})
    (test.path / "test.yaml").write_text("[")
    assert folder.state() == "partial"
    assert folder.own_tests() == [test]


def test_nothing_is_written_once_the_lease_is_lost(folder):
    folder.append_log({"epoch": 0})
    with folder.lease() as mine:
        assert mine
        folder.append_log({"epoch": 1})
        (token,) = (folder.path / "holder").iterdir()
        token.unlink()  # as another process does that takes it over
        before = contents(folder.path)
        for write in (
            lambda: folder.append_log({"epoch": 2}),
            lambda: folder.truncate_log(0),
            lambda: write_atomically(folder.path / "checkpoint.pt", b"old"),
            lambda: folder.note_session("failed"),
            lambda: folder.mark_failed("too slow"),
            folder.mark_trained,
            lambda: folder.test("a").begin({}),
        ):
            with pytest.raises(LeaseLost):
                write()
        assert contents(folder.path) == before


def test_sessions_say_who_has_worked_on_the_run(folder):
    folder.note_session("begun")
    folder.note_session("done")
    lines = [json.loads(line) for line in (folder.path / "sessions.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begun", "done"]
    assert {(line["host"], line["pid"]) for line in lines} == {(socket.gethostname(), os.getpid())}


def test_each_session_says_where_it_computed(folder):
    assert folder.environments() == []
    for commit in ("a", "a", "b"):
        folder.note_session("begun", environment={"commit": commit})
        folder.note_session("done")
    assert folder.environments() == [{"commit": "a"}, {"commit": "b"}]


def test_damaged_records_are_named(folder):
    (folder.path / "failed").write_text("")
    assert "not to be read" in folder.reason()
    (folder.path / "config.yaml").write_text("[")
    with pytest.raises(InputError, match=r"config\.yaml is damaged"):
        folder.config()
    (folder.path / "log.jsonl").write_text("{\n{}\n")
    with pytest.raises(InputError, match=r"log\.jsonl is damaged"):
        folder.log()


def contents(path):
    return {p: p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_log_without_its_torn_last_line(folder):
    folder.append_log({"epoch": 0})
    folder.append_log({"epoch": 1})
    with (folder.path / "log.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert [line["epoch"] for line in folder.log()] == [0, 1]
    folder.truncate_log(1)
    assert (folder.path / "log.jsonl").read_text() == '{"epoch": 0}\n'


def test_a_line_after_one_that_was_cut_off_is_whole(folder):
    folder.append_log({"epoch": 0})
    with (folder.path / "log.jsonl").open("a") as file:
        file.write('{"epo')
    folder.append_log({"epoch": 1})
    assert folder.log() == [{"epoch": 0}, {"epoch": 1}]


def test_an_empty_reason_is_no_traceback(folder):
    (folder.path / "failed").write_text("")
    assert folder.state() == "failed"
    assert "see output.txt" in folder.reason()


def test_atomic_write_leaves_no_temporary_file(tmp_path):
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"22")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"22"


def test_unwritable_place_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another place with --runs"):
        RunFolder(tmp_path / "file" / "run").write_config({})
