import pytest
import yaml
from stub_study import CONTENT, made, write_plan

from bench_errors import InputError
from benchmark.tune.study_file import check_parts, load_parameters, load_plan, plan_names
from datasets.batches.split import Split


@pytest.mark.parametrize("name", plan_names())
def test_shipped_studies_are_valid_and_try_the_papers_values_first(name):
    found, plan = load_plan(name)
    plan.check(found)
    assert plan.about
    paper = {"objective.lambda1": 0.5, "objective.lambda2": 0.1, "objective.tau": 4}
    assert {key: plan.first(found)[key] for key in paper} == paper


def test_a_trial_is_a_run_of_the_grid_that_has_the_studys_name(tmp_path):
    name, plan = load_plan(str(write_plan(tmp_path)))
    grid = plan.grid(name, {"objective.tau": 8, "objective.lambda1": 0.25})
    assert grid.name == "stub"
    (config,) = grid.configs
    assert (config.objective.name, config.objective.tau, config.objective.lambda1) == ("passion", 8, 0.25)
    assert config.train.epochs == 4


def test_a_student_brings_its_teacher(tmp_path):
    path = write_plan(
        tmp_path, space={"objective.tau": [2, 4]}, base={"objective": "kd", "train": {"epochs": 20}},
        validation={"every": 5},
    )  # fmt: skip
    name, plan = load_plan(str(path))
    assert [c.objective.name for c in plan.grid(name, {"objective.tau": 2}).configs] == ["baseline", "kd"]


def test_the_cases_looked_at_are_drawn_among_the_validation_cases_alone(tmp_path):
    _, plan = load_plan(str(write_plan(tmp_path, validation={"every": 1, "cases": 2})))
    parts = Split(("a",), ("b", "c", "d", "e"), ("f", "g"))
    looked_at = plan.looked_at(parts)
    assert len(looked_at) == 2
    assert set(looked_at) < set(parts.val)
    assert plan.looked_at(parts) == looked_at


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
        ({"space": {"objective.tau": {"low": 0, "high": 9}}}, "greater than 0"),
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
        ({"spaec": {}}, "no such option"),
    ],
)
def test_what_no_study_can_be_is_refused_in_one_line(tmp_path, changes, says):
    with pytest.raises(InputError, match=says) as caught:
        made(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_unreadable_files_and_unknown_names_are_named(tmp_path):
    with pytest.raises(InputError, match="did you mean tune-smoke"):
        load_plan("tune-smok")
    with pytest.raises(InputError, match="No such file"):
        load_plan(str(tmp_path / "none.yaml"))
    (tmp_path / "grid.yaml").write_text("axes: {}\n")
    with pytest.raises(InputError, match="is no study"):
        load_plan(str(tmp_path / "grid.yaml"))


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
    name, plan = load_plan(str(write_plan(tmp_path)))
    params = {"objective.lambda1": 0.3123456789012345, "objective.tau": 3}
    path = tmp_path / "best.yaml"
    path.write_text(yaml.safe_dump({"study": name, "params": params, "base": CONTENT["base"]}))
    grid = load_parameters(path)
    assert grid.name == "stub"
    assert grid.configs == plan.grid(name, params).configs
    path.write_text("axes: {}\n")
    with pytest.raises(InputError, match="no file of parameters"):
        load_parameters(path)
