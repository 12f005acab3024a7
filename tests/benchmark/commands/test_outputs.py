"""No command replaces what it has not written, and its own work only when told to."""

import inspect
import shutil
from contextlib import suppress

import pytest
from bench_program import bench
from nifti_study import write_study
from recorded_runs import record

from bench_errors import InputError
from benchmark.commands.app import COMMANDS, app
from benchmark.commands.outputs import MARKER, check_file, check_outside, output_folder
from datasets.studies.brats import BRATS2020

WRITING = ("out", "csv", "picture")
"""Parameters of commands that say where to write."""


def all_commands():
    groups = {
        f"{g.name} {c.callback.__name__}": c.callback
        for g in app.registered_groups
        for c in g.typer_instance.registered_commands
    }
    return {**COMMANDS, **groups}


def test_every_command_that_writes_asks_before_it_replaces():
    writing = {
        name
        for name, command in all_commands().items()
        if set(WRITING) & set(inspect.signature(command).parameters)
    }
    asking = {name for name in writing if "overwrite" in inspect.signature(all_commands()[name]).parameters}
    # A store is brought up to date by later calls; an imported run replaces nothing.
    assert writing - asking == {"data prepare", "weights import_"}
    assert {"report", "compare", "predict", "export", "profile", "speed", "data phantom"} <= asking


def test_a_folder_of_the_user_is_never_written_into(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("-")
    for overwrite in (False, True):
        with (
            pytest.raises(
                InputError, match="holds files that bench report has not written: give a new folder"
            ),
            output_folder("report", tmp_path / "mine", overwrite),
        ):
            raise AssertionError
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with (
        pytest.raises(InputError, match=r"notes\.txt"),
        output_folder("report", tmp_path / "mine" / "notes.txt" / "x", False),
    ):
        raise AssertionError


def test_a_second_call_has_to_be_told(tmp_path):
    out = tmp_path / "deep" / "out"
    with output_folder("report", out, False):
        (out / "report.md").write_text("first")
    with pytest.raises(InputError, match="add --overwrite"), output_folder("report", out, False):
        raise AssertionError
    with output_folder("report", out, True):
        (out / "report.md").write_text("second")
    with (
        pytest.raises(InputError, match="bench predict has not written"),
        output_folder("predict", out, True),
    ):
        raise AssertionError


def test_a_call_that_fails_leaves_no_folder_behind(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        with pytest.raises(InputError, match="no such run"), output_folder("report", tmp_path / name, False):
            raise InputError("no such run")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []
    # What was cut off in the middle is the command's own.
    with suppress(KeyboardInterrupt), output_folder("report", tmp_path / "cut", False):
        (tmp_path / "cut" / "half").write_text("-")
        raise KeyboardInterrupt
    assert (tmp_path / "cut" / MARKER).read_text() == "report"
    with output_folder("report", tmp_path / "cut", True):
        pass


def test_files(tmp_path):
    file = tmp_path / "a.csv"
    check_file("--csv", file, False)
    file.write_text("mine")
    with pytest.raises(
        InputError, match=r"--csv .*a\.csv is there already: choose another name, or add --over"
    ):
        check_file("--csv", file, False)
    check_file("--csv", file, True)
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(InputError, match="is one of the files that are read"):
        check_file("--out", tmp_path / "link", True, reading=[file])
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is there already"):
        check_file("--out", tmp_path / "lost", False)
    with pytest.raises(InputError, match="is a folder: give the name of a file"):
        check_file("--out", tmp_path, True)


def test_nothing_goes_into_a_study_that_is_read(tmp_path):
    study = tmp_path / "study"
    write_study(study, BRATS2020)
    (tmp_path / "link").symlink_to(study)
    for out in (study, study / "new", tmp_path / "link" / "new", study / ".." / "study" / "imagesTr"):
        with pytest.raises(
            InputError, match=r"lies in .*, which is being read: choose a folder outside of it"
        ):
            check_outside(out, study)
        for command in (
            ["data", "prepare", study, "--dataset", "brats2020"],
            ["predict", "RUN", "--study", study],
        ):
            refused = bench(*command, "--out", out)
            assert (refused.returncode, "which is being read" in refused.stderr) == (2, True)
    check_outside(tmp_path / "study2", study)


def test_the_commands_themselves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = record(tmp_path / "runs" / "small", "passion").path.name
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    for kind, command in {
        "folder": ["data", "phantom", "--cases", 1, "--size", 32, "--out", "study"],
        "file": ["export", one, "--out", "run.tar.gz"],
        "csv": ["compare", one, one, "--csv", "rows.csv"],
        "picture": ["profile", "complete", "--cases", "names.txt", "--picture", "a.png"],
    }.items():
        assert bench(*command).returncode == 0, kind
        refused = bench(*command)
        assert refused.returncode == 2, kind
        (line,) = refused.stderr.splitlines()
        assert "add --overwrite" in line
        assert bench(*command, "--overwrite").returncode == 0, kind
    # Without --out, the archive has the run's name, and is not replaced either.
    assert bench("export", one).returncode == 0
    assert bench("export", one).returncode == 2
    assert bench("speed", "--out", "a.png").returncode == 2
    shutil.copytree("study", "mine")
    (tmp_path / "mine" / MARKER).unlink()
    refused = bench("data", "phantom", "--size", 32, "--out", "mine", "--overwrite")
    assert (refused.returncode, "bench data phantom has not written" in refused.stderr) == (2, True)
    refused = bench("report", "--grid", "small", "--out", "study", "--overwrite")
    assert (refused.returncode, "bench report has not written" in refused.stderr) == (2, True)
