import pytest
import torch

import passion
from bench_errors import InputError
from bench_yaml import Document
from benchmark.config.run_config import RunConfig, read_config
from passion import OBJECTIVES


def test_hash_is_a_function_of_the_content_alone():
    first = RunConfig.model_validate({"objective": {"name": "passion", "tau": 2}, "seed": 3})
    second = RunConfig.model_validate({"seed": 3, "objective": {"tau": 2.0, "name": "passion"}})
    assert first.hash == second.hash
    assert first.hash != first.model_copy(update={"seed": 4}).hash


def test_stating_a_default_does_not_make_another_run():
    assert RunConfig().hash == RunConfig.model_validate({"train": {"epochs": 300}}).hash


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"train": {"epochs": 0}}, "train.epochs: expected 1 or more, found 0"),
        ({"train": {"epoch": 3}}, "train.epoch: no such option here"),
        ({"train": {"crop": 50}}, "train.crop: expected a multiple of 16, found 50"),
        ({"train": {"crop": [80, 50, 160]}}, "train.crop, entry 2: expected a multiple of 16, found 50"),
        ({"train": {"crop": [80]}}, "train.crop: expected 2 or more entries"),
        ({"train": {"crop": [80, 80, 80]}}, "the edges [80, 80, 80] are all the same: give one, 80"),
        ({"test": {"window": [64, 80, 8]}}, "test.window, entry 3: expected a multiple of 16"),
        ({"train": {"optimiser": "adma"}}, "train.optimiser: expected 'adamw', 'adam', 'sgd' or 'radam'"),
        ({"train": {"optimiser": "sgd", "amsgrad": False}}, "amsgrad has no effect with optimiser: sgd"),
        ({"train": {"schedule": "step"}}, "train.schedule: expected 'poly', 'constant' or 'cosine'"),
        ({"train": {"steps_per_epoch": 0}}, "train.steps_per_epoch: expected 1 or more, found 0"),
        ({"train": {"init": ""}}, "train.init: expected text"),
        ({"objective": {"name": "baseline", "tau": 4}}, "objective.tau: no such option here"),
        ({"objective": {"name": "passion", "policy": "pdt"}}, "set profile: complete"),
        ({"objective": {"name": "baseline", "warmup_epochs": 9}, "train": {"epochs": 9}}, "lower it"),
        ({"test": {"policy": "brats-2032"}}, "did you mean brats-2023"),
        ({"test": {"metrics": ["dise"]}}, "did you mean dice"),
        ({"test": {"outside": "nois-2"}}, "unknown degradation 'nois': did you mean noise"),
        ({"test": {"outside": "noise-5"}}, "expected a severity of 1, 2 or 3"),
        ({"test": {"outside": 2}}, "test.outside: expected text, found 2"),
        ({"objective": {"name": "passion", "beta": False, "eta": 0.02}}, "objective.eta has no effect"),
        ({"objective": {"name": "passion", "pixel": False, "lambda1": 1}}, "objective.lambda1 has no effect"),
        ({"objective": {"name": "passion", "semantic": False, "lambda2": 1}}, "lambda2 has no effect"),
        ({"objective": {"name": "passion", "pixel": False, "tau": 2}}, "objective.tau has no effect"),
        (
            {"objective": {"name": "passion", "delta": False, "beta": False, "preference": "kl"}},
            "objective.preference has no effect: delta and beta are off",
        ),
        (
            {"objective": {"name": "passion", "variant": "paper", "semantic": False}},
            "objective.delta has no effect",
        ),
        (
            {"objective": dict.fromkeys(("pixel", "semantic", "delta", "beta"), False) | {"name": "passion"}},
            "use objective baseline",
        ),
        ({"objective": {"name": "passion", "preference": "l2"}}, "'prototype', 'dice' or 'kl'"),
        ({"objective": {"name": "moddrop", "policy": "idt"}}, "objective.policy: no such option here"),
        ({"objective": {"name": "dwa", "temperature": 0}}, "objective.temperature: expected more than 0"),
        (
            {"objective": {"name": "kd", "teacher_data": "complete"}, "profile": "complete"},
            "objective.teacher_data has no effect",
        ),
        (
            {"profile": "complete", "table_seed": 3},
            "table_seed has no effect: profile complete draws nothing",
        ),
        ({"profile": "csv:a.csv", "table_seed": 3}, "table_seed has no effect"),
        (
            {"split": "fold5of5"},
            "unknown split 'fold5of5': known are auto, published+rest, random, same",
        ),
    ],
)
def test_wrong_options_are_named(content, says):
    with pytest.raises(InputError) as caught:
        Document(content, "run").check(RunConfig)
    assert says in str(caught.value)


@pytest.mark.parametrize("backbone", ["monai:UNet"])
def test_equal_numbers_under_arguments_make_one_run(backbone):
    def config(value):
        section = {"name": backbone, "arguments": {"dropout": value, "deep": [{"a": value}]}}
        return RunConfig.model_validate({"backbone": section})

    for values in ((0, 0.0, -0.0), (1, 1.0), (0.1, 1e-1)):
        first = config(values[0])
        assert {config(value).hash for value in values} == {first.hash}
        assert all(config(value) == first for value in values)
    assert len({config(value).hash for value in (0, 1, 0.5, True, "1", None)}) == 6
    assert type(config(1.0).backbone.arguments["dropout"]) is float  # the class gets what was written
    assert type(config(1).backbone.arguments["dropout"]) is int


@pytest.mark.parametrize("value", [float("inf"), float("nan"), [1, {"a": float("-inf")}]])
def test_numbers_under_arguments_are_finite(value):
    section = {"name": "monai:UNet", "arguments": {"x": value}}
    with pytest.raises(InputError, match=r"backbone.arguments.x.*: expected a finite number"):
        Document({"backbone": section}, "run").check(RunConfig)


def test_the_settings_of_a_test_make_another_test_and_no_other_training():
    tests = (
        {},
        {"outside": "noise-2"},
        {"policy": "brats-2023"},
        {"window": 96},
        {"metrics": ["nsd"]},
        {"flips": True},
    )
    runs = [RunConfig.model_validate({"objective": "kd", "test": test}) for test in tests]
    assert len({run.hash for run in runs}) == len({run.teacher.hash for run in runs}) == 1
    assert len({run.folder for run in runs}) == 1
    assert len({run.test_name for run in runs}) == len(runs)
    assert len(set(runs)) == len(runs)
    same = RunConfig.model_validate({"test": {"window": 80, "outside": None}})
    assert same.test_name == RunConfig().test_name
    assert RunConfig.model_validate(RunConfig().model_dump()) == RunConfig()


def test_what_decides_the_weights_makes_another_training():
    changes = (
        {},
        {"train": {"select": "best"}},
        {"train": {"lr": 1e-3}},
        {"description": "0123456789"},
        {"precision": "tf32"},
        {"train": {"optimiser": "sgd"}},
        {"train": {"optimiser": "radam"}},
        {"train": {"amsgrad": False}},
        {"train": {"schedule": "cosine"}},
        {"train": {"steps_per_epoch": 219}},
        {"train": {"crop": [80, 96, 80]}},
        {"train": {"crop": [96, 80, 80]}},
        {"train": {"init": "weights.pth#0123456789ab"}},
        {"train": {"init": "weights.pth#ba9876543210"}},
        {"seed": 1},
        {"table_seed": 1},
        {"split": "fold0of5"},
    )
    assert len({RunConfig.model_validate(change).hash for change in changes}) == len(changes)


def test_options_of_other_recipes_leave_the_hashes_of_runs_without_them_as_they_were():
    assert RunConfig().hash == "643d90512c"
    assert RunConfig().test_name == "passion-0a5c8c0b6f"
    assert RunConfig.model_validate({"train": {"crop": 96}}).hash == "352eda5d0a"
    usual = {"optimiser": "adamw", "amsgrad": True, "schedule": "poly", "steps_per_epoch": None, "init": None}
    assert RunConfig.model_validate({"train": usual}).hash == RunConfig().hash


def test_where_weights_to_start_from_lie_does_not_matter():
    here, there = (
        RunConfig.model_validate({"train": {"init": f"{path}#0123456789ab"}}) for path in ("a", "b#/c.pth")
    )
    assert here.hash == there.hash
    assert read_config(here.model_dump(), "run") == here


def test_windows_are_the_crops_edges_unless_they_are_given():
    config = RunConfig.model_validate({"train": {"crop": [80, 160, 160]}})
    assert config.window == (80, 160, 160)
    assert read_config(config.model_dump(mode="json"), "run") == config
    same = config.model_copy(update={"test": config.test.model_copy(update={"window": (80, 160, 160)})})
    assert same.test_name == config.test_name != RunConfig().test_name


def test_the_usual_table_seed_leaves_hashes_and_names_as_they_were():
    usual = RunConfig.model_validate({"table_seed": 1037})
    assert "table_seed" not in usual.model_dump()
    assert (usual.hash, usual.name) == (RunConfig().hash, RunConfig().name)
    other = RunConfig.model_validate({"table_seed": 7})
    assert other.name == "phantom-rfnet-passion-mr2468-t7-s1037"
    assert read_config(other.model_dump(), "run") == other


def test_a_dedicated_network_is_another_training_and_no_subset_leaves_hashes_as_they_were():
    usual, dedicated = RunConfig(), RunConfig.model_validate({"train": {"subset": "flair+t2"}})
    assert "subset" not in usual.model_dump()["train"]
    assert usual.hash != dedicated.hash
    assert dedicated.subset(("flair", "t1ce", "t2")) == ("flair", "t2")
    taught = {"objective": {"name": "kd", "teacher_data": "complete"}, "train": {"subset": "flair"}}
    assert RunConfig.model_validate(taught).teacher.train.subset is None


def test_records_of_before_edition_2_are_read():
    recorded = RunConfig().model_dump(exclude={"test"})
    old = {**recorded, "test": {"window": None, "metrics": "brats", "select": "best", "validate_every": 5}}
    del old["train"]["select"], old["train"]["validate_every"]
    config = read_config(old, "run")
    assert (config.train.select, config.train.validate_every, config.test.policy) == ("best", 5, "brats-2022")
    assert read_config(config.model_dump(), "run") == config


def test_files_give_short_names():
    config = RunConfig(profile="a/b/sites.yaml#0123456789ab")
    assert config.name == "phantom-rfnet-passion-sites-s1037"


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_has_its_section_and_takes_its_options(name):
    config = RunConfig.model_validate({"objective": {"name": name}})
    assert config.name == f"phantom-rfnet-{name}-mr2468-s1037"
    assert RunConfig.model_validate(config.model_dump()).hash == config.hash
    objective = passion.create(config.objective, 4, 4, teacher=torch.nn.Module())
    assert objective.options is config.objective
    assert hasattr(objective, "teacher") == (config.teacher is not None)


def test_a_tau_for_the_preference_has_an_effect():
    RunConfig.model_validate({"objective": {"name": "passion", "pixel": False, "preference": "kl", "tau": 2}})


def test_the_teacher_is_the_baseline_of_the_same_run():
    content = {"objective": {"name": "kd", "policy": "idt_drop"}, "seed": 5, "train": {"epochs": 7}}
    teacher = RunConfig.model_validate(content).teacher
    content["objective"]["name"] = "baseline"
    assert teacher == RunConfig.model_validate(content)
    assert teacher.teacher is None


def test_the_teacher_of_complete_data_sees_random_subsets_of_all():
    content = {"objective": {"name": "kd", "teacher_data": "complete"}, "table_seed": 7}
    teacher = RunConfig.model_validate(content).teacher
    assert (teacher.profile, teacher.objective.policy, teacher.objective.name) == (
        "complete",
        "pdt",
        "baseline",
    )
    assert teacher == RunConfig.model_validate(teacher.model_dump())


def test_the_hash_covers_the_teacher(monkeypatch):
    student = RunConfig.model_validate({"objective": {"name": "kd"}})
    before = student.hash
    monkeypatch.setattr(RunConfig, "teacher", property(lambda self: None))
    assert student.model_copy().hash != before


def test_name_says_what_the_run_is():
    config = RunConfig.model_validate({"objective": {"name": "baseline", "policy": "idt_drop"}})
    assert config.name == "phantom-rfnet-baseline-drop-mr2468-s1037"
    fold = RunConfig.model_validate({"split": "fold0of5", "profile": "complete"})
    assert fold.name == "phantom-rfnet-passion-complete-fold0of5-s1037"
    published = RunConfig.model_validate({"dataset": "brats2018", "split": "uhved1", "profile": "complete"})
    assert published.name == "brats2018-rfnet-passion-complete-uhved1-s1037"


def test_a_changed_copy_does_not_keep_the_hash_of_its_original():
    config = RunConfig()
    assert config.hash == RunConfig().hash
    changed = config.model_copy(update={"seed": 1})
    assert changed.hash == RunConfig(seed=1).hash != config.hash
    assert changed == RunConfig(seed=1)


PRETRAIN = {"objective": "mae", "train": {"epochs": 7, "augment": False}}


def test_a_pretraining_is_the_run_with_another_objective_and_training():
    content = {"backbone": "m3ae", "seed": 5, "train": {"epochs": 3, "select": "best", "crop": 48}}
    config = RunConfig.model_validate({**content, "pretrain": PRETRAIN})
    train = {"epochs": 7, "augment": False, "crop": 48}
    expected = RunConfig.model_validate({**content, "objective": "mae", "train": train})
    assert config.needs == (expected,)
    assert (expected.needs, expected.test_name) == ((), "")
    assert config.test_name
    assert read_config(config.model_dump(), "run") == config
    plain = RunConfig.model_validate(content)
    assert "pretrain" not in plain.model_dump()
    assert plain.hash != config.hash


def test_the_hash_is_that_of_the_pretraining_however_it_is_written():
    def config(**train):
        return RunConfig.model_validate(
            {"backbone": "m3ae", "pretrain": {"objective": "mae", "train": train}}
        )

    assert config().hash == config(epochs=300).hash
    assert config().hash != config(epochs=299).hash


def test_a_teacher_is_pretrained_too():
    config = RunConfig.model_validate({"backbone": "m3ae", "objective": "kd", "pretrain": PRETRAIN})
    pretraining, teacher = config.needs
    assert teacher.needs == (pretraining,)


@pytest.mark.parametrize(
    ("pretrain", "says"),
    [
        ({"objective": "mea"}, "unknown objective 'mea'"),
        ({}, "pretrain.objective is missing"),
        ({"objective": "mae", "train": {"epoch": 3}}, "pretrain.train.epoch: no such option here"),
        ({"objective": "mae", "train": {"select": "best"}}, "pretrain.train.select: mae segments nothing"),
        ({"objective": "mae", "train": {"validate_every": 2}}, "train.validate_every: mae segments nothing"),
        (
            {"objective": "mae", "train": {"init": "a.pth"}},
            "pretrain.train.init: a pre-training starts",
        ),
        (
            {"objective": {"name": "mae", "policy": "pdt"}},
            "pretrain.objective.policy: pdt trains on complete",
        ),
    ],
)
def test_what_is_wrong_with_a_pretraining_is_named(pretrain, says):
    with pytest.raises(InputError) as caught:
        Document({"backbone": "m3ae", "pretrain": pretrain}, "run").check(RunConfig)
    assert says in str(caught.value)
