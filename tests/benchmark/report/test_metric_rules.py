"""Metric policies in a report: names of before, units of distances, methods that find nothing."""

import csv
import shutil

import pytest
from lone_test_folder import single_test
from recorded_runs import POLICY, record

from bench_errors import InputError
from benchmark.evaluation.metrics import Scoring, find_policy
from benchmark.report.data.collect import collect
from benchmark.report.data.scores import score
from benchmark.report.tables.by_setting import sweep_tables
from benchmark.report.tables.by_subset import profile_table, subset_table


def find_nothing(folder, region, subset=None):
    """Make a recorded run find nothing of a region, as the policy `passion` has it: Dice 0 and HD95 1.

    The first case has nothing of the region: Dice 1 and HD95 0.
    """
    path = single_test(folder) / "cases.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    for row in rows[1:]:
        if row[2] == region and subset in (None, row[1]):
            lacking = row[0] == rows[1][0]
            row[-1] = "1.0" if lacking == (row[3] == "dice") else "0.0"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def distances(folder):
    collected = collect([folder])
    return [score(collected.cases, study, "hd95") for study in collected.studies()]


def marks(table, title, method):
    [block] = [block for block in table.blocks if block.title == title]
    [row] = [row for row in block.rows if row.method == method]
    return [cell.mark for cell in row.cells]


def test_a_distance_of_a_method_that_finds_nothing_is_never_the_best(tmp_path):
    for seed in (1, 2):
        record(tmp_path / "g", "passion", seed, strength=0.1)
        record(tmp_path / "g", "gradnorm", seed)
        lost = record(tmp_path / "g", "baseline", seed)
        find_nothing(lost, "ET")
        find_nothing(lost, "WT", "t2")
    table = subset_table(distances(tmp_path / "g")[0])
    [row] = [r for r in table.blocks[2].rows if r.method == "RFNet baseline"]
    assert {cell.value for cell in row.cells} == {0.5}
    assert marks(table, "ET", "RFNet baseline") == [""] * 16
    assert marks(table, "ET", "RFNet + PASSION") == ["best"] * 16
    assert marks(table, "ET", "RFNet + GradNorm") == ["second"] * 16
    t2 = [column.name for column in table.columns].index("t2")
    assert marks(table, "WT", "RFNet baseline")[t2] == ""
    assert marks(table, "WT", "RFNet + PASSION") == ["best"] * 16


def test_nor_in_tables_over_options_and_profiles(tmp_path):
    for profile in ("mr2468", "mr8852"):
        for tau, strength in ((2.0, 0.2), (4.0, 0.1), (8.0, 0.0)):
            run = record(tmp_path / "g", "passion", strength=strength, profile=profile, options={"tau": tau})
            if tau == 8:
                find_nothing(run, "ET")
    every = distances(tmp_path / "g")
    [sweep] = sweep_tables(every[0])
    et = [column.name for column in sweep.columns].index("ET")
    assert [row.cells[et].mark for row in sweep.rows] == ["best", "second", ""]
    assert [row.cells[0].mark for row in sweep.rows] == ["best", "second", ""]
    profiles = profile_table(every)
    assert marks(profiles, "ET", "RFNet + PASSION (tau=8)") == [""] * 3
    assert marks(profiles, "ET", "RFNet + PASSION (tau=2)") == ["best"] * 3


def test_without_dice_the_marks_go_by_the_distance_alone(tmp_path):
    for objective, strength in (("baseline", 0.0), ("passion", 0.1)):
        path = single_test(record(tmp_path / "g", objective, strength=strength)) / "cases.csv"
        path.write_text("\n".join(line for line in path.read_text().splitlines() if ",dice," not in line))
    table = subset_table(distances(tmp_path / "g")[0])
    assert marks(table, "WT", "RFNet + PASSION") == ["best"] * 16


def record_metrics(folder, metrics, spacing=None, old=False, tried="once", seed=1037):
    """Record a run with the rules of its metrics; `old`: as it was laid out before edition 2."""
    run = record(folder, "baseline", seed, options={"tried": tried}, metrics=metrics)
    content = run.config()
    del content["config"]["objective"]["tried"]
    if spacing:
        content["images"] = {"orientation": "LPS", "spacing": [[e, e] for e in spacing], "tissue": None}
    if old:
        test = single_test(run)
        (test / "cases.csv").rename(run.path / "cases.csv")
        shutil.rmtree(run.path / "tests")
        del content["identity"]
        content["metrics"] = metrics
    run.write_config(content)


MM = Scoring(find_policy("passion")).conditions(3)


@pytest.mark.parametrize(
    ("metrics", "spacing", "old", "policy"),
    [
        (POLICY, (1.0, 1.0, 1.0), True, "passion"),
        (POLICY, None, True, "passion"),
        (POLICY, (1.0, 1.0, 3.0), True, "passion, distances in voxels"),
        (MM, (1.0, 1.0, 3.0), False, "passion"),
        ({**MM, "slices": "per volume"}, (1.0, 1.0, 3.0), False, "passion, per volume"),
        ({"policy": "brats", "text": "Metric policy brats (as in ...)."}, None, True, "brats-2022"),
        ({"policy": "nan-free", "text": "Metric policy nan-free (the ...)."}, None, True, "diagonal"),
        (Scoring(find_policy("brats")).conditions(3), None, False, "brats-2022"),
    ],
)
def test_a_run_says_by_which_rules_it_was_scored(tmp_path, metrics, spacing, old, policy):
    record_metrics(tmp_path / "g", metrics, spacing, old)
    [run] = collect([tmp_path / "g"]).runs
    assert run.metric_policy == policy
    assert f"policy {policy.split(',')[0]}" in run.metric_text
    assert run.metric_text.endswith(" Distances are in voxels.") == policy.endswith("voxels")
    assert subset_table(distances(tmp_path / "g")[0]).policy == policy


def test_distances_in_voxels_and_in_mm_do_not_share_a_table(tmp_path):
    record_metrics(tmp_path / "g", POLICY, (1.0, 1.0, 3.0), old=True)
    record_metrics(tmp_path / "g", MM, (1.0, 1.0, 3.0), tried="twice")
    with pytest.raises(InputError, match=r"passion, distances in voxels in .*; passion in .* --split-by"):
        collect([tmp_path / "g"])
    variants = [study.variant for study in collect([tmp_path / "g"], ["policy"]).studies()]
    assert sorted(variants) == ["policy passion", "policy passion, distances in voxels"]


def test_a_policy_under_its_old_and_its_new_name_is_one(tmp_path):
    old = {"policy": "brats", "text": "Metric policy brats (as in the BraTS challenge): ..."}
    record_metrics(tmp_path / "g", old, old=True)
    record_metrics(tmp_path / "g", Scoring(find_policy("brats-2022")).conditions(3), seed=1)
    [study] = collect([tmp_path / "g"]).studies()
    assert len(study.runs) == 2
