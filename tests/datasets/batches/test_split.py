"""Published splits where they apply, seeded ones elsewhere; no case on two sides."""

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench_errors import InputError
from datasets.batches.split import PARTS, check_policy, named_splits, published_cases, repeats, split
from datasets.studies.brats import BRATS2018, BRATS2020, BRATS2023, PHANTOM
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import patient

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


def test_cases_that_the_published_split_does_not_name_are_refused_with_what_to_do():
    cases = [*BRATS, "BraTS20_Training_370", "mine"]
    says = r"found 2 of 371 cases .* \(BraTS20_Training_370, mine\): leave them out.*published\+rest.*random"
    with pytest.raises(InputError, match=says):
        split(cases, BRATS2020, "auto", seed=0)


def test_cases_that_the_published_split_does_not_name_train_if_asked_for():
    published, more = split(BRATS, BRATS2020, "auto", 0), [*BRATS, "mine", "BraTS20_Training_370"]
    parts = split(more, BRATS2020, "published+rest", seed=1)
    assert parts == split(more, BRATS2020, "published+rest", seed=2)
    assert (parts.val, parts.test) == (published.val, published.test)
    assert set(parts.train) == {*published.train, "mine", "BraTS20_Training_370"}
    assert list(parts.train) == sorted(parts.train)
    assert split(BRATS, BRATS2020, "published+rest", seed=1) == published
    with pytest.raises(InputError, match=r"no published split of phantom is taken unasked: use split: auto$"):
        split(names(40), PHANTOM, "published+rest", seed=0)


@pytest.mark.parametrize(("cases", "part"), [(BRATS[1:4], "test"), ([BRATS[0], BRATS[15]], "train")])
@pytest.mark.parametrize("policy", ["auto", "published+rest"])
def test_a_published_split_that_leaves_a_part_empty_is_refused(cases, part, policy):
    with pytest.raises(
        InputError, match=f"leaves no {part} case among the .*split: random, or use split: same"
    ):
        split(cases, BRATS2020, policy, seed=0)


@pytest.mark.parametrize("cases", [BRATS, [*BRATS[:20], "mine"]])
def test_random_is_seeded_whatever_is_published(cases):
    assert split(cases, BRATS2020, "random", seed=3) == split(cases, PHANTOM, "auto", seed=3)
    assert split(cases, BRATS2020, "random", seed=3) != split(cases, BRATS2020, "random", seed=4)
    assert split(cases, PHANTOM, "random", seed=3) == split(cases, PHANTOM, "auto", seed=3)


@pytest.mark.parametrize("prefix", ["", "myops_training_"])
def test_published_myops2020(prefix):
    cases = [f"{prefix}{number}" for number in range(101, 126)]
    parts = split(cases, MYOPS2020, "auto", seed=0)
    assert sizes(parts) == (20, 0, 5)
    assert parts.test == tuple(f"{prefix}{number}" for number in (107, 111, 115, 117, 120))


NAMED = [("uhved1", BRATS2018), ("uhved2", BRATS2018), ("uhved3", BRATS2018), ("imfuse", BRATS2023)]
SIZES = {"brats2018": (199, 29, 57), "brats2023": (875, 125, 251)}


def test_every_named_split_is_tested():
    assert [(name, description.name) for name, description in NAMED] == list(named_splits().items())


@pytest.mark.parametrize(("name", "description"), NAMED)
def test_published_splits_by_name(name, description):
    cases, _ = published_cases(description.name)
    assert len(cases) == sum(SIZES[description.name])
    assert all(re.fullmatch(description.case_names, case) for case in cases)
    parts = split(cases[::-1], description, name, seed=0)
    assert sizes(parts) == SIZES[description.name]
    assert sorted(parts.train + parts.val + parts.test) == sorted(cases)
    patients = [{patient(case, description) for case in getattr(parts, part)} for part in PARTS]
    assert sum(map(len, patients)) == len(set.union(*patients))
    assert parts == split(cases, description, check_policy(name), seed=1)
    assert parts != split(cases, description, "auto", seed=0)
    assert repeats(name)
    with pytest.raises(InputError, match=rf"split {name}: found 1 of \d+ cases .*: leave them out, or"):
        split([*cases, "mine"], description, name, seed=0)
    with pytest.raises(InputError, match=f"split {name} is one of {description.name}, not of brats2020"):
        split(BRATS, BRATS2020, name, seed=0)
    with pytest.raises(InputError, match=rf"unasked: use split: auto or .*{name}"):
        split(cases, description, "published+rest", seed=0)


def test_the_splits_of_uhved_go_by_the_names_of_brats():
    """Its HGG2, HGG210, LGG1 and LGG74, in its lists of the three splits."""
    parts = [split(published_cases("brats2018")[0], BRATS2018, f"uhved{i}", seed=0) for i in (1, 2, 3)]
    for case, expected in (
        ("CBICA_AAG_1", ["val", "train", "train"]),
        ("2013_4_1", ["val", "test", "test"]),
        ("TCIA13_618_1", ["test", "train", "test"]),
        ("TCIA10_261_1", ["train", "val", "train"]),
    ):
        found = [next(part for part in PARTS if f"Brats18_{case}" in getattr(of, part)) for of in parts]
        assert found == expected, case
    assert [len(set(a.test) & set(b.test)) for a, b in itertools.combinations(parts, 2)] == [14, 9, 14]


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


SCANS = replace(PHANTOM, patient=r"(.+)-[0-9]+")


@settings(deadline=None, max_examples=60)
@given(
    scans=st.lists(st.integers(1, 4), min_size=5, max_size=40),
    policy=st.sampled_from(["auto", *(f"fold{i}of5" for i in range(5)), "fold0of2", "fold2of3"]),
    seed=st.integers(0, 9),
)
def test_a_patient_is_on_one_side_only_and_every_case_on_some(scans, policy, seed):
    cases = [f"p{number}-{scan}" for number, times in enumerate(scans) for scan in range(times)]
    parts = split(cases[::-1], SCANS, policy, seed)
    assert sorted(parts.train + parts.val + parts.test) == sorted(cases)
    sides = [{patient(case, SCANS) for case in part} for part in (parts.train, parts.val, parts.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(scans)
    assert parts.train
    assert parts.test


@pytest.mark.parametrize(("folds", "count"), [(5, 40), (3, 10), (2, 2), (5, 5)])
def test_folds_test_every_patient_once_and_evenly(folds, count):
    cases = [f"BraTS-GLI-{number:05d}-{scan}" for number in range(count) for scan in ("000", "001")]
    parts = [split(cases, BRATS2023, f"fold{i}of{folds}", seed=7) for i in range(folds)]
    tested = sorted(case for part in parts for case in part.test)
    assert tested == sorted(cases)
    assert max(len(p.test) for p in parts) - min(len(p.test) for p in parts) <= 2
    assert parts == [split(cases[::-1], BRATS2023, f"fold{i}of{folds}", seed=7) for i in range(folds)]
    if count == 40:
        assert sizes(parts[0]) == (52, 12, 16)
        assert parts[0] != split(cases, BRATS2023, "fold0of5", seed=8)


@pytest.mark.parametrize(("folds", "count"), [(4, 4), (2, 2), (5, 40)])
def test_of_those_that_are_not_left_out_all_train(folds, count):
    for i in range(folds):
        left, fold = (
            split(names(count), PHANTOM, f"{kind}{i}of{folds}", seed=7) for kind in ("leave", "fold")
        )
        assert (left.test, left.val) == (fold.test, ())
        assert set(left.train) == set(fold.train) | set(fold.val)


def test_folds_leave_the_published_split_aside():
    parts = split(BRATS, BRATS2020, "fold0of5", seed=0)
    assert len(parts.test) == 74
    assert set(parts.test) != set(split(BRATS, BRATS2020, "auto", seed=0).test)


@pytest.mark.parametrize(
    "policy", ["fold5of5", "fold0of1", "fold0of0", "leave4of4", "foldof5", "fold-1of5", "Auto", ""]
)
def test_unknown_policies(policy):
    with pytest.raises(InputError, match=f"unknown split '{policy}': .*known are auto, published"):
        check_policy(policy)


def test_a_misspelt_split_is_guessed():
    with pytest.raises(InputError, match="did you mean uhved2 or uhved3 or uhved1"):
        check_policy("u-hved2")
    assert [repeats(policy) for policy in ("auto", "published+rest", "random", "same", "fold0of5")] == [
        *[False] * 4,
        True,
    ]


def test_too_few_patients():
    scans = ["BraTS-GLI-00005-100", "BraTS-GLI-00005-101"]
    with pytest.raises(InputError, match="found 1 patient, expected at least 2 for split auto"):
        split(scans, BRATS2023, "auto", seed=0)
    with pytest.raises(InputError, match="found 4 patients, expected at least 5 for split fold1of5"):
        split(names(4), PHANTOM, "fold1of5", seed=0)


def test_wrong_input():
    with pytest.raises(InputError, match=r"found 1 patient, expected at least 2.*split: same"):
        split(["one"], PHANTOM, "auto", seed=0)
    with pytest.raises(InputError, match="unknown split 'official': known are auto, published"):
        split(names(4), PHANTOM, "official", seed=0)
