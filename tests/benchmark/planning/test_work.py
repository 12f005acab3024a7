"""What runs have to do, and which of them share what decides how long that takes."""

import pytest

from benchmark.config.run_config import RunConfig
from benchmark.planning.work import Shape, labels, work_of
from datasets.batches.split import published_cases
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

STORE = expected_store(BRATS2020, *published_cases("brats2020"))


def run(**changes):
    return RunConfig.model_validate({"dataset": "brats2020", **changes})


@pytest.mark.parametrize(
    ("changes", "modalities"),
    [
        ({"profile": "complete"}, 4),
        ({"profile": "complete", "objective": {"name": "baseline", "policy": "pdt"}}, 4),
        ({"profile": "complete", "objective": "moddrop"}, (1 * 4 + 2 * 6 + 3 * 4 + 4 * 1) / 15),
        ({"profile": "mr2468"}, 452 / 219),
    ],
)
def test_modalities_that_training_sees(changes, modalities):
    work = work_of([run(**changes)], STORE)
    assert work.samples == 219
    assert work.modalities == pytest.approx(modalities)


def test_a_dedicated_network_trains_and_is_tested_on_the_cases_with_its_subset():
    work = work_of([run(train={"subset": "flair+t2"})], STORE)
    assert 0 < work.samples < 219
    assert (work.modalities, work.tested) == (2, 100)


def test_windows_and_voxels_of_a_test():
    points = [run(profile="complete", test=test) for test in ({}, {"window": 160}, {"outside": "noise-2"})]
    work = work_of(points, STORE)
    assert (work.tested, work.windows, work.validation_windows) == (100, (3600, 200, 3600), 50 * 36)
    assert work.voxels == 100 * 150 * 180 * 150


def test_slices_are_samples_of_a_2d_study():
    store = expected_store(MYOPS2020, *published_cases("myops2020"))
    config = RunConfig.model_validate({"dataset": "myops2020", "profile": "complete", "train": {"crop": 256}})
    work = work_of([config], store)
    assert (work.samples, work.modalities, work.windows) == (80, 3, (20,))


def test_shapes_differ_in_what_changes_the_time():
    shape = Shape.of([run()], BRATS2020)
    for change in (
        {"seed": 3, "profile": "mr1379", "train": {"epochs": 3, "lr": 0.1}},
        {"objective": {"name": "passion", "lambda2": 0.9, "warmup_epochs": 3}},
    ):
        assert Shape.of([run(**change)], BRATS2020) == shape
    for change in (
        {"objective": {"name": "passion", "pixel": False}},
        {"objective": {"name": "passion", "preference": "kl"}},
        {"train": {"batch_size": 2}},
        {"train": {"recompute": True}},
        {"train": {"crop": 96}},
        {"test": {"outside": "noise-2"}},
        {"test": {"window": 96}},
        {"test": {"metrics": ["dice"]}},
        {"backbone": {"width": 4}},
        {"precision": "bf16"},
        {"train": {"subset": "flair"}},
    ):
        assert Shape.of([run(**change)], BRATS2020) != shape
    assert Shape.of([run(), run(test={"outside": "noise-2"})], BRATS2020) != shape


def test_shapes_of_one_name_are_told_apart_by_what_differs():
    poor = run(objective="baseline", test={"outside": "noise-2"})
    points = [[run(backbone={"width": 2})], [run(backbone={"width": 4})]]
    shapes = [Shape.of(p, BRATS2020) for p in points]
    assert list(labels([*shapes, Shape.of([poor], BRATS2020)]).values()) == [
        "brats2020 rfnet passion (backbone.width 2)",
        "brats2020 rfnet passion (backbone.width 4)",
        "brats2020 rfnet baseline",
    ]
    both = [Shape.of(p, BRATS2020) for p in ([poor], [run(objective="baseline"), poor])]
    told = [label.partition("(test.outside ")[2] for label in labels(both).values()]
    assert told == ["noise-2)", "None, noise-2)"]
