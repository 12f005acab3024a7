"""`bench compare` and `bench show`: numbers by hand, as a user sees them, and what is refused."""

import pandas as pd
import pytest
from lone_test_folder import single_test
from recorded_runs import TEST, change, record

from bench_errors import InputError
from benchmark.report.compare import print_comparison
from benchmark.report.show import show_run
from benchmark.report.tables.render import DASH, MINUS
from benchmark.run_folder.case_rows import read_rows, write_rows
from datasets.studies.brats import PHANTOM
from datasets.vocabulary import subset_name, table_subsets

CASES = tuple(f"case {i}" for i in range(8))


@pytest.fixture
def runs(tmp_path):
    record(tmp_path / "first", "baseline", cases=CASES)
    record(tmp_path / "first", "passion", cases=CASES, strength=0.05)
    record(tmp_path / "first", "passion", seed=1038, cases=CASES, strength=0.07)
    record(tmp_path / "second", "passion", cases=CASES, strength=0.02)
    record(tmp_path / "second", "passion", backbone="mmformer", state="failed")
    return tmp_path


def lines_of(text, *words):
    """The words of the table rows that have all of `words`."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("│┃ ").split("│")]
        if all(word in cells for word in words):
            found.append(cells)
    return found


def test_two_runs_case_by_case(runs, capsys):
    baseline = runs / "first/phantom-rfnet-baseline-mr2468-s1037"
    print_comparison(str(baseline), "phantom-rfnet-passion-mr2468-s1038", runs, runs / "both.csv")
    text = capsys.readouterr().out
    # WT over subsets and cases: 0.3 + 0.14 + 0.35; one training a side: no p.
    [wt] = lines_of(text, "Dice (%)", "WT")
    assert wt[2:] == ["8", "79.00", "86.00", "7.00", "[7.00, 7.00]", DASH]
    [hd95] = lines_of(text, "HD95 (mm)", "WT")
    assert hd95[5] == f"{MINUS}2.10"
    assert "differ in seed (1037 | 1038), objective.name (baseline | passion)\n" in text
    assert len(lines_of(text, "gain")) == 10
    assert lines_of(text, "no loss")
    rows = pd.read_csv(runs / "both.csv")
    assert list(rows.columns) == ["method", "metric", "region", "subset", "case", "a", "b", "difference"]
    assert len(rows) == 8 * 15 * 4 * 2
    dice = rows[rows["metric"] == "dice"]
    assert dice["difference"].to_numpy() == pytest.approx(0.07)
    assert (dice["b"] - dice["a"]).to_numpy() == pytest.approx(dice["difference"].to_numpy())


def test_the_largest_differences_come_first(runs, capsys):
    folder = runs / "first/phantom-rfnet-passion-mr2468-s1037"
    rows = pd.read_csv(single_test(folder) / "cases.csv")
    rows = rows.set_index(["metric", "case", "subset", "region"]).sort_index()
    rows.loc[("dice", "case 3", "t2", "TC"), "value"] += 0.4
    rows.loc[("dice", "case 5", "t1", "ET"), "value"] -= 0.3
    columns = ["case", "subset", "region", "metric", "policy", "value"]
    rows.reset_index()[columns].to_csv(single_test(folder) / "cases.csv", index=False)
    print_comparison("phantom-rfnet-baseline-mr2468-s1037", str(folder), runs, None)
    text = capsys.readouterr().out
    gains, losses = lines_of(text, "gain"), lines_of(text, "loss")
    assert gains[0] == ["gain", "case 3", "t2", "TC", "50.00", "95.00", "45.00"]
    assert losses == [["loss", "case 5", "t1", "ET", "64.00", "39.00", f"{MINUS}25.00"]]


def test_grids_are_compared_within_the_trainings_that_both_have(runs, capsys):
    print_comparison("first", "second", runs, runs / "both.csv")
    text = capsys.readouterr().out
    assert "A: RFNet + PASSION, mr2468  first/phantom-rfnet-passion-mr2468-s1037\n" in text
    [wt] = lines_of(text, "Dice (%)", "WT")
    assert wt[3:6] == ["84.00", "81.00", f"{MINUS}3.00"]
    record(runs / "second", "passion", seed=1038, cases=CASES, strength=0.04)
    print_comparison("first", "second", runs, None)
    text = capsys.readouterr().out
    assert "A: RFNet + PASSION, mr2468  first/phantom-rfnet-passion-mr2468-s1037 (2 runs)" in text
    [wt] = lines_of(text, "Dice (%)", "WT")
    assert wt[3:6] == ["85.00", "82.00", f"{MINUS}3.00"]
    assert set(pd.read_csv(runs / "both.csv")["method"]) == {"RFNet + PASSION, phantom, mr2468"}


def test_each_metric_policy_is_compared_by_itself(tmp_path, capsys):
    brats = {"metrics": {"policy": "brats-2022"}, "test": {"policy": "brats-2022"}}
    for grid, gained in (("first", 0.0), ("second", 0.1)):
        for seed in (1, 2, 3):
            record(tmp_path / grid, "baseline", seed=seed, cases=CASES, strength=gained)
            record(
                tmp_path / grid, "baseline", seed, 0.1 + gained, cases=CASES, name=f"brats-{seed}", **brats
            )
    print_comparison("first", "second", tmp_path, None)
    found = lines_of(capsys.readouterr().out, "Dice (%)", "WT")
    assert sorted(cells[3:6] for cells in found) == [["79.00", "89.00", "10.00"], ["89.00", "99.00", "10.00"]]


def test_grids_of_other_metric_policies_are_told_so(tmp_path):
    brats = {"metrics": {"policy": "brats-2022"}, "test": {"policy": "brats-2022"}}
    for seed in (1, 2):
        record(tmp_path / "first", "baseline", seed=seed)
        record(tmp_path / "second", "baseline", seed=seed, **brats)
    with pytest.raises(
        InputError, match=r"differ in their metric policy \(passion and brats-2022\): their cas"
    ):
        print_comparison("first", "second", tmp_path, None)


def test_weights_of_others_are_compared_each_with_itself(tmp_path, capsys):
    for grid, gained in (("first", 0.0), ("second", 0.1)):
        for digest, strength in (("0ne", 0.0), ("0ther", 0.3)):
            run = record(tmp_path / grid, "baseline", name=digest, strength=strength + gained, cases=CASES)
            change(run, imported={"file": f"{digest}.pth", "sha256": digest})
    print_comparison("first", "second", tmp_path, tmp_path / "both.csv")
    found = lines_of(capsys.readouterr().out, "Dice (%)", "WT")
    assert [cells[3:6] for cells in found] == [["79.00", "89.00", "10.00"], ["109.00", "119.00", "10.00"]]
    assert list(pd.read_csv(tmp_path / "both.csv")["method"].unique()) == [
        "RFNet baseline (weights=0ne), phantom, mr2468",
        "RFNet baseline (weights=0ther), phantom, mr2468",
    ]
    print_comparison("first/0ne", "first/0ther", tmp_path, None)
    assert "differ in weights (0ne | 0ther)\n" in capsys.readouterr().out


def test_two_trainings_of_one_seed_on_a_side_are_told(tmp_path):
    for grid in ("first", "second"):
        for number in (1, 2):
            identity = {"training": f"7ra1n-{number}"}
            record(tmp_path / grid, "baseline", name=f"run-{number}", cases=CASES, identity=identity)
    with pytest.raises(InputError, match=r"differ in their hash of the training \(7ra1n-1 in run-1; 7ra1n-2"):
        print_comparison("first", "second", tmp_path, None)


def test_the_networks_of_all_subsets_are_compared_as_one(tmp_path, capsys):
    for grid, strength in (("first", 0.0), ("second", 0.1)):
        for subset in table_subsets(PHANTOM):
            name = subset_name(subset, PHANTOM.modalities)
            run = record(tmp_path / grid, "baseline", strength=strength, cases=CASES, name=name)
            change(run, config={"train": {"subset": name}})
            rows = read_rows(run.test(TEST).cases)
            write_rows(run.test(TEST).cases, [row for row in rows if row.subset == name])
    print_comparison("first", "second", tmp_path, None)
    [wt] = lines_of(capsys.readouterr().out, "Dice (%)", "WT")
    assert wt[2:] == ["8", "79.00", "89.00", "10.00", "[10.00, 10.00]", DASH]


def test_settings_that_one_side_leaves_at_their_default_are_named(tmp_path, capsys):
    plain = record(tmp_path / "g", "baseline", cases=CASES)
    other = record(tmp_path / "g", "baseline", cases=CASES, seed=1, options={"policy": "idt_drop"})
    change(other, config={"table_seed": 3, "train": {"optimiser": "sgd"}})
    record(tmp_path / "g", "passion", cases=CASES, options={"tau": 4.0})
    print_comparison(str(plain.path), str(other.path), tmp_path, None)
    text = " ".join(capsys.readouterr().out.split())
    for said in (
        "table_seed (1037 | 3)",
        "objective.policy (idt | idt_drop)",
        "train.optimiser (default | sgd)",
    ):
        assert said in text
    print_comparison(str(plain.path), "phantom-rfnet-passion-mr2468-s1037-4.0", tmp_path, None)
    [differ] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("differ in")]
    assert differ == "differ in objective.name (baseline | passion)"


def test_what_cannot_be_compared(runs):
    baseline, passion = "phantom-rfnet-baseline-mr2468-s1037", "phantom-rfnet-passion-mr2468-s1038"
    for a, b, says in (
        (baseline, "phantom-rfnet-pasion-mr2468-s1038", f"did you mean {passion}"),
        (baseline, "nothing at all", "there are 5 runs under"),
        (baseline, "phantom-rfnet-passion-mr2468-s1037", "is in several grids: give its path, such as"),
        (baseline, "phantom-mmformer-passion-mr2468-s1037", "is failed .the loss is nan"),
    ):
        with pytest.raises(InputError, match=says):
            print_comparison(a, b, runs, None)
    with pytest.raises(InputError, match=r"cannot be written .*choose another file"):
        print_comparison(baseline, passion, runs, runs / "nowhere" / "x.csv")
    record(runs / "third", "moddrop")
    with pytest.raises(InputError, match="no finished run with the same configuration"):
        print_comparison("first", str(runs / "third"), runs, None)
    other = record(runs / "third", "baseline", seed=7)
    content = other.config()
    content["data"]["hash"] = "0ther"
    other.write_config(content)
    with pytest.raises(InputError, match=r"differ in their data hash \(d474 and 0ther\)"):
        print_comparison(baseline, str(other.path), runs, None)
    strangers = record(runs / "third", "baseline", seed=8, cases=("x", "y"))
    with pytest.raises(InputError, match="have no test case in common"):
        print_comparison(baseline, str(strangers.path), runs, None)


def test_a_run_is_shown_whole(runs, capsys):
    folder = runs / "first/phantom-rfnet-passion-mr2468-s1038"
    (folder / "model.json").write_text('{"parameters": 8981792, "gflops": 812.5}')
    show_run(str(folder), runs)
    text = capsys.readouterr().out
    assert text.startswith("RFNet + PASSION  (phantom-rfnet-passion-mr2468-s1038)\ndone\n")
    for part in (
        "8.98 M parameters, 812.5 GFLOPs a crop",
        "d474: 21 train, 3 val, 8 test",
        "ab1e: realised missing rates FLAIR 57.1 %",
        "commit c0ffee1234",
        "Metric policy passion",
        "last of 3 epochs (3.0 minutes): total 3",
        "mean over 8 test cases",
    ):
        assert part in text
    assert lines_of(text, "FLAIR", "0.5") == [["FLAIR", "0.5", "-0.08333", "1.1"]]
    [average] = lines_of(text, "Average")
    assert average[4:] == ["86.00", "76.00", "66.00", "56.00", "4.20", "7.20", "10.20", "13.20"]
    only_t2 = next(cells for cells in lines_of(text, "○") if cells[:4] == ["○", "○", "○", "●"])
    assert only_t2[4:8] == ["72.00", "62.00", "52.00", "42.00"]


def test_an_unfinished_run_is_shown_as_far_as_it_came(runs, capsys):
    show_run("phantom-mmformer-passion-mr2468-s1037", runs)
    text = capsys.readouterr().out
    assert "failed: the loss is nan in epoch 1 at case 1" in text
    assert "last of 1 epoch (1.0 minutes)" in text
    assert "test case" not in text.replace("8 test", "")
    folder = runs / "first/phantom-rfnet-baseline-mr2468-s1037"
    (folder / "done").unlink()
    rows = (single_test(folder) / "cases.csv").read_text().splitlines(keepends=True)
    (single_test(folder) / "cases.csv").write_text(
        "".join(line for line in rows if line.startswith(("case,", "case 1,")))
    )
    show_run(folder.name, runs)
    text = capsys.readouterr().out
    assert "partial: stopped in testing" in text
    assert "mean over 1 test case of 8 so far" in text


def test_what_cannot_be_shown(runs):
    with pytest.raises(InputError, match="first is a grid of 3 runs: name one of them, such as"):
        show_run("first", runs)
    with pytest.raises(InputError, match="did you mean phantom-mmformer"):
        show_run("phantom-mmformer-passion", runs)
    folder = runs / "first/phantom-rfnet-baseline-mr2468-s1037"
    (single_test(folder) / "cases.csv").write_text("what,is,this\n")
    with pytest.raises(InputError, match="expected the columns"):
        show_run(str(folder), runs)
    (folder / "log.jsonl").write_text("{\n")
    with pytest.raises(InputError, match="is damaged"):
        show_run(str(folder), runs)
