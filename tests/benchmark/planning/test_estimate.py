"""Durations from timed steps: what is timed, how often, and the arithmetic. Times themselves are made up."""

from concurrent.futures.process import BrokenProcessPool
from math import sqrt

import pytest

from benchmark.config.run_config import RunConfig
from benchmark.launch.devices import Slot
from benchmark.planning import estimate
from benchmark.planning.estimate import Estimator, cut_shape
from benchmark.speed import measured, probe
from benchmark.speed.measured import Measured, cache_folder, case_setting, step_setting
from datasets.batches.split import published_cases
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

SLOT = Slot("cpu", 1)
STORE = expected_store(BRATS2020, *published_cases("brats2020"))


def run(**changes):
    return RunConfig.model_validate({"dataset": "brats2020", **changes})


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A step of k modalities takes k seconds and every other one 2 k; a window 1 s, a case's scores 4 s."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def alone(task, config, description, shape, *rest):
        calls.append((task.__name__, config.objective.name, shape))
        if config.precision == "fp16":
            raise RuntimeError("CUDA error: out of memory")
        if config.precision == "bf16":
            raise BrokenProcessPool
        if task is probe.time_steps:
            seconds = {k: [k * (1.0 + i % 2) for i in range(n)] for k, n in rest[0].items()}
            return {"seconds": seconds, "peak_bytes": 5, "start": 7.0}
        windows = estimate.count_windows(shape, config.window, description.spatial_dims)
        return {
            "segment": 1.0 * windows,
            "score": 4.0,
            "windows": windows,
            "voxels": 4050000,
            "peak_bytes": 6,
        }

    monkeypatch.setattr(measured, "alone", alone)
    return calls


@pytest.mark.parametrize(
    ("changes", "samples"),
    [
        ({"profile": "complete"}, {4: 219}),
        ({"profile": "complete", "objective": {"name": "baseline", "policy": "pdt"}}, {4: 219}),
        (
            {"profile": "complete", "objective": "moddrop"},
            {k: 219 * n / 15 for k, n in ((1, 4), (2, 6), (3, 4), (4, 1))},
        ),
    ],
)
def test_samples_by_what_training_sees(changes, samples):
    assert Estimator(SLOT).work(run(**changes), STORE).samples == pytest.approx(samples)


def test_samples_follow_the_realised_presence_of_a_profile():
    samples = Estimator(SLOT).work(run(profile="mr2468"), STORE).samples
    assert sum(samples.values()) == 219
    assert sum(k * n for k, n in samples.items()) / 219 == pytest.approx(2.064, abs=0.001)


def test_slices_are_samples_of_a_2d_study():
    store = expected_store(MYOPS2020, *published_cases("myops2020"))
    config = RunConfig.model_validate({"dataset": "myops2020", "profile": "complete", "train": {"crop": 256}})
    work = Estimator(SLOT).work(config, store)
    assert (work.samples, work.windows, work.test_shape) == ({3: 80}, 20, (256, 256, 4))


def test_duration_and_its_error(asked):
    config = run(profile="complete", train={"epochs": 10, "batch_size": 3})
    estimator = Estimator(SLOT)
    assert estimator.duration(config, STORE, 10) is None
    assert estimator.measure([(config, STORE)], steps=20) == {}
    found = estimator.duration(config, STORE, 10)
    trained, tested = 10 * 219 / 3 * 6, 100 * (36 + 4)  # steps of 4 and 8 s: 6 on average; 36 windows a case
    assert found.seconds == pytest.approx(7 + trained + tested)
    spread = sqrt(20 * (2 / 6) ** 2 / 19)
    expected = 2.093 * spread * sqrt(trained**2 / 20 + tested**2)
    assert found.error == pytest.approx(expected, rel=1e-3)
    assert estimator.duration(config, STORE, 5).seconds == pytest.approx(7 + trained / 2 + tested)
    assert estimator.step_seconds(config, STORE) == 6
    assert estimator.case_seconds(config, STORE) == 40


def test_looks_at_validation_cases_take_time(asked):
    last = run(profile="complete", train={"epochs": 25})
    best = run(profile="complete", train={"epochs": 25, "select": "best"})
    estimator = Estimator(SLOT)
    estimator.measure([(last, STORE)])
    seconds = [estimator.duration(config, STORE, 25).seconds for config in (last, best)]
    assert seconds[1] - seconds[0] == pytest.approx(3 * 50 * 36)


def test_a_setting_is_timed_once_for_all_its_runs(asked):
    profiles = [run(profile=profile, seed=seed) for profile in ("mr2468", "complete") for seed in (1, 2)]
    weights = [run(objective={"name": "passion", "lambda1": weight, "tau": 2.0}) for weight in (0.1, 0.9)]
    other = [run(objective="baseline")]
    Estimator(SLOT).measure([(config, STORE) for config in profiles + weights + other])
    assert [name for name, *_ in asked] == ["time_steps", "time_steps", "time_case"]
    Estimator(SLOT).measure([(config, STORE) for config in profiles + weights + other], steps=5)
    assert len(asked) == 3
    assert len(list(cache_folder().iterdir())) == 3
    Estimator(Slot("cpu", 2)).measure([(other[0], STORE)])
    assert len(asked) == 5
    Estimator(SLOT).measure([(other[0], STORE)], steps=40)
    assert len(asked) == 6
    assert Estimator(SLOT).timed(other[0], STORE) is not None


def test_damaged_or_unwritable_caches_are_no_obstacle(asked, tmp_path):
    config = run(profile="complete")
    Estimator(SLOT).measure([(config, STORE)])
    for file in cache_folder().iterdir():
        file.write_text("{")
    assert Estimator(SLOT).timed(config, STORE) is None
    for file in cache_folder().iterdir():
        file.unlink()
        file.mkdir()
    estimator = Estimator(SLOT)
    estimator.measure([(config, STORE)])
    assert estimator.timed(config, STORE) is not None


def test_what_cannot_run_is_named_with_its_reason(asked):
    runs = [(run(precision=precision), STORE) for precision in ("fp32", "fp16", "bf16")]
    estimator = Estimator(SLOT)
    failed = estimator.measure(runs)
    reasons = [failed.get(estimator.settings(*one)[0], "") for one in runs]
    assert reasons == ["", "out of memory: CUDA error: out of memory", "its process died"]
    assert [estimator.duration(*one, 3) is None for one in runs] == [False, True, True]


@pytest.mark.parametrize(
    ("dataset", "shape", "share", "expected"),
    [
        ("brats2020", (150, 180, 150), 1.0, (150, 180, 150)),
        ("brats2020", (150, 180, 150), 0.5, (120, 160, 150)),
        ("brats2020", (150, 180, 150), 0.01, (80, 80, 80)),
        ("brats2020", (60, 180, 150), 0.01, (60, 80, 80)),
        ("myops2020", (80, 80, 4), 0.5, (80, 80, 2)),
    ],
)
def test_a_test_case_is_cut_to_a_share_of_its_windows(dataset, shape, share, expected):
    description = {"brats2020": BRATS2020, "myops2020": MYOPS2020}[dataset]
    assert cut_shape(case_setting(run(dataset=dataset), description, shape), share) == expected


def test_settings_differ_in_what_changes_the_time():
    def facts(**changes):
        return step_setting(run(**changes), BRATS2020, (150, 180, 150))

    same = facts()
    assert facts(seed=3, profile="mr1379") == same
    assert facts(objective={"name": "passion", "lambda2": 0.9, "warmup_epochs": 3}) == same
    for change in (
        {"backbone": {"name": "rfnet", "width": 4}},
        {"objective": {"name": "passion", "pixel": False}},
        {"objective": {"name": "passion", "preference": "kl"}},
        {"train": {"crop": 96}},
        {"train": {"batch_size": 2}},
        {"train": {"recompute": True}},
        {"precision": "bf16"},
    ):
        assert facts(**change) != same
    assert step_setting(run(), BRATS2020, (150, 180, 151)) != same


def test_a_real_probe(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measured, "alone", lambda task, *arguments: task(*arguments))
    small = {"backbone": {"width": 2}, "train": {"crop": 16, "epochs": 2, "batch_size": 2}}
    place = Measured(SLOT)
    steps = step_setting(run(**small), BRATS2020, (24, 16, 16))
    assert place.time_steps(steps, {4: 2, 1: 3}) == ""
    found = place.steps(steps)
    assert {k: len(v) for k, v in found.seconds.items()} == {4: 2, 1: 3}
    assert all(second > 0 for seconds in found.seconds.values() for second in seconds)
    assert found.start > 0
    assert found.peak_bytes > 0
    assert place.time_steps(steps, {2: 2}) == ""
    assert place.steps(steps).seconds.keys() == {4, 2, 1}
    case = case_setting(run(**small), BRATS2020, (24, 16, 16))
    assert place.time_case(case, (24, 16, 16)) == ""
    assert (place.case(case).windows, place.case(case).voxels) == (2, 24 * 16 * 16)
    wrong = step_setting(run(backbone={"name": "rfnet"}, train={"crop": 16}), BRATS2020, (0, 16, 16))
    assert "Error" in place.time_steps(wrong, {4: 2})


@pytest.mark.parametrize("objective", ["kd", "gradnorm", "pcgrad", "moddrop"])
def test_every_kind_of_objective_can_be_probed_in_2d(objective):
    changes = {"objective": objective, "backbone": {"width": 2}, "train": {"crop": 16, "epochs": 2}}
    found = probe.time_steps(run(**changes), MYOPS2020, (16, 16, 2), {3: 2, 1: 2}, "cpu", 1, 0.0)
    assert {k: len(v) for k, v in found["seconds"].items()} == {3: 2, 1: 2}
