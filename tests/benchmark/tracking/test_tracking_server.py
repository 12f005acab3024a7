"""The real client against a W&B-compatible server on this machine: online, killed half way, synced.

The server is openwandb (CC BY-NC), which is therefore no dependency of ours: the fixture installs it into an
environment of its own; where that fails the tests are skipped.
"""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tracked_runs import (
    ID,
    PATIENT,
    begin,
    environment,
    finished_run,
    track,
    track_report_apart,
    trained_run,
)

from benchmark.tracking.uploaded import Uploaded

pytestmark = pytest.mark.long

OPENWANDB = "openwandb==0.5.0"
KEY = "local0000000000000000000000000000000000000000"
NO_LIMIT = 60.0
"""Seconds that a server may cost a run here, on a busy machine; W&B's own limits would be 100 and none."""


@pytest.fixture(scope="module")
def openwandb(tmp_path_factory):
    place = tmp_path_factory.mktemp("openwandb")
    for command in (
        [sys.executable, "-m", "venv", place / "venv"],
        [place / "venv/bin/python", "-m", "pip", "install", "--quiet", OPENWANDB],
    ):
        if subprocess.run(command, capture_output=True, timeout=600, check=False).returncode:
            pytest.skip(f"{OPENWANDB} cannot be installed here")
    return [place / "venv/bin/python", Path(__file__).parents[1] / "openwandb_server.py"]


class Server:
    """A server with its own data, which can be stopped, killed and started again."""

    def __init__(self, program, folder):
        self._program, self._folder = program, folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.variables = {"WANDB_BASE_URL": f"http://127.0.0.1:{self._port}", "WANDB_API_KEY": KEY}
        self.start()

    def start(self):
        variables = {"DATA_DIR": self._folder / "data", "HOST": "127.0.0.1", "PORT": self._port}
        self._process = subprocess.Popen(
            [*self._program, "serve"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **{f"OPENWANDB_{name}": str(value) for name, value in variables.items()}},
        )
        for _ in range(300):
            try:
                urllib.request.urlopen(self.variables["WANDB_BASE_URL"], timeout=10).close()
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise RuntimeError("the server does not start")

    def hang(self):
        self._process.send_signal(signal.SIGSTOP)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def _ask(self, query):
        with sqlite3.connect(self._folder / "data" / "openwandb.db") as base:
            return base.execute(query).fetchall()

    def epochs(self):
        """The epochs of all lines of losses that have arrived."""
        steps = self._ask("SELECT step FROM metrics WHERE key = 'loss/total' ORDER BY step, id")
        epochs = dict(self._ask("SELECT step, value FROM metrics WHERE key = 'epoch'"))  # of these and later
        return [int(epochs[step]) for (step,) in steps]

    def state(self):
        return self._ask("SELECT state FROM runs")[0][0]

    def summary(self):
        return json.loads(self._ask("SELECT summary_json FROM runs")[0][0])

    def files(self):
        return {name for (name,) in self._ask("SELECT name FROM files")}

    def made(self):
        """The types of what each run has made."""
        made = self._ask("SELECT run_id, artifact_type FROM artifacts WHERE run_id != ''")
        return {run: {kind for one, kind in made if one == run} for run, _ in made}

    def used(self):
        """What each run has used: the run, the name of the artifact, and the run that has made it."""
        query = "SELECT used.run_id, name, artifacts.run_id FROM used JOIN artifacts ON id = artifact"
        return set(self._ask(query))


@pytest.fixture
def server(openwandb, tmp_path):
    (tmp_path / "server").mkdir()
    server = Server(openwandb, tmp_path / "server")
    yield server
    server.kill()


def sync(folder, home, server, **variables):
    command = [sys.executable, "-m", "benchmark", "sync", "--grid", folder.path.parent.name]
    command += ["--runs", folder.path.parent.parent]
    variables = environment(home, **server.variables, **variables)
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=variables, check=False)


def whole(server):
    """Whether the server has every epoch once, the scores, the tables and the pictures."""
    media = [name for name in server.files() if name.startswith("media/")]
    pictures = {"examples/worst", "examples/median", "examples/best", "availability/matrix"}
    return (
        server.epochs() == [0, 1, 2]
        and server.summary()["test/WT/flair+t1ce+t1+t2/dice"] == pytest.approx(0.63)
        and all(any(f"images/{name}" in file for file in media) for name in pictures)
        and all(any(f"table/{name}" in file for file in media) for name in ("test/cases", "availability"))
    )


def test_online_has_everything_and_sync_nothing_to_do(server, tmp_path):
    folder, home = finished_run(tmp_path / "runs" / "tiny"), tmp_path / "home"
    output, warnings = track(folder, home, **PATIENT, **server.variables, WANDB_LOG_MODEL="end")
    assert (output, warnings) == ("tracked\n", [])
    assert whole(server)
    assert server.state() == "finished"
    assert server.made() == {ID: {"model", "run_table", "scores"}}
    assert server.used() == {(ID, "data-phantom", "")}
    assert not list(folder.path.glob("wandb/offline-run-*"))
    again = sync(folder, home, server)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"{folder.path.name}: was uploaded before\n"
    assert whole(server)
    report = track_report_apart(folder.path.parent, tmp_path / "report", home, **PATIENT, **server.variables)
    assert report.startswith("W&B: the report is at http://127.0.0.1")
    assert server.made()["report-tiny"] == {"report", "run_table"}
    assert server.used() == {(ID, "data-phantom", ""), ("report-tiny", f"scores-{ID}", ID)}


def test_a_run_that_was_cut_off_online_goes_on_there(server, tmp_path):
    folder, home = trained_run(tmp_path / "runs" / "tiny"), tmp_path / "home"
    lines = folder.log()
    folder.truncate_log(2)
    track(folder, home, "killed", **PATIENT, **server.variables)
    for line in lines[2:]:
        folder.append_log(line)
    _, warnings = track(folder, home, **PATIENT, **server.variables)
    assert warnings == []
    assert server.epochs() == [0, 1, 2]


@pytest.mark.parametrize("end", ["kill", "hang"])
def test_a_server_that_dies_half_way_costs_seconds_and_sync_mends_it(server, tmp_path, end):
    folder, home = finished_run(tmp_path / "runs" / "tiny"), tmp_path / "home"
    process = begin(folder, home, "asks", WANDB_INIT_TIMEOUT="60", **server.variables)
    assert process.stdout.readline() == "logged\n"
    for _ in range(100):
        if server.epochs() and server.summary().get("epoch") == 2:
            break
        time.sleep(0.2)
    getattr(server, end)()
    began = time.monotonic()
    output, errors = process.communicate("\n", timeout=300)
    print(f"{end}: {time.monotonic() - began:.1f} s from its end to that of the run")
    assert time.monotonic() - began < NO_LIMIT
    assert (process.returncode, output) == (0, "tracked\n")
    assert errors.startswith("W&B: not all is uploaded, do it later with: bench sync --grid tiny --runs")
    assert Uploaded.of(folder.path) == Uploaded()

    absent = sync(folder, home, server)
    assert absent.returncode == 2
    assert "does not answer" in absent.stderr
    server.kill()
    server.start()
    first = sync(folder, home, server)
    assert (first.returncode, first.stderr) == (0, "")
    assert "uploaded to http://127.0.0.1" in first.stdout
    assert whole(server)
    assert "was uploaded before" in sync(folder, home, server).stdout
    assert whole(server)


def test_what_was_tracked_offline_is_uploaded_once(server, tmp_path):
    folder, home = finished_run(tmp_path / "runs" / "tiny"), tmp_path / "home"
    track(folder, home)
    assert "uploaded to" in sync(folder, home, server).stdout
    assert whole(server)
    assert "was uploaded before" in sync(folder, home, server).stdout
    assert server.made() == {ID: {"run_table", "scores"}}
    files = server.files()
    assert "uploaded to" in sync(folder, home, server, WANDB_LOG_MODEL="end").stdout
    assert server.made() == {ID: {"model", "run_table", "scores"}}
    assert server.files() == files
    (folder.path / "wandb" / "uploaded.json").unlink()
    assert "uploaded to" in sync(folder, home, server, WANDB_MODE="offline").stdout
    assert server.epochs() == [0, 1, 2]


def test_one_run_that_cannot_be_uploaded_does_not_keep_the_others(server, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    damaged = trained_run(tmp_path / "runs" / "tiny", seed=1)
    sound = trained_run(tmp_path / "runs" / "tiny", seed=2)
    (damaged.path / "log.jsonl").write_text("{\n")
    result = sync(sound, home, server)
    assert result.returncode == 1
    first, second = result.stdout.splitlines()
    assert ": not uploaded (" in first
    assert ": uploaded to " in second
    assert server.epochs() == [0, 1, 2]
