"""Durations and their bounds from timed shapes: the arithmetic, on times that are made up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.config.run_config import RunConfig
from benchmark.planning.estimate import OTHERS, TIMED, case_seconds, rates_of, run_seconds
from benchmark.planning.plan import PlannedRun
from benchmark.planning.probe import Point, Timed, at_crop
from benchmark.planning.work import Shape, work_of
from benchmark.run_folder.folder import RunFolder
from datasets.batches.split import published_cases
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

STORE = expected_store(BRATS2020, *published_cases("brats2020"))


def run(*tests, **train):
    content = {"dataset": "brats2020", "profile": "complete", "train": train}
    points = [RunConfig.model_validate({**content, "test": test}) for test in tests or [{}]]
    folder = RunFolder(Path("no such folder"))
    return PlannedRun(tuple(points), folder, Shape.of(points, BRATS2020), work_of(points, STORE))


SHAPE = run().shape


def at(edge, step, *others):
    return Point(edge, [[step, 0.0], *(others or [[0.0, 0.0]])], 0)


def test_what_was_timed_at_its_own_size_is_taken_as_it_is():
    seconds, factor = at_crop([at(80, 7.0)], SHAPE, 80)
    assert (seconds[0, 0], factor) == (7.0, 1.0)


@pytest.mark.parametrize("overhead", [0.0, 5.0])
def test_the_bounds_of_smaller_crops_hold_time_that_grows_with_the_voxels_or_along_a_line(overhead):
    def seconds(edge):
        return overhead + (edge / 80) ** 3

    points = [at(edge, seconds(edge)) for edge in (16, 32)]
    factors = []
    for some in (points, points[1:]):
        middle, factor = at_crop(some, SHAPE, 80)
        assert middle[0, 0] / factor * 0.999 <= seconds(80) <= middle[0, 0] * factor * 1.001
        factors.append(factor)
    assert factors[0] <= factors[1]
    assert factors[0] == pytest.approx(1.0) or overhead


def test_slower_small_crops_do_not_make_large_ones_quick():
    middle, factor = at_crop([at(16, 9.0), at(32, 1.0)], SHAPE, 80)
    assert middle[0, 0] / factor == pytest.approx(1.0)
    assert middle[0, 0] * factor == pytest.approx((80 / 32) ** 3)


def test_a_2d_crop_grows_with_its_area():
    config = RunConfig.model_validate({"dataset": "myops2020", "profile": "complete"})
    middle, factor = at_crop([at(40, 1.0)], Shape.of([config], MYOPS2020), 80)
    assert middle[0, 0] * factor == pytest.approx(4)


def test_a_run_takes_its_steps_and_each_of_its_tests():
    whole = run({}, {"outside": "noise-2"}, {"window": 160}, epochs=10, batch_size=3)
    times = [[2.0, 0.5], [4.0, 0.5], [2.0, 0.0]]
    timed = {whole.shape: Timed([Point(80, [[7.0, 1.0], *times], 0)])}
    (rate,) = rates_of(timed).values()
    volumes = whole.work.voxels / 80**3
    trained = 10 * 73 * 7.0
    tested = 3600 * (2.0 + 4.0) + 200 * 8 * 2.0 + volumes * (0.5 + 0.5)
    likely = trained + tested
    assert run_seconds(whole, rate) == pytest.approx([likely, likely / TIMED, likely * TIMED])
    assert case_seconds(whole, rate) == pytest.approx(tested / 300)
    half = replace(whole, work=replace(whole.work, modalities=2.5))
    assert run_seconds(half, rate)[0] == pytest.approx(10 * 73 * 4.0 + tested)


def test_what_is_trained_already_takes_its_tests_alone(tmp_path):
    begun = replace(run(epochs=3), folder=RunFolder(tmp_path))
    (rate,) = rates_of({SHAPE: Timed([at(80, 7.0, [2.0, 0.0])])}).values()
    for left in (2, 1, 0):
        begun.folder.append_log({"epoch": 2 - left})
        assert run_seconds(begun, rate)[0] == pytest.approx(left * 219 * 7.0 + 3600 * 2.0)


def test_looks_at_validation_cases_take_time():
    tests = ({"outside": "noise-2", "window": 96}, {})
    last, best = run(*tests, epochs=25), run(*tests, epochs=25, select="best")
    curve = run(*tests, epochs=25, validate_every=5)
    (rate,) = rates_of({last.shape: Timed([at(80, 1.0, [4.0, 0.0], [2.0, 0.0])])}).values()
    assert run_seconds(best, rate)[0] - run_seconds(last, rate)[0] == pytest.approx(3 * 50 * 36 * 2.0)
    assert run_seconds(curve, rate)[0] - run_seconds(last, rate)[0] == pytest.approx(5 * 50 * 36 * 2.0)


def test_what_was_not_timed_is_like_the_others_and_less_sure():
    larger, smaller = run({}, {"outside": "noise-2"}, crop=96).shape, run(crop=64).shape
    rates = rates_of(
        {SHAPE: Timed([at(80, 1.0)]), smaller: Timed([at(64, 1.0, [3.0, 0.0])]), larger: Timed()}
    )
    middle = larger.voxels / (SHAPE.voxels * smaller.voxels) ** 0.5
    assert np.shape(rates[larger].seconds) == (3, 2)
    assert rates[larger].seconds[0, 0] == pytest.approx(middle)
    assert rates[larger].factor == pytest.approx(max(OTHERS, SHAPE.voxels / smaller.voxels))
    assert rates[larger].note == " (as others)"


def test_what_cannot_run_or_is_not_known_has_no_rate():
    assert rates_of({SHAPE: Timed([at(32, 1.0)], "out of memory"), run(crop=64).shape: Timed()}) == {}
