"""Mean ranks with a textbook's numbers, and the ranking of the BraTS challenge by hand."""

import numpy as np
import pytest
from recorded_runs import TEST, change, record
from scipy.stats import friedmanchisquare

from benchmark.report.data.collect import collect
from benchmark.report.data.ranking import brats_ranks, mean_ranks
from benchmark.report.data.scores import score
from benchmark.report.tables.ranking import places_table
from benchmark.run_folder.case_rows import read_rows, write_rows


def test_critical_difference_of_the_textbook():
    # Demsar 2006: four classifiers on 14 data sets, q = 2.569 at 5 %, a critical difference of 1.25.
    values = np.random.default_rng(0).normal(size=(14, 4))
    found = mean_ranks(values)
    assert found.critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert found.p == pytest.approx(friedmanchisquare(*values.T).pvalue)
    assert found.ranks.sum() == pytest.approx(1 + 2 + 3 + 4)


def test_ranks_are_shared_by_equals_and_larger_is_better():
    found = mean_ranks(np.array([[3.0, 2.0, 1.0], [5.0, 5.0, 1.0], [2.0, 3.0, 1.0]]))
    assert found.ranks == pytest.approx([(1 + 1.5 + 2) / 3, (2 + 1.5 + 1) / 3, 3])
    assert mean_ranks(np.ones((3, 3))).p == 1


def test_brats_ranks_by_hand():
    # Items of patient 1: ranks 1, 2, 3 and 2, 1, 3; the third has no value in the last.
    values = np.array([[[0.9, 0.5]], [[0.8, 0.6]], [[0.7, np.nan]]])
    ranks, p = brats_ranks(values)
    assert ranks == pytest.approx([1.5, 1.5, 3])
    assert p[0] == 1
    assert np.isnan(p[2])


def test_p_is_that_of_all_swaps():
    # Eight patients, the first always better: two of 2^8 swaps are as far.
    values = np.array([np.ones((8, 1)), np.zeros((8, 1)), -np.ones((8, 1))])
    ranks, p = brats_ranks(values)
    assert ranks == pytest.approx([1, 2, 3])
    assert p[:2] == pytest.approx([2 / 2**8] * 2, abs=0.004)
    assert (brats_ranks(values)[1] == p)[:2].all()


METHODS = {"baseline": 0.0, "passion": 0.2, "pmr": 0.1}


def ranks_of(folder):
    collected = collect([folder])
    [study] = collected.studies()
    table = places_table([score(collected.cases, study, "dice")])
    return table and {row.method: row.cells[0].value for row in table.blocks[0].rows}


def test_each_patient_of_a_cross_validation_ranks_by_its_own_fold(tmp_path):
    for number, cases in enumerate((("case 1", "case 2"), ("case 3", "case 4"))):
        for objective, strength in METHODS.items():
            run = record(tmp_path, objective, strength=strength, cases=cases, name=f"{objective}-{number}")
            change(run, config={"split": f"fold{number}of2"}, identity={"split": f"5p1it{number}"})
    assert ranks_of(tmp_path) == {"RFNet + PASSION": 1, "RFNet + PMR": 2, "RFNet baseline": 3}


def test_patients_that_a_method_was_not_tested_on_rank_nothing(tmp_path):
    for number, cases in enumerate((("case 1", "case 2"), ("case 3", "case 4"))):
        for objective, strength in METHODS.items():
            if number == 0 or objective != "pmr":
                run = record(
                    tmp_path, objective, strength=strength, cases=cases, name=f"{objective}-{number}"
                )
                change(run, config={"split": f"fold{number}of2"}, identity={"split": f"5p1it{number}"})
    assert ranks_of(tmp_path) == {"RFNet + PASSION": 1, "RFNet + PMR": 2, "RFNet baseline": 3}


def test_networks_of_some_subsets_rank_last_and_hide_nobody(tmp_path):
    for objective, strength in METHODS.items():
        record(tmp_path, objective, strength=strength)
    run = record(tmp_path, "baseline", strength=0.3, name="dedicated")
    change(run, config={"train": {"subset": "flair"}})
    rows = read_rows(run.test(TEST).cases)
    write_rows(run.test(TEST).cases, [row for row in rows if row.subset == "flair"])
    assert sorted(ranks_of(tmp_path).values()) == [1, 2, 3, 4]


def test_a_patient_who_lacks_a_modality_ranks_nothing(tmp_path):
    for whole in ("case 1", "none"):
        for objective, strength in METHODS.items():
            cases = record(tmp_path / whole, objective, strength=strength).test(TEST).cases
            rows = read_rows(cases)
            write_rows(cases, [row for row in rows if row.case == whole or "t2" not in row.subset])
    assert ranks_of(tmp_path / "case 1") == {"RFNet + PASSION": 1, "RFNet + PMR": 2, "RFNet baseline": 3}
    assert ranks_of(tmp_path / "none") is None
