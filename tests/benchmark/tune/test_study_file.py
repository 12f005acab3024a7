import pytest
import yaml
from stub_study import CONTENT, made, write_plan

from bench_errors import InputError
from benchmark.tune.study_file import check_parts, load_parameters, load_search, search_names
from datasets.batches.split import Split


@pytest.mark.parametrize("name", search_names())
def test_shipped_studies_are_valid_and_try_the_papers_values_first(name):
    found, search = load_search(name)
    search.check(found)
    assert search.about
    paper = {"objective.lambda1": 0.5, "objective.lambda2": 0.1, "objective.tau": 4}
    assert {key: search.first(found)[key] for key in paper} == paper


def test_a_trial_is_a_run_of_the_grid_that_has_the_studys_name(tmp_path):
    name, search = load_search(str(write_plan(tmp_path)))
    grid = search.grid(name, {"objective.tau": 8, "objective.lambda1": 0.25})
    assert grid.name == "stub"
    (config,) = grid.configs
    assert (config.objective.name, config.objective.tau, config.objective.lambda1) == ("passion", 8, 0.25)
    assert config.train.epochs == 4


def test_a_student_brings_its_teacher(tmp_path):
    path = write_plan(
        tmp_path, space={"objective.tau": [2, 4]}, base={"objective": "kd", "train": {"epochs": 20}},
        validation={"every": 5},
    )  # fmt: skip
    name, search = load_search(str(path))
    assert [c.objective.name for c in search.grid(name, {"objective.tau": 2}).configs] == ["baseline", "kd"]


def test_the_cases_looked_at_are_drawn_among_the_validation_cases_alone(tmp_path):
    _, search = load_search(str(write_plan(tmp_path, validation={"every": 1, "cases": 2})))
    parts = Split(("a",), ("b", "c", "d", "e"), ("f", "g"))
    looked_at = search.looked_at(parts)
    assert len(looked_at) == 2
    assert set(looked_at) < set(parts.val)
    assert search.looked_at(parts) == looked_at


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": {}}, "space"),
        ({"space": {"objective.tua": [1, 2]}}, "did you mean tau"),
        ({"space": {"objective.tau": {"low": 5, "high": 9}}}, "tries it first, so widen the space"),
        ({"space": {"objective.tau": [4]}}, "two or more different choices"),
        ({"space": {"objective.tau": [4, 8, 4.0]}}, "two or more different choices"),
        ({"space": {"objective.tau": {"low": 8, "high": 2}}}, "low 8 is not below high 2"),
        ({"space": {"objective.tau": {"low": 0, "high": 9, "log": True}}}, "needs low > 0"),
        (
            {"space": {"objective.tau": {"low": 0, "high": 9}}},
            r"stub.yaml, line \d+: objective.tau: expected more than 0, found 0",
        ),
        ({"space": {"split": ["auto", "same"]}}, "measured on"),
        ({"space": {"seed": [1, 2]}}, "measured on"),
        ({"validation": {"cases": "test"}}, "never sees the test cases"),
        ({"validation": {"every": 4}}, "has no effect, as the first look comes after 4 of 4 epochs"),
        ({"pruner": "mediam"}, "median"),
        ({"goal": "both", "pruner": "asha"}, "no effect with goal: both"),
        ({"goal": "test"}, "mean"),
        ({"pruner": {"name": "asha", "startup": 3}}, "no such option"),
        (
            {"base": {"train": {"epochs": 20, "select": "best"}}, "validation": {"every": 2}},
            "validation has no effect with train.select: best",
        ),
        (
            {"goal": "worst", "base": {"train": {"epochs": 20, "validate_every": 5}}, "validation": {}},
            "goal: worst judges a trial by its worst subset",
        ),
        ({"spaec": {}}, "no such option"),
    ],
)
def test_what_no_study_can_be_is_refused_in_one_line(tmp_path, changes, says):
    with pytest.raises(InputError, match=says) as caught:
        made(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_unreadable_files_and_unknown_names_are_named(tmp_path):
    with pytest.raises(InputError, match="did you mean tune-smoke"):
        load_search("tune-smok")
    with pytest.raises(InputError, match="No such file"):
        load_search(str(tmp_path / "none.yaml"))
    (tmp_path / "grid.yaml").write_text("axes: {}\n")
    with pytest.raises(InputError, match=r"study .*grid.yaml, line 1: space is missing"):
        load_search(str(tmp_path / "grid.yaml"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "space:\n  objective.tau: [1, 4]\nbase:\n  train:\n    epoch: 3\n",
            "line 5: train.epoch: no such option",
        ),
        (
            "space:\n  objective.tau: [1, 4]\n  objective.tua: [1, 2]\n",
            "line 3: objective.tua: no such option",
        ),
        ("space:\n  objective.tau:\n    low: 5\n    high: 9\n", "line 2: objective.tau is 4.0 in base"),
        (
            "space:\n  objective.tau: {low: 1, high: .inf}\n",
            "line 2: space.objective.tau.high: found .inf, expect",
        ),
        (
            "space:\n  objective.tau:\n  - 4\n  - 4.0\n",
            "line 2: space.objective.tau: expected two or more diff",
        ),
        (
            "space: {seed: [1, 2]}\ngoal: bset\n",
            "line 2: goal: expected 'mean', 'worst' or 'both', found 'bset'",
        ),
        (
            "space: {objective.tau: [1, 4]}\npruner: {name: asha,\n  frist: 3}",
            "line 3: pruner.frist: no such opt",
        ),
        ("space: {objective.tau: [1, 4]}\nseed: 010\n", "line 2: seed: found 010, expected"),
        (
            "space: {objective.tau: [1, 4]}\ndata:\n  phantom:\n    cases: no\n",
            "line 4: data.phantom.cases: found",
        ),
        (
            "space: {objective.tau: [1, 4]}\ndata:\n  phantom:\n    cases: 0\n",
            "line 4: data.phantom.cases: expec",
        ),
        (
            "space: {objective.tau: [1, 4]}\nbase:\n  train.lr: 1\n  train: {lr: 1}\n",
            "line 4: train.lr is given at",
        ),
    ],
)
def test_what_is_wrong_with_a_study_is_told_with_its_line(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_search(str(path))[1].check("mine")
    assert f"study {path}, {says}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (Split(("a",), (), ("b",)), "no validation cases"),
        (Split(("a", "b"), ("a", "b"), ("a", "b")), "are test cases"),
    ],
)
def test_a_study_never_sees_the_test_cases(parts, says):
    with pytest.raises(InputError, match=says):
        check_parts("stub", parts)


def test_parameters_are_the_trials_run(tmp_path):
    name, search = load_search(str(write_plan(tmp_path)))
    params = {"objective.lambda1": 0.3123456789012345, "objective.tau": 3}
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump({"study": name, "params": params, "base": CONTENT["base"]}))
    grid = load_parameters(path)
    assert grid.name == "stub"
    assert grid.configs == search.grid(name, params).configs
    path.write_text("axes: {}\n")
    with pytest.raises(InputError, match=r"file of parameters .*best.yaml, line 1: study is missing"):
        load_parameters(path)
