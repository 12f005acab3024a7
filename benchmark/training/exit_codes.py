"""What a launcher and a worker agree on: signals and exit codes."""

import errno
import signal
import sys
from threading import Event

WRONG_INPUT, DISK_FULL, HELD, STOPPED = 2, 74, 75, 130
"""Exit codes: another try would end alike; no space is left; another process has the run; told to stop, where
another try goes on."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
"""Ctrl-C, being told to end, a terminal that closes, and what SLURM sends before a job is out of time."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that no space is left, or none that the user may use."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def stop_signals() -> Event:
    """Return what the `SIGNALS` set, so that the step under way can end; a second Ctrl-C exits at once."""
    asked = Event()

    def ask(number: int, _frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            sys.exit(STOPPED)
        asked.set()

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, ask)
    return asked
