"""Several `bench run` of one grid at the same time: every run is done, and none twice at once."""

import json
import subprocess
import sys

import pytest
import yaml

from benchmark.run_folder.folder import run_folders


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("at-once")
    content = {
        "axes": {"seed": [1, 2, 3]},
        "base": {
            "profile": "ir2468",
            "objective": "baseline",
            "backbone": {"width": 2},
            "train": {"epochs": 1, "crop": 32},
        },
        "data": {"phantom": {"cases": 6, "size": 32, "seed": 0}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    return folder


def sessions(folder):
    return [json.loads(line) for line in (folder.path / "sessions.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_four_launchers_share_a_grid(place):
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "run",
        "--grid",
        place / "tiny.yaml",
        "--runs",
        place,
    ]
    command += ["--device", "cpu", "--workers", "1", "--no-track"]
    launchers = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) for _ in range(4)
    ]
    said = [launcher.communicate()[1] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0] * 4, said
    assert all("3 done of grid tiny" in text for text in said)
    assert sum("making the phantom study" in text for text in said) == 1
    folders = run_folders(place / "tiny")
    assert [folder.state() for folder in folders] == ["done"] * 3
    for folder in folders:
        # One session each, ended by the process that began it: nothing was begun twice, let alone at once.
        begun, computing, done = sessions(folder)
        events = [session["event"] for session in (begun, computing, done)]
        assert events == ["begun", "computing", "done"]
        assert begun["pid"] == computing["pid"] == done["pid"]
        assert len(folder.log()) == 1
        assert not (folder.path / "holder").exists()
    assert len({session["pid"] for folder in folders for session in sessions(folder)}) == 3
