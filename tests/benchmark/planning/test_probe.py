"""The probe: what it times within its seconds, and what becomes of shapes that cannot run."""

import os
import time
from math import prod

import numpy as np
import pytest

from bench_edges import space_of
from benchmark.config.run_config import RunConfig
from benchmark.evaluation.metrics import METRICS
from benchmark.launch.devices import Slot
from benchmark.planning import probe
from benchmark.planning.probe import Point, Timed
from benchmark.planning.work import Shape
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from tests.tiny_networks import SEGMENTING

SLOT = Slot("cpu", 1)


def shape(description=BRATS2020, crop=16, tests=({},), **changes):
    content = {"dataset": description.name, "backbone": {"width": 2}, "profile": "complete"}
    content |= {"train": {"crop": crop}, **changes}
    return Shape.of([RunConfig.model_validate({**content, "test": test}) for test in tests], description)


class Said(list):
    """What is sent."""

    send = list.append


@pytest.mark.parametrize("objective", SEGMENTING)
def test_steps_of_every_objective_are_timed(objective):
    point = probe._time_at(shape(MYOPS2020, objective=objective), 16, SLOT)
    assert np.shape(point.seconds) == (2, 2)
    assert np.min(point.seconds) > 0
    assert point.peak_bytes > 0


def test_every_test_is_timed_whatever_its_metrics():
    tests = [{}, {"outside": "noise-2"}, {"metrics": list(METRICS)}]
    point = probe._time_at(shape(tests=tests), 16, SLOT)
    assert np.shape(point.seconds) == (4, 2)
    assert np.min(point.seconds) > 0


@pytest.fixture
def grows(monkeypatch):
    """A second for a million voxels, which passes at once; the edges that were timed, and those that fail."""
    clock, bad, edges = [0.0], set(), []

    def time_at(shape, edge, slot):
        edges.append(edge)
        if edge in bad:
            raise ValueError(f"not at {edge}")
        seconds = prod(space_of(edge, 3)) / 1e6
        clock[0] += 4 * seconds
        return Point(edge, [[seconds, 0.0], [seconds, 0.0]], 0)

    monkeypatch.setattr(probe, "_time_at", time_at)
    monkeypatch.setattr(probe.time, "monotonic", lambda: clock[0])
    return edges, bad


@pytest.mark.parametrize(
    ("share", "expected"), [(9.0, [16, 32, 80]), (1.3, [16, 32, 64]), (0.1, [16, 32]), (0.0, [16, 32])]
)
def test_a_shape_is_timed_at_small_crops_and_the_largest_that_its_share_allows(grows, share, expected):
    probe._time(shape(crop=80), SLOT, share, Said())
    assert grows[0] == expected


@pytest.mark.parametrize(("share", "largest"), [(30.0, [(80, 160, 160)]), (3.0, [(48, 96, 96)]), (0.1, [])])
def test_the_edges_of_a_crop_are_smaller_alike(grows, share, largest):
    probe._time(shape(crop=[80, 160, 160]), SLOT, share, Said())
    assert grows[0] == [(16, 32, 32), (32, 64, 64), *largest]


def test_a_network_that_takes_no_small_crops_is_timed_at_its_own(grows):
    edges, bad = grows
    bad |= {16, 32}
    said = Said()
    probe._time(shape(crop=80), SLOT, 0.0, said)
    assert edges == [16, 32, 80]
    assert [point.crop for point in said] == [80]


def test_what_fails_at_its_own_crop_cannot_run(grows):
    grows[1].update({16, 32, 80})
    said = Said()
    probe._time(shape(crop=80), SLOT, 9.0, said)
    assert said == ["ValueError: not at 80"]


def dies(shape, slot, share, sender):
    sender.send(Point(16, [[1.0, 1.0]], 0))
    os._exit(7)


def hangs(shape, slot, share, sender):
    sender.send(Point(16, [[1.0, 1.0]], 0))
    time.sleep(600)


@pytest.fixture
def started():
    """What processes are forked from; the variables that this sets are gone afterwards."""
    before = dict(os.environ)
    probe.start(SLOT)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_processes_time_shapes_and_say_what_cannot_run(started, capfd):
    right, wrong = shape(), shape(precision="fp16")
    timed = probe.probe([right, wrong], SLOT, 300.0)
    assert [point.crop for point in timed[right].points] == [16]
    assert timed[wrong].points == []
    assert "precision fp16 needs CUDA" in timed[wrong].reason
    assert "timing 2 of 2" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("process", "reason"),
    [(dies, "its process ended with code 7"), pytest.param(hangs, "", marks=pytest.mark.long)],
    ids=["dies", "hangs"],
)
def test_the_seconds_are_kept_whatever_the_processes_do(started, monkeypatch, process, reason):
    monkeypatch.setattr(probe, "_time", process)
    began = time.monotonic()
    timed = probe.probe([shape()], SLOT, 20.0)
    assert time.monotonic() - began < 300
    assert list(timed.values()) == [Timed([Point(16, [[1.0, 1.0]], 0)], reason)]
