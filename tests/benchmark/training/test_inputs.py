"""What a run works with: of a dedicated network, the cases that have its subset."""

from dataclasses import replace

import numpy as np
import pytest

from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.training.inputs import Inputs
from benchmark.training.provenance import identity
from datasets.batches.split import published_cases
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020
from datasets.vocabulary import presence

STORE = expected_store(BRATS2020, *published_cases("brats2020"))


def inputs(subset=None, store=STORE):
    train = {"subset": subset} if subset else {}
    config = RunConfig.model_validate({"dataset": "brats2020", "profile": "mr2468", "train": train})
    return Inputs.of(config, store)


def test_a_dedicated_network_is_shown_the_cases_with_its_subset_and_that_alone():
    for_all, dedicated = inputs(), inputs("flair+t2")
    only = np.array(presence(("flair", "t2"), BRATS2020.modalities))
    having = for_all.table.table[:, only].all(axis=1)
    assert for_all.shown is for_all.table
    assert dedicated.shown.cases == tuple(np.array(for_all.table.cases)[having])
    assert (dedicated.shown.table == only).all()
    assert len(dedicated.shown.cases) == len(dedicated.shown.table) < 219
    assert dedicated.tested == dedicated.split.test == for_all.tested


def test_its_conditions_are_those_of_the_network_for_all_but_for_the_options():
    ours, theirs = identity(inputs("t1")), identity(inputs())
    assert {name for name in ours if ours[name] != theirs[name]} == {"training", "options"}


@pytest.mark.parametrize(
    ("part", "says"), [("train", "no training case has t1 under"), ("test", "no test case")]
)
def test_a_subset_that_no_case_has_is_refused(part, says):
    lacking = {
        case: replace(STORE.records[case], available=(True, True, False, True))
        for case in getattr(inputs().split, part)
    }
    store = replace(STORE, records={**STORE.records, **lacking})
    assert inputs("flair+t2", store)
    with pytest.raises(InputError, match=says):
        inputs("t1", store)
