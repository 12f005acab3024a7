import pytest
from pydantic import ValidationError

from benchmark.config import RunConfig, readable_errors


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
        ({"train": {"epochs": 0}}, "train.epochs: Input should be greater than or equal to 1 (found 0)"),
        ({"train": {"epoch": 3}}, "train.epoch: no such option here"),
        ({"train": {"crop": 50}}, "train.crop: Input should be a multiple of 16 (found 50)"),
        ({"objective": {"name": "baseline", "tau": 4}}, "objective.tau: no such option here"),
        ({"objective": {"name": "passion", "policy": "pdt"}}, "set profile: complete"),
        ({"objective": {"name": "baseline", "warmup_epochs": 9}, "train": {"epochs": 9}}, "lower it"),
        ({"test": {"validate_every": 2}}, "has no effect"),
        ({"test": {"outside": "nois-2"}}, "unknown degradation 'nois': did you mean noise"),
        ({"test": {"outside": "noise-5"}}, "expected a severity of 1, 2 or 3"),
        ({"test": {"outside": 2}}, "test.outside: Input should be a valid string"),
        ({"split": "fold5of5"}, "unknown split 'fold5of5': choose auto, same, or a fold such as fold0of5"),
    ],
)
def test_wrong_options_are_named(content, says):
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(content)
    assert says in readable_errors(caught.value.errors())


def test_what_is_outside_a_subset_is_in_the_hash_and_its_absence_is_not():
    assert "outside" not in RunConfig().model_dump()["test"]
    hashes = {RunConfig.model_validate({"test": {"outside": o}}).hash for o in (None, "noise-2", "slab-2")}
    assert len(hashes) == 3
    assert RunConfig().hash in hashes
    assert RunConfig.model_validate(RunConfig().model_dump()) == RunConfig()


def test_files_give_short_names():
    config = RunConfig(profile="a/b/sites.yaml#0123456789ab")
    assert config.name == "phantom-rfnet-passion-sites-s1037"


def test_name_says_what_the_run_is():
    config = RunConfig.model_validate({"objective": {"name": "baseline", "policy": "idt_drop"}})
    assert config.name == "phantom-rfnet-baseline-drop-mr2468-s1037"
    fold = RunConfig.model_validate({"split": "fold0of5", "profile": "complete"})
    assert fold.name == "phantom-rfnet-passion-complete-fold0of5-s1037"
