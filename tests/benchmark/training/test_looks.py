"""A run that looks at its validation cases, from the grid on: the curve, and the weights that it leads to."""

import pytest
import torch

from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.launch.execute_grid import begin_run
from benchmark.run_folder.checkpoint import load_checkpoint
from benchmark.training import run
from benchmark.training.inputs import Inputs
from datasets.phantom.study import write_study
from datasets.preparation.prepare import prepare
from datasets.studies.names import DATASETS


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study(folder / "study", 6, 32, 0)
    return prepare(folder / "study", DATASETS.get("phantom"), folder / "store")


@pytest.fixture
def trained(store, tmp_path):
    """Trains a small run with options of the training; returns its folder."""

    def trained(name, split="fold0of3", **train):
        content = {
            **{"profile": "ir2468", "backbone": {"name": "uhemis", "width": 2}, "objective": "baseline"},
            **{"split": split, "train": {"epochs": 2, "crop": 32, **train}, "test": {"metrics": ["dice"]}},
        }
        config = RunConfig.model_validate(content)
        folder = begin_run(name, Inputs.of(config, store), [config], tmp_path)
        assert run.execute(folder, run.Execution(store.path, "cpu", 1, track=False))
        return folder

    return trained


def weights(folder):
    return load_checkpoint(folder, torch.device("cpu"))["weights"]


def test_a_curve_is_recorded_and_changes_no_weights(trained):
    without, curve = trained("without"), trained("curve", validate_every=1)
    assert ["validation" in line for line in without.log()] == [False, False]
    scores = [line["validation"] for line in curve.log()]
    assert all(0 <= score <= 1 for score in scores)
    assert len(scores) == 2
    theirs = weights(without)
    assert all(value.equal(theirs[key]) for key, value in weights(curve).items())
    assert [line["loss"] for line in without.log()] == [line["loss"] for line in curve.log()]


def test_a_split_without_validation_cases_has_no_curve(trained):
    with pytest.raises(InputError, match="validate_every need validation cases and the split has none"):
        trained("none", "leave0of3", validate_every=1)
