"""How often a run in training writes a checkpoint: ``bench run --checkpoint-epochs 10``.

No part of a run's configuration, as it cannot change the numbers.
"""

from dataclasses import dataclass

SECONDS = 60.0
SHARE = 0.02
"""Of the time of training that goes into checkpoints at most, where nothing else was asked for."""


@dataclass(frozen=True)
class Cadence:
    """When the next checkpoint is due, counted from the last.

    `seconds`: after the first step or epoch that ends this much later; None: 60, or as many more as keep the
    writing below 2 % of the time. `epochs`: after this many epochs as well; None: however many there were.
    """

    seconds: float | None = None
    epochs: int | None = None

    def due(self, elapsed: float, cost: float, epochs: int = 0) -> bool:
        """Say whether a checkpoint is due.

        Args:
            elapsed: seconds since the last one was written.
            cost: seconds that writing it took; 0 before the first.
            epochs: that have ended since; leave it out within an epoch.
        """
        wait = max(SECONDS, cost / SHARE) if self.seconds is None else self.seconds
        return elapsed > wait or (self.epochs is not None and epochs >= self.epochs)

    def arguments(self) -> list[str]:
        """Return the options of `python -m benchmark.training.run` that say this."""
        options = {"--checkpoint-seconds": self.seconds, "--checkpoint-epochs": self.epochs}
        return [text for name, value in options.items() if value is not None for text in (name, str(value))]


AUTOMATIC = Cadence()
