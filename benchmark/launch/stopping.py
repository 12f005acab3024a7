"""Being told to stop: ``with StopRequests() as asked: ... asked.count``.

Counted rather than raised, so that no worker is lost between its start and the list that it stands in.
"""

import signal
from types import FrameType


class StopRequests:
    """Counts Ctrl-C and SIGTERM while it is entered; a signal that was ignored before stays ignored."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> "StopRequests":
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
