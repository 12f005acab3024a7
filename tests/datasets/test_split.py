"""Published splits where they apply, seeded ones elsewhere; no case on two sides."""

import pytest

from bench_errors import InputError
from datasets.brats import BRATS2020, PHANTOM
from datasets.myops import MYOPS2020
from datasets.split import split

BRATS = [f"BraTS20_Training_{number:03d}" for number in range(1, 370)]


def sizes(parts):
    return len(parts.train), len(parts.val), len(parts.test)


def names(count):
    return [f"case {number}" for number in range(count)]


def test_published_brats2020():
    parts = split(reversed(BRATS), BRATS2020, "auto", seed=0)
    assert sizes(parts) == (219, 50, 100)
    assert sorted(parts.train + parts.val + parts.test) == BRATS
    assert parts == split(BRATS, BRATS2020, "auto", seed=1)
    assert parts.train[:4] == tuple(BRATS[number - 1] for number in (2, 3, 4, 6))
    assert parts.val[0] == BRATS[4]
    assert parts.test[:2] == (BRATS[0], BRATS[15])


def test_some_of_brats2020_keep_their_published_part():
    parts = split(BRATS[:20], BRATS2020, "auto", seed=0)
    whole = split(BRATS, BRATS2020, "auto", seed=0)
    assert set(parts.train) == set(whole.train) & set(BRATS[:20])
    assert set(parts.test) == set(whole.test) & set(BRATS[:20])


@pytest.mark.parametrize("cases", [BRATS[1:4], [*BRATS[:20], "mine"], [*BRATS[:20], "BraTS20_Training_370"]])
def test_otherwise_brats2020_is_split_at_random(cases):
    assert split(cases, BRATS2020, "auto", seed=3) == split(cases, PHANTOM, "auto", seed=3)
    assert split(cases, BRATS2020, "auto", seed=3).test


@pytest.mark.parametrize("prefix", ["", "myops_training_"])
def test_published_myops2020(prefix):
    cases = [f"{prefix}{number}" for number in range(101, 126)]
    parts = split(cases, MYOPS2020, "auto", seed=0)
    assert sizes(parts) == (20, 0, 5)
    assert parts.test == tuple(f"{prefix}{number}" for number in (107, 111, 115, 117, 120))


@pytest.mark.parametrize(
    ("count", "expected"), [(2, (1, 0, 1)), (3, (2, 0, 1)), (40, (24, 5, 11)), (369, (219, 50, 100))]
)
def test_random_shares(count, expected):
    assert sizes(split(names(count), PHANTOM, "auto", seed=0)) == expected


def test_random_split_covers_every_case_once_and_follows_the_seed():
    for count in range(2, 60):
        parts = split(names(count), PHANTOM, "auto", seed=5)
        assert sorted(parts.train + parts.val + parts.test) == sorted(names(count))
        assert parts.train
        assert parts.test
    first = split(names(40), PHANTOM, "auto", seed=0)
    assert split(names(40)[::-1], PHANTOM, "auto", seed=0) == first
    assert split(names(40), PHANTOM, "auto", seed=1) != first


def test_same_is_every_case_everywhere():
    parts = split(["b", "a"], PHANTOM, "same", seed=0)
    assert parts.train == parts.val == parts.test == ("a", "b")


def test_wrong_input():
    with pytest.raises(InputError, match=r"found 1 patient, expected at least 2.*split: same"):
        split(["one"], PHANTOM, "auto", seed=0)
    with pytest.raises(InputError, match="unknown split 'random': choose auto, same, or a fold"):
        split(names(4), PHANTOM, "random", seed=0)
