"""Which runs can be tested as one, and on what: cases that none of them has learnt from."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.models import evaluate_on
from benchmark.models.trained_model import check_alike
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from datasets.vocabulary import Normalisation, Slices


def model(name, description=BRATS2020, subset=None, **changes):
    config = RunConfig.model_validate(changes)
    return SimpleNamespace(
        name=name, config=config, description=description, subset=subset, box="full", likeness=None
    )


def test_runs_of_other_modalities_are_no_ensemble():
    check_alike([model("first")])
    check_alike([model("first"), model("second", seed=1)])
    with pytest.raises(InputError, match="--ensemble second: found modalities"):
        check_alike([model("first"), model("second", MYOPS2020)])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": {"crop": 96}}, "its window is 96, that of first is 80"),
        ({"precision": "bf16"}, "its precision is bf16"),
        ({"subset": ("t1",)}, "it is for another subset than first"),
    ],
)
def test_runs_that_are_tested_otherwise_are_no_ensemble(changes, says):
    with pytest.raises(InputError, match=f"--ensemble second: {says}"):
        evaluate_on._check_tested_alike([model("first"), model("second", **changes)])


@pytest.mark.parametrize(
    "changes",
    [{"normalise": (Normalisation("none"),) * 4}, {"whole": True}, {"grid": "1"}, {"slices": Slices()}],
)
def test_runs_whose_images_were_prepared_otherwise_are_no_ensemble(changes):
    with pytest.raises(InputError, match="--ensemble second: found"):
        check_alike([model("first"), model("second", replace(BRATS2020, **changes))])


def test_data_taken_otherwise_than_those_of_training(capsys):
    def fits(**changes):
        store = SimpleNamespace(
            path="STORE", description=replace(BRATS2020, **changes), preparation={"box": "full"}
        )
        evaluate_on._check_fits(model("RUN"), store)

    fits()
    assert capsys.readouterr().err == ""
    fits(grid="flair")
    said = "warning: the images of STORE were taken on the grid flair, those of RUN as they lay: resam"
    assert capsys.readouterr().err.startswith(said)
    with pytest.raises(
        InputError, match="STORE has the whole True, RUN was trained with False: prepare the st"
    ):
        fits(whole=True)


def test_an_ensemble_is_tested_on_what_none_of_it_has_learnt_from(monkeypatch):
    unseen = {"a": (["1", "2", "3"], ["4"]), "b": (["2", "3", "4"], ["1"]), "c": (["4"], ["2", "3"])}
    monkeypatch.setattr(evaluate_on, "unseen_cases", lambda name, store: unseen[name])
    store = SimpleNamespace(path="STORE")
    assert evaluate_on._unseen_by_all(["a"], store) == unseen["a"]
    assert evaluate_on._unseen_by_all(["a", "b"], store) == (["2", "3"], ["1", "4"])
    with pytest.raises(InputError, match="each case of STORE has taught one of the 3 runs"):
        evaluate_on._unseen_by_all(["a", "b", "c"], store)
