"""Relative preference and beta against figures worked out by hand."""

import pytest
import torch

from passion.preference import GradientBalance, relative_preference, scheduled_eta

ALL = torch.ones(4, dtype=torch.bool)


def balance(**options: object) -> GradientBalance:
    return GradientBalance(**{"modalities": 4, "eta": 0.01, "warmup_epochs": 0, **options})  # type: ignore[arg-type]


def test_a_modality_further_away_than_the_mean_lags() -> None:
    rp = relative_preference(torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.tensor([True, True, True, False]))
    torch.testing.assert_close(rp, torch.tensor([0.5, 0.0, -0.5, 0.0]))


@pytest.mark.parametrize("taking_part", [[True, False, False, False], [False] * 4])
def test_a_lone_modality_has_no_preference(taking_part: list[bool]) -> None:
    assert relative_preference(torch.zeros(4), torch.tensor(taking_part)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("epoch", "warmup", "times"),
    [(0, 0, 1), (99, 0, 1), (100, 0, 2), (299, 0, 3), (20, 20, 0), (99, 20, 0), (100, 20, 1), (100, 100, 1)],
)
def test_eta_grows_at_every_hundredth_epoch_after_the_warm_up(epoch: int, warmup: int, times: int) -> None:
    assert scheduled_eta(0.01, epoch, warmup) == pytest.approx(0.01 * 1.5**times)


def test_beta_rises_where_a_modality_lags_and_keeps_its_norm() -> None:
    b = balance()
    b.add(torch.tensor([1.0, 2.0, 3.0, 2.0]), ALL)
    changed = b.end_epoch(0)
    raw = torch.tensor([1 - 0.015 * 0.5, 1, 1 + 0.015 * 0.5, 1], dtype=torch.float64)
    torch.testing.assert_close(b.beta, 2 * raw / raw.norm())
    assert changed is not None
    assert changed["preference"] == pytest.approx([0.5, 0, -0.5, 0])
    assert changed["distance"] == [1, 2, 3, 2]
    assert changed["beta"] == b.beta.tolist()


def test_the_mean_distance_is_over_times_seen() -> None:
    b = balance()
    b.add(torch.tensor([1.0, 3.0, 0, 0]), torch.tensor([True, True, False, False]))
    b.add(torch.tensor([3.0, 0, 0, 0]), torch.tensor([True, False, False, False]))
    changed = b.end_epoch(0)
    assert changed is not None
    assert changed["distance"] == [2.0, 3.0, 0, 0]


def test_a_modality_that_never_occurs_is_left_out() -> None:
    b = balance(modalities=3)
    b.add(torch.tensor([1.0, 3.0, 0]), torch.tensor([True, True, False]))
    changed = b.end_epoch(0)
    assert changed is not None
    assert changed["preference"] == pytest.approx([0.5, -0.5, 0])
    assert b.beta.norm().item() == pytest.approx(3**0.5)


def test_beta_is_clamped_before_it_is_scaled() -> None:
    b = balance(modalities=2, eta=100.0)
    b.add(torch.tensor([1.0, 3.0]), ALL[:2])
    b.end_epoch(0)
    raw = torch.tensor([0.1, 4.0], dtype=torch.float64)
    torch.testing.assert_close(b.beta, raw * 2**0.5 / raw.norm())


def test_beta_rests_during_the_warm_up_and_each_epoch_starts_afresh() -> None:
    b = balance(warmup_epochs=2)
    b.add(torch.tensor([1.0, 2.0, 3.0, 2.0]), ALL)
    assert b.end_epoch(1) is None
    assert b.beta.tolist() == [1, 1, 1, 1]
    assert b.seen.tolist() == [0, 0, 0, 0]


def test_an_epoch_without_cases_changes_nothing() -> None:
    b = balance()
    b.end_epoch(0)
    assert b.beta.tolist() == [1, 1, 1, 1]
