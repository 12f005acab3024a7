"""Durations and their bounds from timed shapes: the arithmetic, on times that are made up."""

from dataclasses import replace

import pytest

from benchmark.config.run_config import RunConfig
from benchmark.planning.estimate import OTHERS, rates_of, run_seconds
from benchmark.planning.probe import Point, Timed, extrapolated
from benchmark.planning.work import shapes_of, work_of
from datasets.batches.split import published_cases
from datasets.preparation.expected import expected_store
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020

STORE = expected_store(BRATS2020, *published_cases("brats2020"))


def run(**changes):
    return RunConfig.model_validate({"dataset": "brats2020", "profile": "complete", **changes})


CONFIG = run(train={"epochs": 10, "batch_size": 3})
STEP, TEST = shapes_of(CONFIG, BRATS2020)


def at(edge, seconds, other=0.0, factor=1.0):
    return Point(edge, (seconds, other), factor, 0)


def test_what_was_timed_at_its_own_size_is_taken_as_it_is():
    assert extrapolated([at(80, 7.0)], STEP, 80) == (7.0, 1.0)


@pytest.mark.parametrize("overhead", [0.0, 5.0])
def test_the_bounds_of_smaller_crops_hold_time_that_grows_with_the_voxels_or_along_a_line(overhead):
    def seconds(edge):
        return overhead + (edge / 80) ** 3

    points = [at(edge, seconds(edge)) for edge in (16, 32)]
    for some in (points, points[1:]):
        middle, factor = extrapolated(some, STEP, 80)
        assert middle / factor * 0.999 <= seconds(80) <= middle * factor * 1.001
    two, one = (extrapolated(some, STEP, 80)[1] for some in (points, points[1:]))
    assert two <= one
    assert two == pytest.approx(1.0) or overhead


def test_slower_small_crops_do_not_make_large_ones_quick():
    middle, factor = extrapolated([at(16, 9.0), at(32, 1.0)], STEP, 80)
    assert middle / factor == pytest.approx(1.0)
    assert middle * factor == pytest.approx((80 / 32) ** 3)


def test_a_2d_crop_grows_with_its_area():
    shape = shapes_of(RunConfig.model_validate({"dataset": "myops2020", "profile": "complete"}), MYOPS2020)[0]
    middle, factor = extrapolated([at(40, 1.0)], shape, 80)
    assert middle * factor == pytest.approx(4)


def test_a_run_takes_its_steps_and_its_tests():
    timed = {STEP: Timed([at(80, 7.0, 1.0, 1.2)]), TEST: Timed([at(80, 2.0, 0.5, 1.5)])}
    work, rates = work_of(CONFIG, STORE), rates_of(timed)
    found = run_seconds(CONFIG, (STEP, TEST), work, 10, rates)
    trained = 10 * 73 * 7.0
    tested = 3600 * 2.0 + 0.5 * work.voxels / 80**3
    assert found.middle == pytest.approx(trained + tested)
    assert found.low == pytest.approx(trained / 1.2 + tested / 1.5)
    assert found.high == pytest.approx(trained * 1.2 + tested * 1.5)
    half = run_seconds(CONFIG, (STEP, TEST), replace(work, modalities=2.5), 10, rates)
    assert half.middle == pytest.approx(10 * 73 * 4.0 + tested)


def test_looks_at_validation_cases_take_time():
    last, best = run(train={"epochs": 25}), run(train={"epochs": 25}, test={"select": "best"})
    shapes = shapes_of(best, BRATS2020)
    rates = rates_of({shapes[0]: Timed([at(80, 1.0)]), shapes[1]: Timed([at(80, 2.0)])})
    seconds = [run_seconds(c, shapes, work_of(c, STORE), 25, rates).middle for c in (last, best)]
    assert seconds[1] - seconds[0] == pytest.approx(3 * 50 * 36 * 2.0)


def test_what_was_not_timed_is_like_the_others_and_less_sure():
    larger, smaller = (shapes_of(run(train={"crop": crop}), BRATS2020)[0] for crop in (96, 64))
    rates = rates_of({STEP: Timed([at(80, 1.0)]), smaller: Timed([at(64, 1.0)]), larger: Timed()})
    middle = larger.size / (STEP.size * smaller.size) ** 0.5
    assert rates[larger].seconds[0] == pytest.approx(middle)
    assert rates[larger].factor == pytest.approx(max(OTHERS, STEP.size / smaller.size))
    assert rates[larger].note == "as others"


def test_one_kind_stands_for_the_other_where_nothing_else_is_known():
    rates = rates_of({STEP: Timed(), TEST: Timed([at(80, 3.0)])})
    assert rates[STEP].seconds[0] == pytest.approx(3.0 * STEP.size / TEST.size)


def test_what_cannot_run_or_is_not_known_has_no_rate():
    assert rates_of({STEP: Timed([at(32, 1.0)], "out of memory"), TEST: Timed()}) == {}
