"""How often a checkpoint is due, and that what was asked for reaches the worker."""

import pytest

from benchmark.run_folder.checkpoint_schedule import SHARE, Cadence


@pytest.mark.parametrize(
    ("cadence", "elapsed", "cost", "epochs", "due"),
    [
        (Cadence(), 59.0, 0.0, 9, False),
        (Cadence(), 61.0, 0.0, 0, True),
        (Cadence(), 61.0, 1.2, 0, True),
        (Cadence(), 61.0, 2.0, 0, False),
        (Cadence(), 101.0, 2.0, 0, True),
        (Cadence(seconds=10.0), 11.0, 2.0, 0, True),
        (Cadence(seconds=10.0), 9.0, 2.0, 5, False),
        (Cadence(epochs=3), 1.0, 2.0, 2, False),
        (Cadence(epochs=3), 1.0, 2.0, 3, True),
        (Cadence(epochs=3), 1.0, 2.0, 0, False),
    ],
)
def test_due(cadence, elapsed, cost, epochs, due):
    assert cadence.due(elapsed, cost, epochs) is due


@pytest.mark.parametrize("cost", [0.1, 1.0, 30.0])
def test_by_default_writing_takes_two_percent_at_most(cost):
    elapsed = next(e / 10 for e in range(10**6) if Cadence().due(e / 10, cost))
    assert cost / (elapsed + cost) < SHARE


def test_arguments_of_a_worker():
    assert Cadence().arguments() == []
    assert Cadence(0.5, 3).arguments() == ["--checkpoint-seconds", "0.5", "--checkpoint-epochs", "3"]
