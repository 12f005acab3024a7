"""What a launcher and the process of a run agree on: signals and exit codes."""

import signal
import sys
from threading import Event

WRONG_INPUT, HELD, STOPPED = 2, 75, 130
"""Exit codes: another try would end alike; another process has the run; told to stop, another try goes on."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""Ctrl-C; being told to end; and what SLURM sends some time before a job is out of time."""


def stop_signals() -> Event:
    """Return what the `SIGNALS` set, so that the step under way can end; a second Ctrl-C exits at once."""
    asked = Event()

    def ask(number: int, _frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            sys.exit(130)
        asked.set()

    for number in SIGNALS:
        signal.signal(number, ask)
    return asked
