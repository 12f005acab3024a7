"""What is collected of several grids: runs once each, incomplete ones with a reason, differing ones apart."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from lone_test_folder import single_test
from recorded_runs import ENVIRONMENT, POLICY, TEST, change, record, record_examples

from bench_errors import InputError
from benchmark.report.data.collect import collect
from benchmark.report.data.scores import score
from benchmark.report.tables.captions import conditions, rates
from benchmark.report.tables.contents import contents
from benchmark.report.write import write_report
from benchmark.run_folder.case_rows import read_rows, write_rows
from benchmark.run_folder.files import write_yaml
from benchmark.run_folder.folder import RunFolder
from datasets.studies.brats import PHANTOM
from datasets.vocabulary import subset_name, table_subsets


def test_grids_are_put_together_and_a_run_of_both_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])
    record(tmp_path / "a", "baseline")
    record(tmp_path / "b", "baseline", strength=0.5)
    record(tmp_path / "b", "passion")
    collected = collect([tmp_path / "a", tmp_path / "b"])
    assert collected.grids == ("a", "b")
    assert [(run.grid, run.config["objective"]["name"]) for run in collected.runs] == [
        ("a", "baseline"),
        ("b", "passion"),
    ]
    assert [run.grid for run in collected.repeated] == ["b"]
    assert set(collected.cases["grid"]) == {"a", "b"}
    first = collected.cases[collected.cases["method"] == "RFNet baseline"]["value"].iloc[0]
    assert first == pytest.approx(0.3)
    text = write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out").files[0].read_text()
    assert text.startswith("# Report of grids a, b\n")
    assert "- b/phantom-rfnet-baseline-mr2468-s1037: an earlier grid, a test of more metrics" in text


def test_a_finished_run_goes_before_the_same_one_unfinished(tmp_path):
    record(tmp_path / "a", "baseline", state="failed")
    record(tmp_path / "b", "baseline")
    collected = collect([tmp_path / "a", tmp_path / "b"])
    assert [(run.grid, run.state) for run in collected.runs] == [("b", "done")]
    assert [(run.grid, run.state) for run in collected.repeated] == [("a", "failed")]


def test_a_run_counts_once_where_another_grid_has_more_tests_of_it(tmp_path):
    for seed in (1, 2, 3):
        for objective in ("baseline", "passion"):
            record(tmp_path / "a", objective, seed=seed)
            again = record(tmp_path / "b", objective, seed=seed)
            other, settings = again.test("other"), again.test(TEST).settings()
            other.begin({**settings, "test": {"policy": "passion", "outside": "noise-2"}})
            shutil.copy(again.test(TEST).cases, other.cases)
            other.mark_done()
    collected = collect([tmp_path / "a", tmp_path / "b"])
    assert [run.grid for run in collected.repeated] == ["b"] * 6
    [study] = collected.studies()
    assert {study.methods.count(run.method) for run in study.runs} == {1}
    assert {len(study.of_methods([method]).runs) for method in study.methods} == {3}


def with_metrics(folder, *metrics):
    """Another test of a run, with these metrics."""
    test = folder.test("-".join(metrics))
    test.begin({**folder.test(TEST).settings(), "test": {"policy": "passion", "metrics": list(metrics)}})
    shutil.copy(folder.test(TEST).cases, test.cases)
    test.mark_done()


def test_tests_of_other_metrics_are_no_further_trainings(tmp_path):
    for seed in (1, 2, 3):
        for objective in ("baseline", "passion"):
            run = record(
                tmp_path / "g", objective, seed=seed, test={"policy": "passion", "metrics": ["dice"]}
            )
            with_metrics(run, "dice", "hd95")
    collected = collect([tmp_path / "g"])
    [study] = collected.studies()
    assert [len(study.of_methods([method]).runs) for method in study.methods] == [3, 3]
    assert {run.test.name for run in study.runs} == {"dice-hd95"}
    assert [run.test.name for run in collected.repeated] == [TEST] * 6
    with_metrics(run, "nsd")
    with pytest.raises(
        InputError, match=r"are tests of one training, and the second alone has nsd: give one"
    ):
        collect([tmp_path / "g"])


def evaluated(run, name="on-other-data", data="a", table="none"):
    """A test of a run on data of elsewhere, as `bench evaluate` makes it; `data` trained it."""
    own, test = run.test(TEST), run.test(name)
    about = {"trained": {"dataset": "phantom", "data": data}, "left_out": 0, "availability": table}
    test.begin(
        {
            **own.settings(),
            "test": {"policy": "passion", "evaluated": "elsewhere under csv:who.csv"},
            "dataset": replace(PHANTOM, name="elsewhere").to_dict(),
            "data": {**run.config()["data"], "hash": "e15e"},
            "evaluated": about,
        }
    )
    shutil.copy(own.cases, test.cases)
    test.mark_done()


@pytest.mark.parametrize("seeds", [(1, 1), (1, 2)])
def test_trainings_on_other_data_are_told_even_where_they_are_tested_on_the_same(tmp_path, seeds):
    for site, seed in zip("ab", seeds, strict=True):
        run = record(tmp_path / site, "baseline", seed=seed, name=f"run-{site}")
        evaluated(run, data=f"51te{site}")
        run.test(TEST).path.rename(tmp_path / f"own-{site}")
    says = r"differ in their training data \(51tea in run-a; 51teb in run-b\): they .*report one kind alone"
    with pytest.raises(InputError, match=says):
        collect([tmp_path / "a", tmp_path / "b"])
    assert len(collect([tmp_path / "b"]).runs) == 1


def test_tests_under_two_contents_of_one_profile_file_are_told(tmp_path):
    run = record(tmp_path / "g", "baseline")
    evaluated(run, "on-elsewhere-1", table="tab1e1")
    evaluated(run, "on-elsewhere-2", table="tab1e2")
    says = r"differ in their availability table of the test \(tab1e1 in \S+/on-elsewhere-1; tab1e2 in "
    with pytest.raises(InputError, match=says):
        collect([tmp_path / "g"])


@pytest.mark.parametrize("name", ["run", None])
def test_another_training_of_one_seed_is_told(tmp_path, name):
    for grid in "ab":
        record(tmp_path / grid, "baseline", name=name or grid, identity={"training": f"7ra1n-{grid}"})
    says = "differ in their hash of the training .7ra1n-a in (a/run/.*|a); 7ra1n-b in (b/run/.*|b).:"
    with pytest.raises(InputError, match=says):
        collect([tmp_path / "a", tmp_path / "b"])


def test_runs_of_one_name_on_other_data_are_split(tmp_path):
    for grid, data in (("a", "d474"), ("b", "0ther")):
        run = record(tmp_path / grid, "baseline", identity={"training": data})
        change(run, data={"hash": data})
    with pytest.raises(InputError, match="differ in their data hash"):
        collect([tmp_path / "a", tmp_path / "b"])
    collected = collect([tmp_path / "a", tmp_path / "b"], ["data"])
    assert [study.variant for study in collected.studies()] == ["data 0ther", "data d474"]
    assert collected.repeated == ()
    assert len(collected.cases) == 2 * 2 * 15 * 4 * 2


def test_a_run_of_before_edition_2_that_was_done_again_is_no_further_training(tmp_path):
    old = record(tmp_path / "g", "baseline", name="old")
    content = old.config()
    del content["identity"]
    old.write_config({**content, "metrics": POLICY})
    old.test(TEST).cases.rename(old.path / "cases.csv")
    shutil.rmtree(old.path / "tests")
    assert [run.path.name for run in collect([tmp_path / "g"]).runs] == ["old"]
    record(tmp_path / "g", "baseline", name="new")
    collected = collect([tmp_path / "g"])
    assert [run.path.name for run in collected.runs] == ["new"]
    assert [run.path.name for run in collected.repeated] == ["old"]


def test_two_grids_may_have_other_tests_of_one_run(tmp_path):
    record(tmp_path / "a", "baseline")
    other = record(tmp_path / "b", "baseline", test={"policy": "passion", "outside": "noise-2"})
    other.test(TEST).path.rename(other.test("other").path)
    collected = collect([tmp_path / "a", tmp_path / "b"])
    assert [run.folder.split("/")[1] for run in collected.runs] == [TEST, "other"]
    assert len(collected.studies()[0].methods) == 2


def test_a_training_that_nothing_tests_is_left_out(tmp_path):
    record(tmp_path / "g", "baseline")
    shutil.rmtree(record(tmp_path / "g", "mae").path / "tests")
    assert [run.config["objective"]["name"] for run in collect([tmp_path / "g"]).runs] == ["baseline"]


def test_unfinished_runs_have_a_reason(tmp_path):
    record(tmp_path / "g", "baseline")
    record(tmp_path / "g", "passion", seed=1, state="failed")
    record(tmp_path / "g", "passion", seed=2, state="partial")
    waiting = record(tmp_path / "g", "passion", seed=3, state="partial")
    testing = record(tmp_path / "g", "passion", seed=4)
    (waiting.path / "sessions.jsonl").unlink()
    (single_test(testing) / "done").unlink()
    reasons = {run.config["seed"]: run.reason for run in collect([tmp_path / "g"]).runs if not run.method}
    assert reasons == {
        1: "the loss is nan in epoch 1 at case 1: lower train.lr, or check the data",
        2: "stopped after 1 of 3 epochs",
        3: "not begun",
        4: "stopped in testing",
    }


@pytest.mark.parametrize(
    ("name", "parts", "variants"),
    [
        ("data", {"data": {"hash": "0ther"}}, ["data 0ther", "data d474"]),
        ("policy", {"metrics": {"policy": "brats"}}, ["policy brats-2022", "policy passion"]),
    ],
)
def test_differing_runs_are_refused_or_split(tmp_path, name, parts, variants):
    for objective, strength in (("baseline", 0.0), ("passion", 0.1)):
        record(tmp_path / "g", objective, strength=strength)
        other = record(tmp_path / "g", objective, strength=strength, options={"tried": "again"})
        content = other.config()
        del content["config"]["objective"]["tried"]
        other.write_config(content)
        change(other, **parts)
    with pytest.raises(InputError, match=f"tell them apart with --split-by {name}"):
        collect([tmp_path / "g"])
    collected = collect([tmp_path / "g"], [name])
    assert [study.variant for study in collected.studies()] == variants
    assert {run.method for run in collected.runs} == {"RFNet baseline", "RFNet + PASSION"}
    main = next(s for s in contents(collected) if s.kind == "profiles").tables[0]
    assert [column.title for column in main.columns] == [*(f"mr2468, {v}" for v in variants), "Average"]
    assert all(row.runs == 1 for row in main.rows)
    names = [table.name for section in contents(collected) for table in section.tables]
    assert len(set(names)) == len(names)


def test_availability_tables_are_split_within_a_profile(tmp_path):
    folder = record(tmp_path / "g", "baseline")
    record(tmp_path / "g", "passion")
    record(tmp_path / "g", "passion", profile="mr1379")
    content = folder.config()
    content["data"]["availability"]["hash"] = "0ther"
    folder.write_config(content)
    with pytest.raises(InputError, match="--split-by availability"):
        collect([tmp_path / "g"])
    studies = collect([tmp_path / "g"], ["availability"]).studies()
    assert [study.title for study in studies] == [
        "mr1379",
        "mr2468, availability 0ther",
        "mr2468, availability ab1e",
    ]


def test_trainings_of_several_table_seeds_are_trainings_of_one_method(tmp_path):
    for table_seed in (1037, 7):
        for objective in ("baseline", "passion"):
            run = record(tmp_path / "g", objective, name=f"{objective}-{table_seed}")
            change(run, data={"availability": {"hash": f"tab1e{table_seed}"}})
            if table_seed != 1037:
                change(run, config={"table_seed": table_seed})
    collected = collect([tmp_path / "g"])
    [study] = collected.studies()
    assert [(run.method, run.config["table_seed"]) for run in study.runs] == [
        *(("RFNet baseline", seed) for seed in (7, 1037)),
        *(("RFNet + PASSION", seed) for seed in (7, 1037)),
    ]
    assert set(collected.cases["table_seed"]) == {7, 1037}
    [gain] = contents(collected)[0].answers[0].gains
    assert (gain.effect.trainings, gain.effect.tables) == (1, (2,))
    said = contents(collected)[0].tables[0].conditions
    assert "availability tables tab1e7 (with these rates), tab1e1037, data" in said
    assert "over 2 trainings of different availability table; in all that compares methods the tables" in said
    change(run, data={"availability": {"hash": "0ther"}})
    with pytest.raises(InputError, match="differ in their availability table"):
        collect([tmp_path / "g"])


def dedicated(folder, subset, seed=1037, strength=0.0):
    """Record a network that is for one subset."""
    run = record(folder, "baseline", seed=seed, strength=strength, name=f"{subset}-{seed}")
    change(run, config={"train": {"subset": subset}})
    rows = read_rows(run.test(TEST).cases)
    write_rows(run.test(TEST).cases, [row for row in rows if row.subset == subset])


def test_the_networks_of_all_subsets_are_one_row_whatever_their_tests_are_called(tmp_path):
    """`bench evaluate` calls a test by the hash of its training too."""
    record(tmp_path / "g", "baseline")
    for subset in table_subsets(PHANTOM):
        name = subset_name(subset, PHANTOM.modalities)
        dedicated(tmp_path / "g", name)
        run = RunFolder(tmp_path / "g" / f"{name}-1037")
        run.test(TEST).path.rename(run.test(f"on-other-{name}").path)
    [study] = collect([tmp_path / "g"]).studies()
    assert [len(run.parts) for run in study.runs] == [0, 15]


def test_weights_of_others_are_methods_of_their_own(tmp_path):
    for digest in ("0ne", "0ther"):
        imported = {"file": f"{digest}.pth", "sha256": digest}
        change(record(tmp_path / "g", "baseline", name=digest), imported=imported)
    collected = collect([tmp_path / "g"])
    assert collected.repeated == ()
    [study] = collected.studies()
    assert study.methods == ["RFNet baseline (weights=0ne)", "RFNet baseline (weights=0ther)"]
    said = conditions([score(collected.cases, study, "dice")])
    assert "Published weights of 0ne.pth, 0ther.pth: how they were trained is not known." in said


def evaluated_import(folder, name):
    """Weights of others, tested as `bench evaluate` does."""
    run = record(folder, "baseline", name=name)
    record_examples(run)
    (run.path / "log.jsonl").unlink()
    content = run.config()
    trained, data = content["config"], content.pop("data")
    known = {key: trained[key] for key in ("dataset", "backbone")} | {"train": {"crop": 32}}
    del content["identity"]
    run.write_config({**content, "config": known, "imported": {"file": f"{name}.pth", "sha256": name}})
    unknown = {"profile": "unknown", "objective": {"name": "published weights"}, "seed": 0}
    table = {"profile": "unknown", "hash": "unknown", "nominal": None, "realised": {}}
    test = {
        **run.test(TEST).settings(),
        "config": unknown,
        "data": {**data, "availability": table},
        "evaluated": {"run": name, "trained": {"dataset": "brats2020", "data": "unknown"}, "left_out": 0},
        "test": {"policy": "passion", "evaluated": "phantom"},
    }
    write_yaml(run.test(TEST).path / "test.yaml", test)
    return run


def test_weights_of_others_that_were_evaluated_have_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.figures.style.DPI", 40)
    run, _ = (evaluated_import(tmp_path / "g", name) for name in ("0ne", "0ther"))
    written = write_report([tmp_path / "g"], tmp_path / "out", formats=["png"])
    names = {path.name for path in written.files}
    assert "phantom-unknown-dice.png" in names
    assert "phantom-unknown-missing-dice.png" not in names
    assert not [name for name in names if "parts" in name]
    text = written.files[0].read_text()
    assert "Published weights of 0ne.pth, 0ther.pth: how they were trained is not known." in text
    assert "earlier edition" not in text
    assert rates(collect([tmp_path / "g"]).runs[0].content) == "missing rates unknown"
    (run.test(TEST).path / "done").unlink()
    collected = collect([tmp_path / "g"], wanted={"g": set()})  # no grid has them
    reasons = {run.reason for run in collected.runs if run.state == "partial"}
    assert reasons == {"stopped in testing"}


def test_the_networks_of_all_subsets_are_one_row(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])
    names = [subset_name(s, PHANTOM.modalities) for s in table_subsets(PHANTOM)]
    for seed in (1037, 1):
        record(tmp_path / "g", "baseline", seed=seed)
        for name in names:
            dedicated(tmp_path / "g", name, seed, strength=0.1)
    collected = collect([tmp_path / "g"])
    [study] = collected.studies()
    assert study.methods == ["RFNet baseline", "RFNet dedicated"]
    assert [(run.config["seed"], len(run.parts)) for run in study.runs] == [
        (1, 0),
        (1037, 0),
        (1, 15),
        (1037, 15),
    ]
    scores = score(collected.cases, study, "dice")
    ours, theirs = (scores.of_runs(method) for method in reversed(study.methods))
    np.testing.assert_allclose(ours, theirs + 10)
    [gain] = contents(collected)[0].answers[0].gains
    assert (gain.method, gain.reference) == ("RFNet dedicated", "RFNet baseline")
    assert gain.effect.trainings == 2
    text = write_report([tmp_path / "g"], tmp_path / "out").files[0].read_text()
    assert "Dedicated: a network for each subset, trained on the cases that have it." in text
    assert text.count("| RFNet dedicated | phantom |") == 30  # the conditions of each network


def test_a_row_of_some_subsets_has_no_average(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])
    record(tmp_path / "g", "baseline")
    dedicated(tmp_path / "g", "flair+t2")
    collected = collect([tmp_path / "g"])
    [study] = collected.studies()
    scores = score(collected.cases, study, "dice").of_runs("RFNet dedicated")[0, 0]
    names = [subset_name(s, PHANTOM.modalities) for s in table_subsets(PHANTOM)]
    assert np.flatnonzero(np.isfinite(scores)).tolist() == [names.index("flair+t2")]
    assert write_report([tmp_path / "g"], tmp_path / "out").files


def test_many_differing_runs_are_named_in_short(tmp_path):
    for seed in range(6):
        change(record(tmp_path / "g", "baseline", seed=seed), data={"hash": "one" if seed else "other"})
    with pytest.raises(InputError, match=r"one in \S+-s1, \S+-s2, \S+-s3 and 2 more\)"):
        collect([tmp_path / "g"])


def test_wrong_input_is_refused(tmp_path):
    folder = record(tmp_path / "g", "baseline")
    with pytest.raises(InputError, match="did you mean data"):
        collect([tmp_path / "g"], ["dat"])
    with pytest.raises(InputError, match=r"no runs at .*nothing"):
        collect([tmp_path / "g", tmp_path / "nothing"])
    cases = single_test(folder) / "cases.csv"
    lines = cases.read_text().splitlines(keepends=True)
    cases.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(InputError, match=r"case 2, subset flair\+t1ce\+t1\+t2, ETpp, hd95 twice"):
        collect([tmp_path / "g"])
    cases.write_text("".join(lines))
    (folder.path / "model.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        collect([tmp_path / "g"])
    (folder.path / "model.json").unlink()
    (folder.path / "log.jsonl").write_text("{oops\n")
    for read in (lambda run: run.log, lambda run: run.trained):
        with pytest.raises(InputError, match=r"^[^(]* is damaged \(Expecting[^(]*\(char 1\)\): restore"):
            read(collect([tmp_path / "g"]).runs[0])


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (
            lambda row: row.case != "case 1" or row.region != "ET",
            r"lacks regions of case case 1, subset \S+, dice",
        ),
        (lambda row: row.region != "ET" or row.metric != "hd95", "lacks regions of case case 1, .* hd95"),
        (lambda row: row.case != "case 1" or row.subset != "flair+t2", "lacks subsets of case case 1"),
        (lambda row: row.case != "case 1" or row.subset != "flair", "lacks subsets of case case 1"),
        (lambda row: row.metric != "hd95", r"cases.csv lacks the metric hd95 of its test\.yaml: remove"),
    ],
)
def test_scores_that_are_not_whole_are_refused(tmp_path, kept, says):
    test = {"policy": "passion", "metrics": ["dice", "hd95"]}
    cases = record(tmp_path / "g", "baseline", test=test).test(TEST).cases
    write_rows(cases, [row for row in read_rows(cases) if kept(row)])
    with pytest.raises(InputError, match=says):
        collect([tmp_path / "g"])


@pytest.mark.parametrize("key", ["availability", "split"])
@pytest.mark.parametrize("fold", [0, 1])
def test_runs_of_any_fold_that_differ_are_refused(tmp_path, key, fold):
    for number in range(2):
        for objective in ("baseline", "passion"):
            folder = record(tmp_path / "g", objective, name=f"{objective}-{number}")
            of_fold = {"config": {"split": f"fold{number}of2"}, "identity": {"split": f"5p1it{number}"}}
            change(folder, **of_fold, data={"availability": {"hash": f"tab1e{number}"}})
    collect([tmp_path / "g"])
    other = next((tmp_path / "g").glob(f"passion-{fold}*"))
    differs = {
        "availability": {"data": {"availability": {"hash": "0ther"}}},
        "split": {"identity": {"split": "0"}},
    }
    change(RunFolder(other), **differs[key])
    with pytest.raises(InputError, match=f"differ in their {key}"):
        collect([tmp_path / "g"])


def test_runs_on_published_splits_are_trainings_of_one_method(tmp_path):
    for number in (1, 2, 3):
        folder = record(tmp_path / "g", "baseline", name=f"baseline-{number}")
        change(folder, config={"split": f"uhved{number}"}, identity={"split": f"5p1it{number}"})
    [study] = collect([tmp_path / "g"]).studies()
    assert study.methods == ["RFNet baseline"]
    table = contents(collect([tmp_path / "g"]))[-1].tables[0]
    assert "over 3 trainings of different split." in table.conditions


def test_runs_on_other_descriptions_of_a_study_are_refused(tmp_path):
    for objective, digest in (("baseline", "0123456789"), ("passion", "9876543210")):
        change(record(tmp_path / "g", objective), config={"description": digest})
    with pytest.raises(InputError, match="differ in their description of the study"):
        collect([tmp_path / "g"])


@pytest.mark.parametrize("kind", ["backbone", "objective", "pretraining"])
def test_runs_of_a_plugin_whose_file_has_changed_are_refused(tmp_path, kind):
    name = {"backbone": "mine:Net"}.get(kind, "mine:Goal")
    given = {"objective": "passion", **({kind: name} if kind != "pretraining" else {})}
    for seed, digest in ((1037, "0ne"), (1038, "0ther")):
        plugin = {kind: {"origin": name, "sha256": digest}}
        folder = record(tmp_path / "g", seed=seed, name=f"run-{seed}", plugins=plugin, **given)
        if kind == "pretraining":
            change(folder, config={"pretrain": {"objective": {"name": name}}})
    with pytest.raises(InputError, match=f"differ in their source of the {kind}"):
        collect([tmp_path / "g"])
    change(folder, plugins={kind: {"origin": name, "sha256": "0ne"}})
    collect([tmp_path / "g"])


def test_only_runs_of_the_grid_are_taken_and_others_named(tmp_path):
    kept, left = record(tmp_path / "g", "baseline"), record(tmp_path / "g", "baseline", seed=1)
    elsewhere = kept.test("on-other-data")
    elsewhere.begin({**kept.test(TEST).settings(), "evaluated": {}})
    collected = collect([tmp_path / "g"], wanted={"g": {(kept.path.name, TEST)}})
    assert [run.test.name for run in collected.runs] == ["on-other-data", TEST]
    assert [run.folder for run in collected.others] == [left.path.name]
    assert collect([tmp_path / "g"]).others == ()
    with pytest.raises(InputError, match=r"\(none, 3 that the grid does not have\): .*--set of 'bench run'"):
        collect([tmp_path / "g"], wanted={"g": set()})


def test_folders_of_before_edition_2_are_read_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])
    folder = record(tmp_path / "g", "baseline")
    test = folder.test(TEST)
    content = folder.config()
    del content["identity"]
    content["config"]["test"] = {"metrics": "passion", "select": "last"}
    folder.write_config({**content, "metrics": POLICY})
    test.cases.rename(folder.path / "cases.csv")
    shutil.rmtree(folder.path / "tests")
    (folder.path / "sessions.jsonl").unlink()
    (folder.path / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (run,) = collect([tmp_path / "g"], wanted={"g": set()}).runs
    assert (run.is_old, run.state, run.commit) == (True, "done", "c0ffee1234")
    assert run.config["test"] == {"policy": "passion"}
    text, page = (path.read_text() for path in write_report([tmp_path / "g"], tmp_path / "out").files[:2])
    assert "## Of an earlier edition" in text
    assert "`environment.json` (where each session computed)" in text
    assert "<code>environment.json</code> (where each session computed)" in page
    assert "sessions.jsonl" not in text + page
