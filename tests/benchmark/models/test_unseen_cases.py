"""Who a network has learnt from is told by voxels: not by names, which mean nothing from study to study."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench_errors import InputError
from benchmark.config.run_config import RunConfig
from benchmark.models.unseen_cases import unseen_cases
from benchmark.run_folder.model_folder import PRINTS
from benchmark.training.seen_cases import SPLIT
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020, BRATS2023


def store(description, **prints):
    """A store of cases whose FLAIR has these prints; T1's are no other case's."""
    made = expected_store(description, [name.replace("_", "-") for name in prints], (4, 4, 4))
    records = {
        name: replace(record, prints={"flair": digest * 64, "t1": name.ljust(64, "x")})
        for (name, record), digest in zip(made.records.items(), prints.values(), strict=True)
    }
    return replace(made, records=records)


@pytest.fixture
def model(tmp_path):
    """A run that has learnt from GLI-1-0 (FLAIR `a`) and validated with GLI-2-0 (`b`)."""
    short = {
        "train": {"GLI-1-0": ["a" * 16]},
        "val": {"GLI-2-0": ["b" * 16]},
        "test": {"GLI-3-0": ["c" * 16]},
    }
    (tmp_path / SPLIT).write_text(json.dumps(short))
    return SimpleNamespace(name="RUN", path=tmp_path, content={}, description=BRATS2020)


@pytest.mark.parametrize(("split", "said"), [("same", True), ("random", False)])
def test_a_split_that_tests_on_training_cases_is_told(model, capsys, split, said):
    own = store(BRATS2020, **{f"case_{i}": letter for i, letter in enumerate("abcdefgh")})
    model.content, model.config = {"data": {"hash": own.hash}}, RunConfig(dataset="brats2020", split=split)
    cases, left_out = unseen_cases(model, own)
    assert left_out == []
    told = f"RUN has learnt from {len(cases)} cases (case-0, case-1, case-2, ...) of its test, by split: same"
    assert (told in capsys.readouterr().err) == said


def test_names_of_another_study_mean_nothing(model, capsys):
    other = store(BRATS2020, GLI_1_0="d", GLI_2_0="e", GLI_9_0="f")
    assert unseen_cases(model, other) == (["GLI-1-0", "GLI-2-0", "GLI-9-0"], [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "2 cases (GLI-1-0, GLI-2-0) have names of cases that RUN has learnt from, and other"
    )


def test_the_same_voxels_under_another_name_are_left_out(model, capsys):
    assert unseen_cases(model, store(BRATS2020, x="a", y="b", z="c", new="d")) == (["new", "z"], ["x", "y"])
    assert "left out 2 cases (x, y) of patients that RUN has learnt from" in capsys.readouterr().err


def test_with_a_scan_goes_its_patient(model):
    described = replace(BRATS2023, patient=r"(.+)-[0-9]+")
    scans = store(described, p1_0="a", p1_1="e", p2_0="f")
    assert unseen_cases(model, scans) == (["p2-0"], ["p1-0", "p1-1"])


def test_a_model_folder_knows_prints_alone(model, capsys):
    (model.path / PRINTS).write_text(json.dumps(["a" * 16]))
    assert unseen_cases(model, store(BRATS2020, x="a", GLI_1_0="d")) == (["GLI-1-0"], ["x"])
    with pytest.raises(InputError, match="has learnt from every patient"):
        unseen_cases(model, store(BRATS2020, x="a"))
    (model.path / PRINTS).unlink()
    (model.path / SPLIT).unlink()
    capsys.readouterr()
    assert unseen_cases(model, store(BRATS2020, x="a")) == (["x"], [])
    assert "does not say which cases it has learnt from" in capsys.readouterr().err
