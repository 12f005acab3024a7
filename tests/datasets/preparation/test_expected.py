"""What stands for a study that is not prepared yet."""

from collections import Counter
from pathlib import Path

import pytest

from datasets.batches.split import published_cases, split
from datasets.missingness.availability import store_availability
from datasets.phantom.scanners import hospital_of
from datasets.phantom.study import case_columns
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020, PHANTOM2
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


def test_hospitals_of_a_phantom_are_known_beforehand():
    columns = case_columns(300, seed=2, layout="gliomas")
    assert columns["Phantom2_007"] == {"hospital": hospital_of(2, "Phantom2_007")}
    store = expected_store(PHANTOM2, list(columns), (76, 92, 76), columns)
    profile = str(Path(__file__).parents[3] / "results" / "phantom2" / "hospitals.yaml")
    table = store_availability(profile, store, store.cases)
    hospitals = [columns[case]["hospital"] for case in table.cases]
    assert len(Counter(hospitals)) == 3
    flair = {
        name: 1 - table.table[[h == name for h in hospitals], 0].mean() for name in ("north", "south", "west")
    }
    assert flair["north"] == pytest.approx(0.9, abs=0.1)
    assert flair["west"] == pytest.approx(0.3, abs=0.2)
    # Over all, the rates are about those of mr2468.
    for modality, rate in {"t1": 0.2, "t1ce": 0.4, "flair": 0.6, "t2": 0.8}.items():
        assert table.realised[modality] == pytest.approx(rate, abs=0.08)
