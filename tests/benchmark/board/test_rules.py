"""The rules of a board, each broken on purpose in a real training that keeps all of them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from bench_program import bench
from board_runs import accept, changed, hand_in
from docs_page import DOCS, commands
from lone_test_folder import single_test
from safetensors.numpy import load_file, save_file

from bench_errors import InputError
from benchmark.board import check_network
from benchmark.board.accept import add_archives
from benchmark.board.check_run import check_run
from benchmark.board.entries import RUNS, Accepted
from benchmark.board.rules import RULES, BrokenRule
from benchmark.board.unpack import unpack
from benchmark.config.run_config import digest, read_config
from benchmark.evaluation.metrics import Scoring
from benchmark.evaluation.score_maps import score_maps
from benchmark.evaluation.segment_case import Segmentation
from benchmark.report.data.collect import collect
from benchmark.run_folder.case_rows import read_rows, write_rows
from benchmark.run_folder.files import read_yaml
from benchmark.run_folder.folder import run_folders
from datasets.store.store import Store
from datasets.studies.myops import PHANTOM_HEART


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """Three archives and the store of their data."""
    archives, store = hand_in(tmp_path_factory.mktemp("handed-in"))
    return archives, {"phantom": store}


def config(**changes):
    """What changes `config.yaml`: a value by its keys, joined by dots."""

    def change(run):
        content = read_yaml(run / "config.yaml")
        for keys, value in changes.items():
            *path, last = keys.split("__")
            part = content
            for key in path:
                part = part[key]
            part[last] = value
        (run / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    return change


def text(name, old, new, times=-1):
    """What changes a text file of the run, or of its test."""

    def change(run):
        path = next(p for p in (run / name, single_test(run) / name) if p.exists())
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new, times))

    return change


def scores(change_row):
    """What changes each of the scores."""

    def change(run):
        path = single_test(run) / "cases.csv"
        rows = [changed for row in read_rows(path) if (changed := change_row(row))]
        write_rows(path, rows)

    return change


def predictions(change_maps):
    """What changes the class maps of each case."""

    def change(run):
        for path in single_test(run).glob("predictions/*.npz"):
            with np.load(path) as arrays:
                subsets, maps = arrays["subsets"], change_maps(arrays["maps"])
            np.savez_compressed(path, subsets=subsets, maps=maps)

    return change


def weights(change_tensors):
    def change(run):
        path = run / "weights.safetensors"
        save_file(change_tensors(load_file(path)), path)

    return change


def no_predictions(run):
    shutil.rmtree(single_test(run) / "predictions", ignore_errors=True)


def of_another_case(run):
    path = next(single_test(run).glob("predictions/*.npz"))
    path.rename(path.with_name("other.npz"))


def bomb(run):
    """A file of maps that unpacks to far more than maps of the case can have."""
    path = next(single_test(run).glob("predictions/*.npz"))
    np.savez_compressed(path, subsets=np.array(["t1"]), maps=np.zeros((15, 400, 400, 40), np.uint8))


def first(**values):
    """Change the first score alone."""

    def change_row(row):
        return row._replace(**values) if row[1:4] == ("t2", "WT", "dice") else row

    return change_row


def none(row):
    return None if row[1:4] == ("t2", "WT", "dice") else row


BROKEN = {
    "no network of ours": ("code", config(config__backbone__name="os:system")),
    "another seed": ("configuration", config(config__seed=7)),
    "another hash": ("configuration", config(hash="0123456789")),
    "an unknown option": ("configuration", config(config__train__speed=7)),
    "no identity": ("configuration", text("config.yaml", "identity:", "idle:")),
    "an alias": ("configuration", text("config.yaml", "hash:", "a: &a [1]\nb: *a\nhash:", 1)),
    "no yaml": ("configuration", text("config.yaml", "hash:", "{[", 1)),
    "a dataset elsewhere": ("data", None),
    "a file as profile": ("availability", None),
    "other data": ("data", config(identity__data="0123456789abcdef")),
    "another split": ("split", text("split.json", "Phantom_001", "Phantom_009")),
    "weights from elsewhere": ("split", None),
    "another table": ("availability", text("availability.csv", ",1", ",0", 1)),
    "no table": ("availability", lambda run: (run / "availability.csv").unlink()),
    "an epoch less": ("finished", text("log.jsonl", '{"epoch": 0', '{"epoch": 1')),
    "no finite loss": ("finished", text("log.jsonl", '"total": ', '"total": NaN, "was": ')),
    "not done": ("finished", lambda run: (run / "done").unlink()),
    "other settings of the test": ("policy", text("test.yaml", "window: 32", "window: 16")),
    "another policy": ("policy", text("test.yaml", "policy: passion", "policy: diagonal")),
    "poor quality outside": (
        "subsets",
        text("test.yaml", "  window: 32", "  window: 32\n  outside: noise-2"),
    ),
    "no HD95": ("policy", text("test.yaml", "  - hd95\n", "")),
    "another text of the metrics": (
        "policy",
        text("test.yaml", "policy passion", "policy mine"),
    ),
    "a score less": ("scores", scores(none)),
    "a score too high": ("scores", scores(first(value=1.5))),
    "a score that is none": ("scores", scores(first(value=float("nan")))),
    "a score below zero": ("scores", scores(first(value=-0.1))),
    "a score by other rules": ("scores", scores(first(policy="mine"))),
    "an unknown region": ("scores", scores(first(region="=1+1"))),
    "scores beyond the predictions": ("scores", scores(lambda row: row._replace(value=1.0 - row.value / 2))),
    "predictions of another case": ("scores", of_another_case),
    "another class": ("scores", predictions(lambda maps: maps + 4)),
    "another shape": ("scores", predictions(lambda maps: maps[:, 1:])),
    "a bomb of predictions": ("scores", bomb),
    "other weights": ("weights", weights(lambda tensors: {k: -v for k, v in tensors.items()})),
    "weights of another network": ("weights", weights(lambda tensors: {"w": np.zeros(3, np.float32)})),
    "no finite weights": ("weights", weights(lambda t: {k: np.full_like(v, np.nan) for k, v in t.items()})),
    "no weights at all": ("weights", lambda run: (run / "weights.safetensors").write_bytes(b"no")),
    "modified code": ("provenance", text("sessions.jsonl", '"dirty": false', '"dirty": true')),
    "no version": ("provenance", text("sessions.jsonl", '"version"', '"virgin"')),
    "markup beyond words": ("provenance", text("sessions.jsonl", '"cpu": "', '"cpu": "' + "<b>" * 50)),
    "no sessions": ("provenance", lambda run: (run / "sessions.jsonl").unlink()),
}


def rehashed(dataset="phantom", profile="ir2468", **train):
    """A configuration of other data, another profile or training under its own hash."""

    def change(run):
        from benchmark.config.run_config import read_config

        content = read_yaml(run / "config.yaml")
        content["config"] |= {"dataset": dataset, "profile": profile}
        content["config"]["train"] |= train
        content["hash"] = read_config(content["config"], "test").hash
        (run / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    return change


BROKEN["a dataset elsewhere"] = ("data", rehashed(dataset="../../data/phantom"))
BROKEN["a file as profile"] = ("availability", rehashed(profile="csv:/etc/passwd"))
BROKEN["weights from elsewhere"] = ("split", rehashed(init="weights.safetensors"))


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_rule_is_refused_by_its_name(handed_in, tmp_path, what):
    (archive, *_), stores = handed_in
    rule, change = BROKEN[what]
    with pytest.raises(BrokenRule) as refused:
        check_run(*unpack(changed(archive, tmp_path / "there", change), tmp_path / "place"), stores)
    assert refused.value.rule == rule, str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value), "where the keeper unpacks is nobody's business"


def more_metrics(run):
    """Add another test as bench makes it, which has one metric more."""
    content, first = read_yaml(run / "config.yaml"), single_test(run)
    settings = read_yaml(first / "test.yaml")
    asked = read_config({**content["config"], "test": settings["test"]}, "test")
    test = asked.test.model_copy(update={"metrics": ("dice", "hd95", "nsd")})
    other = run / "tests" / asked.model_copy(update={"test": test}).test_name
    of_test = {**test.model_dump(), "window": asked.window}
    cases = list(json.loads((run / "split.json").read_text())["test"])
    settings["hash"] = digest([content["identity"]["training"], of_test, content["identity"]["data"], cases])
    settings |= {"test": of_test, "metrics": Scoring.of(of_test).conditions(3)}
    other.mkdir()
    (other / "test.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    rows = read_rows(first / "cases.csv")
    write_rows(other / "cases.csv", [*rows, *(r._replace(metric="nsd") for r in rows if r.metric == "dice")])
    (other / "done").touch()


def test_a_run_has_one_test_of_a_kind(handed_in, tmp_path):
    """Two of other metrics would count as two trainings."""
    (archive, *_), stores = handed_in
    with pytest.raises(BrokenRule, match="two of its tests differ in their metrics alone"):
        check_run(*unpack(changed(archive, tmp_path / "there", more_metrics), tmp_path / "place"), stores)


def test_what_keeps_them_is_on_the_board_and_nothing_else_of_it(handed_in, tmp_path):
    """With the commands of the page."""
    archives, stores = handed_in
    board = tmp_path / "board"
    for i, archive in enumerate(archives):
        shutil.copy(changed(archive, tmp_path / archive.stem, _evil), tmp_path / f"SEED{i + 1}.tar.gz")
    export, add, build = commands(DOCS / "leaderboard.md")
    assert export == ["export", "RUN", "--predictions"]  # as `hand_in` does it
    done = bench(*(argument.replace("STORE", str(stores["phantom"])) for argument in add), cwd=tmp_path)
    said = "RFNet baseline on phantom, ir2468: 3 trainings, scores of 1 recomputed"
    assert said in done.stdout, done.stderr
    built = bench(*build, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert "evil" not in "".join(page.read_text() for page in (tmp_path / "report").rglob("*.html"))
    folders = run_folders(board / RUNS)
    names = {path.name for path in board.rglob("*") if path.is_file()}
    assert names == {
        *(
            "config.yaml",
            "sessions.jsonl",
            "split.json",
            "availability.csv",
            "log.jsonl",
            "done",
            "test.yaml",
        ),
        *("cases.csv", "accepted.json"),
    }
    assert not [path for path in board.rglob("*") if path.is_file() and "evil" in path.read_text()]
    accepted = Accepted.of(folders[0].path)
    assert accepted.recomputed == (folders[0].tests()[0].path.name,)
    assert len(accepted.weights) == len(accepted.archive) == 64
    shown = bench("show", folders[0].path.name, "--runs", board)
    assert "last of 1 epoch" in shown.stdout, shown.stderr
    reported = bench(
        *("report", "--runs", board, "--grid", "runs", "--out", tmp_path / "own", "--formats", "png")
    )
    assert reported.returncode == 0, reported.stderr
    assert list((tmp_path / "own").rglob("*-loss.png"))
    again = collect([board / RUNS])
    assert {run.commit for run in again.runs} == {"c0ffee1234"}
    assert {run.state for run in again.runs} == {"done"}


def _evil(run):
    """Where nobody looks, an archive may say anything."""
    config(name="evil", grid="evil", data__availability__realised={"evil": 1})(run)
    text("log.jsonl", '{"epoch"', '{"evil": 1, "epoch"')(run)
    text("sessions.jsonl", '"environment": {', '"evil": 1, "environment": {"evil": "=evil()", ')(run)
    (run / "model.json").write_text('{"left_out": "evil"}')
    (single_test(run) / "examples.npz").write_bytes(b"evil")


def test_the_scores_are_those_of_the_predictions(handed_in, tmp_path):
    """Recorded ones that differ by rounding, as of another processor, give way to them."""
    (archive, *_), stores = handed_in
    near = scores(
        lambda row: row._replace(value=min(row.value + 1e-3, 1.0) if row.metric == "dice" else row.value)
    )
    original = check_run(*unpack(archive, tmp_path / "a"), stores).tests[0]
    checked = check_run(*unpack(changed(archive, tmp_path / "there", near), tmp_path / "b"), stores).tests[0]
    assert checked.rows == original.rows
    without = changed(archive, tmp_path / "there", lambda run: (near(run), no_predictions(run)))
    as_recorded = check_run(*unpack(without, tmp_path / "c"), stores)
    assert not as_recorded.tests[0].recomputed
    assert as_recorded.tests[0].rows != original.rows


def test_predictions_that_the_weights_do_not_make_are_refused_in_whatever_case_is_drawn(
    handed_in, tmp_path, monkeypatch
):
    """The references themselves, handed in as predictions of one case with the scores that they have."""
    (archive, *_), stores = handed_in
    store = Store.open(stores["phantom"])
    drawn = []
    monkeypatch.setattr(check_network.secrets, "choice", lambda cases: drawn.append(cases) or cases[-1])
    folder, hashes = unpack(archive, tmp_path / "honest")
    checked = check_run(folder, hashes, stores)
    assert drawn == [checked.inputs.tested]
    [test] = checked.tests
    check_network.check_weights(folder, checked.inputs, (replace(test, recomputed=False), test))
    assert len(drawn) == 2  # of each test that has some, also after one without
    case = checked.inputs.tested[-1]

    def perfect(run):
        test = single_test(run)
        path = test / "predictions" / f"{case}.npz"
        with np.load(path) as arrays:
            subsets, maps = arrays["subsets"], np.zeros_like(arrays["maps"]) + store.labels(case)
        np.savez_compressed(path, subsets=subsets, maps=maps)
        scoring = Scoring.of(read_yaml(test / "test.yaml")["test"])
        scored = score_maps(store, case, Segmentation(dict(zip(subsets, maps, strict=True))), scoring)
        values = {row[:4]: row for row in scored}
        scores(lambda row: values.get(row[:4], row))(run)

    with pytest.raises(BrokenRule, match=f"they predict case {case} otherwise than handed in") as refused:
        check_run(*unpack(changed(archive, tmp_path / "there", perfect), tmp_path / "evil"), stores)
    assert refused.value.rule == "weights"


def test_all_that_are_given_or_none(handed_in, tmp_path, monkeypatch):
    archives, stores = handed_in
    checked = {}  # each of them once, as that takes a second

    def once(folder, hashes, stores):
        if hashes["config.yaml"] not in checked:
            checked[hashes["config.yaml"]] = check_run(folder, hashes, stores)
        return checked[hashes["config.yaml"]]

    monkeypatch.setattr("benchmark.board.accept.check_run", once)
    board = tmp_path / "board"
    with pytest.raises(BrokenRule, match=r"the rule 'trainings' is broken: RFNet baseline .* has 2"):
        add_archives(archives[:2], board, stores)
    with pytest.raises(BrokenRule, match="the rule 'once' is broken"):
        add_archives([*archives, archives[0]], board, stores)
    with pytest.raises(InputError, match="no store of phantom"):
        check_run(*unpack(archives[0], tmp_path / "place"), {"phantom": tmp_path})
    with pytest.raises(InputError, match="no file"):
        add_archives([tmp_path / "absent.tar.gz"], board, stores)
    assert not board.exists()
    add_archives(archives, board, stores)
    there = {path: path.read_bytes() for path in board.rglob("*") if path.is_file()}
    with pytest.raises(BrokenRule, match=rf"{archives[0].name}: the rule 'once' is broken"):
        add_archives(archives[:1], board, stores)
    assert {path: path.read_bytes() for path in board.rglob("*") if path.is_file()} == there
    for folder in run_folders(board / RUNS)[:2]:
        shutil.rmtree(folder.path)
    with pytest.raises(BrokenRule, match=r"has 2, give its other"):
        add_archives(archives[:1], board, stores)
    add_archives(archives[:2], board, stores)
    assert {path: path.read_bytes() for path in board.rglob("*.csv")} == {
        path: content for path, content in there.items() if path.suffix == ".csv"
    }


def test_a_withdrawn_training_keeps_no_other_entry_from_the_board(handed_in, tmp_path):
    archives, stores = handed_in
    for seed in (1, 2):
        accept(tmp_path / "board", "passion", seed, 0.1, description=PHANTOM_HEART)
    (entry,) = add_archives(archives, tmp_path / "board", stores)
    assert entry.title == "RFNet baseline on phantom, ir2468"


def test_weights_are_not_handed_in_under_two_seeds(handed_in, tmp_path):
    archives, stores = handed_in
    source, _ = unpack(archives[0], tmp_path / "first")

    def same(run):
        shutil.copy(source.path / "weights.safetensors", run)
        no_predictions(run)

    with pytest.raises(BrokenRule, match="its weights are those of"):
        add_archives(
            [archives[0], changed(archives[1], tmp_path / "there", same)], tmp_path / "board", stores
        )


def test_scores_are_not_handed_in_under_two_seeds(handed_in, tmp_path):
    archives, stores = handed_in
    source, _ = unpack(archives[0], tmp_path / "first")

    def same(run):
        shutil.copy(single_test(source.path) / "cases.csv", single_test(run))
        (run / "weights.safetensors").unlink()

    with pytest.raises(BrokenRule, match="the rule 'once' is broken: its scores are those of") as refused:
        add_archives(
            [archives[0], changed(archives[1], tmp_path / "there", same)], tmp_path / "board", stores
        )
    assert RULES["once"] in str(refused.value)


def test_the_page_has_the_rules_in_their_words():
    page = (DOCS / "leaderboard.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| **")]
    assert {name.strip("*"): sentence for name, sentence in rows} == RULES
    assert [name.strip("*") for name, _ in rows] == list(RULES)


def test_every_rule_is_broken_in_a_test():
    elsewhere = {"archive", "trainings", "once"}
    assert {rule for rule, _ in BROKEN.values()} | elsewhere == set(RULES)
