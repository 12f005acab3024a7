"""Leases: one owner at a time, here and on other machines; the dead and the silent lose theirs."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

import bench_lease
from bench_lease import (
    HEARTBEAT_SECONDS,
    SILENT_SECONDS,
    LeaseLost,
    Owner,
    check,
    hold,
    living_owner,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "holder"


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where the code sleeps, or a test says so."""

    class Clock:
        now = 1000.0
        on_sleep = staticmethod(lambda: None)

        def monotonic(self):
            return self.now

        def time(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds
            self.on_sleep()

    made = Clock()
    monkeypatch.setattr(bench_lease, "time", made)
    return made


def place(path, **changes):
    """Put a lease of another machine's process there; returns its file."""
    owner = replace(Owner.this_process(), **{"host": "elsewhere", "boot": "another", **changes})
    path.mkdir()
    file = path / owner.token
    file.write_text(json.dumps(vars(owner)))
    return file


def beat(file):
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))


def test_one_owner_at_a_time_and_nothing_is_left(path):
    with hold(path) as mine:
        assert mine
        owner = living_owner(path)
        assert (owner.host, owner.pid) == (socket.gethostname(), os.getpid())
        with hold(path) as second:
            assert not second
        assert living_owner(path) == owner
        check(path)
    assert living_owner(path) is None
    assert list(path.parent.iterdir()) == []
    check(path)


def kill_holder(path):
    code = (
        "import os, signal, sys; from pathlib import Path; from bench_lease import hold\n"
        "with hold(Path(sys.argv[1])) as mine:\n"
        "    assert mine; os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL


def test_a_killed_owner_on_this_machine_is_dead_at_once(path):
    kill_holder(path)
    assert len(list(path.iterdir())) == 1
    assert living_owner(path) is None
    with hold(path) as mine:
        assert mine


def test_a_dead_owner_that_nobody_has_waited_for_is_dead(path):
    process = subprocess.Popen(["sleep", "100"])
    file = place(path, **{**vars(Owner.this_process()), "pid": process.pid, "token": "abc"})
    owner = replace(Owner(**json.loads(file.read_text())), started=bench_lease._started(process.pid))
    file.write_text(json.dumps(vars(owner)))
    assert living_owner(path) == owner
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    assert living_owner(path) is None
    process.wait()
    assert living_owner(path) is None


def test_another_process_with_the_same_id_is_not_the_owner(path):
    here = Owner.this_process()
    place(path, **{**vars(here), "started": here.started - 1})
    assert living_owner(path) is None


@pytest.mark.parametrize("change", [{"boot": "earlier"}, {"host": "clone"}, {"space": "pid:[1]"}])
def test_an_id_counts_only_where_it_was_given(path, change):
    """After a new boot, on another machine, in another container: the id may be another process's."""
    here = vars(Owner.this_process())
    place(path, **{**here, "started": here["started"] - 1, **change})
    assert living_owner(path) is not None


def test_who_may_not_be_seen_is_alive(path, monkeypatch):
    """/proc may hide the processes of other users."""
    owner = Owner.this_process()
    place(path, **vars(owner))

    def hidden(*_):
        raise PermissionError

    monkeypatch.setattr(os, "kill", hidden)
    monkeypatch.setattr(bench_lease, "_started", lambda pid: 0)
    assert living_owner(path) == owner


def test_a_living_owner_elsewhere_is_respected(path, clock):
    file = place(path)
    clock.on_sleep = lambda: clock.now % HEARTBEAT_SECONDS < 1 and beat(file)
    with hold(path) as mine:
        assert not mine
    assert clock.now - 1000 <= HEARTBEAT_SECONDS + 1
    assert file.exists()


def test_a_silent_owner_elsewhere_is_taken_over(path, clock):
    file = place(path)
    os.utime(file, (9e9, 9e9))  # its clock is far ahead
    with hold(path) as mine:
        assert mine
        assert clock.now - 1000 > SILENT_SECONDS
        assert not file.exists()


def test_who_asks_again_and_again_learns_of_silence(path, clock):
    file = place(path)
    while living_owner(path):
        clock.now += HEARTBEAT_SECONDS / 2
    assert SILENT_SECONDS < clock.now - 1000 < SILENT_SECONDS + HEARTBEAT_SECONDS
    assert file.exists()
    bench_lease.remove_dead(path)
    assert not file.exists()


def test_gaps_in_looking_are_no_silence(path, clock):
    """This process was paused, or the file server was away: it may have been for both of them."""
    place(path)
    assert living_owner(path)
    clock.now += 100 * SILENT_SECONDS
    assert living_owner(path)
    clock.now += 100 * SILENT_SECONDS
    assert living_owner(path)


def test_a_heartbeat_ends_the_silence(path, clock):
    file = place(path)
    for look in range(100):
        assert living_owner(path)
        clock.now += HEARTBEAT_SECONDS
        if look % 6 == 0:
            beat(file)


def test_being_told_to_stop_ends_the_waiting(path, clock):
    file = place(path)
    with hold(path, stop=lambda: clock.now > 1003) as mine:
        assert not mine
    assert clock.now < 1006
    assert file.exists()


def test_a_lease_without_content_is_taken_once_it_is_silent(path, clock):
    path.mkdir()
    (path / "abc").touch()
    assert str(living_owner(path)) == "pid 0 on an unknown host"
    with hold(path) as mine:
        assert mine
        assert clock.now - 1000 > SILENT_SECONDS


def test_an_owner_that_lost_its_lease_knows_and_leaves_the_new_one_alone(path):
    with hold(path) as mine:
        assert mine
        (next(path.iterdir())).unlink()
        path.rmdir()
        file = place(path)
        with pytest.raises(LeaseLost, match="taken over"):
            check(path)
    assert file.exists()


def test_what_killed_takers_left_is_removed_by_the_next(path):
    (path.parent / f".{path.name}.abc.partial").mkdir()
    (path.parent / f".{path.name}.abc.partial" / "abc").write_text("{}")
    with hold(path) as mine:
        assert mine
        assert list(path.parent.iterdir()) == [path]


def test_the_heartbeat_sets_the_time_of_the_file_until_the_end(path, monkeypatch):
    monkeypatch.setattr(bench_lease, "HEARTBEAT_SECONDS", 0.01)
    with hold(path):
        file = next(path.iterdir())
        for _ in range(3):
            os.utime(file, (0, 0))
            for _ in range(1000):
                if file.stat().st_mtime > 0:
                    break
                threading.Event().wait(0.01)
            assert file.stat().st_mtime > 0
    assert threading.active_count() == 1 or not [
        t
        for t in threading.enumerate()
        if t._target is bench_lease._beat  # its thread has ended
    ]


def test_waiting_for_ones_turn(path, clock):
    order = []

    def other():
        if len(order) == 1:
            file.unlink()

    file = place(path, **vars(Owner.this_process()))
    clock.on_sleep = lambda: (order.append("waited"), other())
    with bench_lease.hold_in_turn(path):
        order.append("mine")
    assert order == ["waited", "mine"]


RACER = """
import os, sys, time
from pathlib import Path
from bench_lease import hold
path, log, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def say(what):
    with open(log, "a") as file:
        file.write(f"{what} {os.getpid()}\\n")
taken = 0
for _ in range(100000):
    with hold(path) as mine:
        if mine:
            say("begun")
            time.sleep(0.001)
            if taken + 1 == rounds:
                say("killed")
                os.kill(os.getpid(), 9)
            say("ended")
            taken += 1
"""


def test_of_many_takers_of_dead_leases_one_wins_each_time(path):
    """Four processes take one lease as often as they can, and each dies while it has it."""
    log = path.parent / "log"
    command = [sys.executable, "-c", RACER, str(path), str(log), "40"]
    racers = [subprocess.Popen(command) for _ in range(4)]
    assert [racer.wait(100) for racer in racers] == [-signal.SIGKILL] * 4
    events = [line.split() for line in log.read_text().splitlines()]
    assert len(events) == 4 * 40 * 2
    for (begun, owner), (ended, same) in zip(events[::2], events[1::2], strict=True):
        assert (begun, owner) == ("begun", same)
        assert ended in ("ended", "killed")
    assert living_owner(path) is None
