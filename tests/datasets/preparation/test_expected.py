"""What stands for a study that is not prepared yet."""

import pytest

from datasets.batches.split import published_cases, split
from datasets.missingness.availability import store_availability
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020


@pytest.mark.parametrize(("description", "sizes"), [(BRATS2020, (219, 50, 100)), (MYOPS2020, (20, 0, 5))])
def test_a_published_study_is_split_and_masked_as_the_real_one(description, sizes):
    names, shape = published_cases(description.name)
    store = expected_store(description, names, shape)
    parts = split(store.cases, description, "auto", seed=0)
    assert (len(parts.train), len(parts.val), len(parts.test)) == sizes
    digits = {4: "mr2468", 3: "mr357"}[len(description.modalities)]
    realised = store_availability(digits, store, parts.train).realised
    expected = [int(digit) / 10 for digit in digits[2:]]
    assert [realised[m] for m in description.profile_order] == pytest.approx(expected, abs=0.11)


def test_other_studies_are_not_known():
    assert published_cases("brats2021") is None
