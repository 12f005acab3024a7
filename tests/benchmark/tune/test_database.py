"""Studies in a database: two workers, one killed, gone on with, reported; PostgreSQL is a real server."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from stub_study import made, stub_objective

from bench_errors import InputError
from benchmark.tune.command import report_study
from benchmark.tune.search import Place, begin, counted, give_up_lost, resume
from benchmark.tune.worker import work

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
WORKER = """
import sys, time
sys.path[:0] = {paths!r}
from pathlib import Path
from stub_study import made, stub_objective
from benchmark.tune.search import Place, resume
from benchmark.tune.worker import work
search, place = made(Path({folder!r}))
place = Place("stub", place.runs, {storage!r})

def wait(trial):
    print(trial.number, flush=True)
    time.sleep({seconds})

work(resume(search, place), search, place, stub_objective(search, place, wait), 8, None)
"""


@pytest.fixture
def server():
    """URL of a database of a server that listens on a socket in a folder; it ends with the test."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL is installed")
    folder = Path(tempfile.mkdtemp())  # which other users may enter, unlike pytest's own
    folder.chmod(0o777)
    # The server refuses to run as root.
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())

    def call(program, *arguments):
        command = [PROGRAMS[-1] / program, *map(str, arguments)]
        subprocess.run(
            command, check=True, user=user.pw_uid, cwd=folder, stdout=subprocess.DEVNULL, extra_groups=[]
        )

    call("initdb", "-D", folder / "data", "-U", "bench", "--auth=trust", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    call("pg_ctl", "-D", folder / "data", "-o", options, "-l", folder / "log", "-w", "start")
    try:
        call("createdb", "-h", folder, "-U", "bench", "studies")
        yield f"postgresql://bench@/studies?host={folder}"
    finally:
        call("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db"
    return request.getfixturevalue("server")


def start(folder, storage, seconds):
    paths = [os.getcwd(), "tests", "tests/benchmark"]
    script = WORKER.format(paths=paths, folder=str(folder), storage=storage, seconds=seconds)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


@pytest.mark.long
def test_two_workers_of_which_one_is_killed(tmp_path, storage, capsys):
    search, place = made(tmp_path)
    place = Place("stub", place.runs, storage)
    begin(search, place, "d474")
    slow = start(tmp_path, storage, 600)
    lost = int(slow.stdout.readline())  # the quick one, started first, could leave it nothing to try
    quick = start(tmp_path, storage, 0)
    quick.communicate()
    slow.send_signal(signal.SIGKILL)
    slow.wait()
    assert quick.returncode == 0
    study = resume(search, place)
    assert counted(study.get_trials()) == 8
    assert give_up_lost(study, place) == [lost]
    work(study, search, place, stub_objective(search, place), 8, None)
    trials = resume(search, place).get_trials()
    assert counted(trials) == 8
    assert [t.number for t in trials if t.state.name == "FAIL"] == [lost]
    assert trials[-1].params == trials[lost].params
    written = report_study(str(tmp_path / "stub.yaml"), place.runs, storage)
    assert "9 trials" in capsys.readouterr().out
    assert all(path.exists() for path in written)


@pytest.mark.long
def test_a_server_that_is_gone_is_one_line(tmp_path, server):
    search, place = made(tmp_path)
    wrong = server.replace("studies", "nothing")
    with pytest.raises(InputError, match='database "nothing" does not exist') as caught:
        begin(search, Place("stub", place.runs, wrong), "d474")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        ("oracle://user@host/name", "Please install appropriate one"),
        ("postgresql://u@/x?host=/nowhere", "No such file or directory"),
        ("mine.db", "Could not parse"),
        ("nosql://x", "NoSuchModuleError"),
    ],
)
def test_a_wrong_address_or_missing_driver_is_one_line(tmp_path, storage, says):
    search, place = made(tmp_path)
    with pytest.raises(InputError, match=says) as caught:
        begin(search, Place("stub", place.runs, storage), "d474")
    assert f"--storage {storage} cannot be opened" in str(caught.value)
    assert "\n" not in str(caught.value)
