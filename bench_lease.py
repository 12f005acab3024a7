"""A lease: the right of one process to work in a folder, on one machine or on a file system that many share.

    with hold(path) as mine:            # False: another living process has it
        ...
        check(path)                     # raises LeaseLost where it was taken over meanwhile
    owner = living_owner(path)          # who has it: owner.host, owner.pid

A lease is a folder with one file, whose name is a random token and which says who has it. It is taken by
renaming a folder with that file to its place, which succeeds only where nothing or an empty folder is; a dead
owner's is first emptied by removing the file of exactly that token. So of any number of takers one wins, and
none can remove a lease other than the one that it found dead. No locks are used, which not every shared file
system has.

An owner is dead when its process is gone, which is known at once on the machine that it ran on, or when it
has been silent for `SILENT_SECONDS`: a thread of it sets the file's time every `HEARTBEAT_SECONDS`, and an
observer counts by its own clock how long that time does not change, so that clocks need not agree.
"""

import errno
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread

HEARTBEAT_SECONDS = 15.0
SILENT_SECONDS = 120.0
"""An owner may be paused for a while, and a file server away, without losing its lease."""
POLL_SECONDS = 1.0
_GONE = (errno.ENOENT, errno.ESTALE)


class LeaseLost(Exception):
    """Another process has taken the lease over, so that nothing may be written any more."""


@dataclass(frozen=True)
class Owner:
    """A process: its host, that host's boot and space of process ids, its id and start, and a random token.

    `boot` is empty where the system does not say; then only silence tells that the process is dead.
    """

    token: str
    host: str = "an unknown host"
    boot: str = ""
    space: str = ""
    pid: int = 0
    started: int = 0

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"

    @classmethod
    def this_process(cls) -> "Owner":
        """Return a new owner that this process is."""
        pid = os.getpid()
        return cls(secrets.token_hex(8), socket.gethostname(), *_system(), pid, _started(pid))

    def is_local(self) -> bool:
        """Whether the process ran where this one does, so that its id can be looked up."""
        return bool(self.boot) and (self.host, self.boot, self.space) == (socket.gethostname(), *_system())

    def has_ended(self) -> bool:
        """Whether the process is known to have ended."""
        if not self.is_local():
            return False
        try:
            os.kill(self.pid, 0)  # answers also where /proc hides the processes of others
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return _started(self.pid) not in (self.started, 0)


@dataclass(frozen=True)
class _Sight:
    """What one look at a lease has shown: its owner and the time of its file."""

    owner: Owner
    changed: int


@dataclass
class _Watch:
    """How long this process has seen a lease unchanged, and when it last looked."""

    sight: _Sight
    looked: float
    silent: float = 0.0


_held: dict[Path, str] = {}
"""The leases of this process: path -> token."""
_watched: dict[Path, _Watch] = {}
"""The leases of others, as this process has seen them."""


@contextmanager
def hold(path: Path, stop: Callable[[], bool] = lambda: False) -> Iterator[bool]:
    """Hold the lease at `path` for this process; yields False if another living process has it.

    Whether an owner on another machine lives shows within a heartbeat, and its death within
    `SILENT_SECONDS`; until then this waits, unless `stop` says yes.
    """
    owner = Owner.this_process()
    if not _take(path, owner, stop):
        yield False
        return
    for left in path.parent.glob(f".{path.name}.*.partial"):  # by takers that were killed, or come too late
        shutil.rmtree(left, ignore_errors=True)
    ended = Event()
    beats = Thread(target=_beat, args=(path / owner.token, ended), daemon=True)
    beats.start()
    _held[path] = owner.token
    try:
        yield True
    finally:
        del _held[path]
        ended.set()
        beats.join()
        with suppress(OSError):  # it is lost, or the file system is
            (path / owner.token).unlink()
            path.rmdir()


@contextmanager
def hold_in_turn(path: Path) -> Iterator[None]:
    """Hold the lease at `path` for this process, once those who have it have let it go."""
    while True:
        with hold(path) as mine:
            if mine:
                yield
                return
        time.sleep(POLL_SECONDS / 10)


def check(path: Path) -> None:
    """Raise `LeaseLost` if this process has held the lease at `path` and another has taken it over."""
    if token := _held.get(path):
        try:
            os.utime(path / token)  # asks the server, where a look might be answered from a cache
        except OSError as error:
            if error.errno not in _GONE:
                raise
            raise LeaseLost(
                f"{path.parent} was taken over by another process, as this one was silent for too long"
            ) from None


def check_below(path: Path) -> None:
    """Raise `LeaseLost` if `path` lies in a folder whose lease this process has held and lost."""
    for lease in list(_held):
        if lease.parent in path.parents:
            check(lease)


def living_owner(path: Path) -> Owner | None:
    """Return who has the lease at `path`, or None where nobody has or the owner is known to be dead.

    A process that asks again and again learns of the silence of an owner on another machine.
    """
    sight = _look(path)
    return None if sight is None or _is_dead(path, sight) else sight.owner


def remove_dead(path: Path) -> None:
    """Remove the lease at `path` if its owner is known to be dead, so that others need not find that out."""
    sight = _look(path)
    if sight and _is_dead(path, sight):
        (path / sight.owner.token).unlink(missing_ok=True)


def silence(path: Path) -> float:
    """Return for how many seconds the owner of the lease at `path` is silent, by this machine's clock."""
    sight = _look(path)
    return max(0.0, time.time() - sight.changed / 1e9) if sight else 0.0


def _take(path: Path, owner: Owner, stop: Callable[[], bool]) -> bool:
    first = _look(path)
    while True:
        now = _look(path)
        if now is None:
            if _place(path, owner):
                return True
        elif _is_dead(path, now):
            (path / now.owner.token).unlink(missing_ok=True)
            continue
        elif now.owner.is_local() or now != first:
            return False
        if stop():
            return False
        time.sleep(POLL_SECONDS)


def _place(path: Path, owner: Owner) -> bool:
    """Put a lease in its place; False if one is there."""
    beside = path.with_name(f".{path.name}.{owner.token}.partial")
    beside.mkdir()
    try:
        (beside / owner.token).write_text(json.dumps(asdict(owner)))
        beside.rename(path)
    except OSError as error:
        if (path / owner.token).exists():  # NFS repeats a call whose answer was lost
            return True
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, *_GONE):
            raise
        return False
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def _look(path: Path) -> _Sight | None:
    try:
        for file in path.iterdir():
            if not file.name.startswith("."):  # as NFS calls what was removed while it was read
                return _read(file)
    except NotADirectoryError:
        pass
    except OSError as error:
        if error.errno not in _GONE:
            raise
    _watched.pop(path, None)
    return None


def _read(file: Path) -> _Sight:
    with file.open(encoding="utf-8") as opened:  # a file's time may be old in NFS until it is opened
        changed = os.fstat(opened.fileno()).st_mtime_ns
        try:
            return _Sight(Owner(**json.loads(opened.read())), changed)
        except (ValueError, TypeError):  # its machine went down before the content was on the disk
            return _Sight(Owner(file.name), changed)


def _is_dead(path: Path, sight: _Sight) -> bool:
    if sight.owner.has_ended():
        return True
    now = time.monotonic()
    watch = _watched.get(path)
    if watch is None or watch.sight != sight:
        _watched[path] = _Watch(sight, now)
        return False
    # A long gap says nothing: this process was paused, or the file server was away for both.
    watch.silent += min(now - watch.looked, HEARTBEAT_SECONDS)
    watch.looked = now
    return watch.silent > SILENT_SECONDS


def _beat(file: Path, ended: Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            os.utime(file)
        except OSError as error:
            if error.errno in _GONE:
                return


@cache
def _system() -> tuple[str, str]:
    """The boot of this machine and the space of its process ids that this process sees; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, os.readlink("/proc/self/ns/pid")
    except OSError:
        return "", ""


def _started(pid: int) -> int:
    """When a process was started, in ticks since the boot; -1 if it is dead, 0 if that cannot be known."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    state, *fields = content.rpartition(")")[2].split()
    return -1 if state in "ZX" else int(fields[18])
