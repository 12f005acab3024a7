"""The probe: what it times within its seconds, and what becomes of shapes that cannot run."""

import sys
import time

import numpy as np
import pytest

from benchmark.config.run_config import RunConfig
from benchmark.evaluation.metrics import METRICS
from benchmark.launch.devices import Slot
from benchmark.planning import probe
from benchmark.planning.probe import Point, Timed, prober
from benchmark.planning.work import Shape
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from passion import OBJECTIVES

SLOT = Slot("cpu", 1)


def shape(description=BRATS2020, crop=16, tests=({},), **changes):
    content = {"dataset": description.name, "backbone": {"width": 2}, "profile": "complete"}
    content |= {"train": {"crop": crop}, **changes}
    return Shape.of([RunConfig.model_validate({**content, "test": test}) for test in tests], description)


@pytest.fixture
def said(monkeypatch):
    """What is said instead of being written to standard output."""
    lines = []
    monkeypatch.setattr(probe, "_say", lambda **content: lines.append(content))
    monkeypatch.setattr(probe.signal, "setitimer", lambda *_: None)
    return lines


@pytest.mark.parametrize("objective", list(OBJECTIVES))
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
def grows(monkeypatch, said):
    """A second for a million voxels, which passes at once; the edges that were timed, and those that fail."""
    clock, bad, edges = [0.0], set(), []

    def time_at(shape, edge, slot):
        edges.append(edge)
        if edge in bad:
            raise ValueError(f"not at {edge}")
        seconds = edge**3 / 1e6
        clock[0] += 4 * seconds
        return Point(edge, [[seconds, 0.0], [seconds, 0.0]], 0)

    monkeypatch.setattr(probe, "_time_at", time_at)
    monkeypatch.setattr(probe.time, "monotonic", lambda: clock[0])
    return edges, bad


@pytest.mark.parametrize(
    ("share", "expected"), [(9.0, [16, 32, 80]), (1.3, [16, 32, 64]), (0.1, [16, 32]), (0.0, [16, 32])]
)
def test_a_shape_is_timed_at_small_crops_and_the_largest_that_its_share_allows(grows, share, expected):
    probe._time(0, shape(crop=80), SLOT, share, 99.0)
    assert grows[0] == expected


def test_a_network_that_takes_no_small_crops_is_timed_at_its_own(grows, said):
    edges, bad = grows
    bad |= {16, 32}
    probe._time(0, shape(crop=80), SLOT, 0.0, 99.0)
    assert edges == [16, 32, 80]
    assert [line["edge"] for line in said] == [80]


def test_what_fails_at_its_own_crop_cannot_run(grows, said):
    grows[1].update({16, 32, 80})
    probe._time(3, shape(crop=80), SLOT, 9.0, 99.0)
    assert said == [{"shape": 3, "reason": "ValueError: not at 80"}]


def test_points_and_reasons_are_read_and_a_cut_line_is_dropped():
    line = '{"shape": 1, "edge": %d, "seconds": [[2.0, 1.0], [3.0, 4.0]], "peak_bytes": 5}\n'
    output = '{"start": 3.5}\n' + line % 16 + line % 32 + '{"shape": 0, "reason": "no"}\n{"sha'
    timed = [Timed(), Timed()]
    assert probe._read(output, timed) == 3.5
    points = [Point(edge, [[2.0, 1.0], [3.0, 4.0]], 5) for edge in (16, 32)]
    assert timed == [Timed([], "no"), Timed(points)]


def test_processes_of_their_own_time_shapes_and_say_what_cannot_run(capfd):
    right, wrong = shape(), shape(precision="fp16")
    with prober(SLOT) as ask:
        timed, start = ask([right, wrong], 300.0)
    assert start > 0
    assert [point.edge for point in timed[right].points] == [16]
    assert timed[wrong].points == []
    assert "precision fp16 needs CUDA" in timed[wrong].reason
    assert "timing 2 of 2" in capfd.readouterr().err


@pytest.mark.parametrize("program", ["import time; time.sleep(60)", "print('{', end='', flush=True)"])
def test_the_seconds_are_kept_whatever_the_processes_do(monkeypatch, program):
    popen = probe.subprocess.Popen
    monkeypatch.setattr(
        probe.subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", program], **options)
    )
    began = time.monotonic()
    with prober(SLOT) as ask:
        timed, start = ask([shape()], 2.0)
    assert time.monotonic() - began < 30
    assert (start, list(timed.values())) == (0.0, [Timed()])
