"""The probe: what it times within its seconds, and what becomes of shapes that cannot run."""

import sys
import time

import pytest

from benchmark.config.run_config import RunConfig
from benchmark.launch.devices import Slot
from benchmark.planning import probe
from benchmark.planning.probe import Point, Timed, prober
from benchmark.planning.work import shapes_of
from datasets.studies.brats import BRATS2020
from datasets.studies.myops import MYOPS2020
from passion import OBJECTIVES

SLOT = Slot("cpu", 1)


def shapes(description=BRATS2020, crop=16, **changes):
    content = {"dataset": description.name, "backbone": {"width": 2}, "profile": "complete"}
    config = RunConfig.model_validate({**content, "train": {"crop": crop}, **changes})
    return shapes_of(config, description)


@pytest.fixture
def said(monkeypatch):
    """What is said instead of being written to standard output."""
    lines = []
    monkeypatch.setattr(probe, "_say", lambda **content: lines.append(content))
    monkeypatch.setattr(probe.signal, "setitimer", lambda *_: None)
    return lines


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_steps_of_every_objective_are_timed(objective, said):
    point = probe._time_at(0, shapes(MYOPS2020, objective=objective)[0], 16, SLOT)
    assert all(seconds > 0 for seconds in point.seconds)
    assert point.peak_bytes > 0
    assert [line["factor"] for line in said] == [probe.FIRST, probe.SECOND]


@pytest.mark.parametrize("description", [BRATS2020, MYOPS2020])
def test_the_test_of_a_window_is_timed(description, said):
    point = probe._time_at(0, shapes(description, test={"outside": "noise-2"})[1], 16, SLOT)
    assert all(seconds > 0 for seconds in point.seconds)


@pytest.fixture
def grows(monkeypatch, said):
    """A second for a million voxels, which passes at once; the edges that were timed, and those that fail."""
    clock, bad, edges = [0.0], set(), []

    def time_at(number, shape, edge, slot):
        edges.append(edge)
        if edge in bad:
            raise ValueError(f"not at {edge}")
        seconds = edge**3 / 1e6
        clock[0] += 4 * seconds
        return Point(edge, (seconds, seconds), 1.2, 0)

    monkeypatch.setattr(probe, "_time_at", time_at)
    monkeypatch.setattr(probe.time, "monotonic", lambda: clock[0])
    return edges, bad


@pytest.mark.parametrize(
    ("share", "expected"), [(9.0, [16, 32, 80]), (1.3, [16, 32, 64]), (0.1, [16, 32]), (0.0, [16, 32])]
)
def test_a_shape_is_timed_at_small_crops_and_the_largest_that_its_share_allows(grows, share, expected):
    probe._time(0, shapes(crop=80)[0], SLOT, share, 99.0)
    assert grows[0] == expected


def test_a_network_that_takes_no_small_crops_is_timed_at_its_own(grows, said):
    edges, bad = grows
    bad |= {16, 32}
    probe._time(0, shapes(crop=80)[0], SLOT, 0.0, 99.0)
    assert edges == [16, 32, 80]
    assert said == []


def test_what_fails_at_its_own_crop_cannot_run(grows, said):
    grows[1].update({16, 32, 80})
    probe._time(3, shapes(crop=80)[0], SLOT, 9.0, 99.0)
    assert said == [{"shape": 3, "reason": "ValueError: not at 80"}]


def test_a_second_repeat_replaces_the_first_and_a_cut_line_is_dropped():
    line = '{"shape": 1, "edge": 16, "seconds": [%s, 1.0], "factor": %s, "peak_bytes": 5}\n'
    output = (
        '{"start": 3.5}\n' + line % (2.0, 1.5) + line % (1.0, 1.2) + '{"shape": 0, "reason": "no"}\n{"sha'
    )
    timed = [Timed(), Timed()]
    assert probe._read(output, timed) == 3.5
    assert timed == [Timed([], "no"), Timed([Point(16, (1.0, 1.0), 1.2, 5)])]


def test_processes_of_their_own_time_shapes_and_say_what_cannot_run(capfd):
    small = shapes(crop=16)
    wrong = shapes(crop=16, precision="fp16")
    with prober(SLOT) as ask:
        timed, start = ask([*small, wrong[0]], 300.0)
    assert start > 0
    assert [len(timed[shape].points) for shape in small] == [1, 1]
    assert timed[small[0]].points[0].factor == probe.SECOND
    assert timed[wrong[0]].points == []
    assert "precision fp16 needs CUDA" in timed[wrong[0]].reason
    assert "timing 3 of 3" in capfd.readouterr().err


@pytest.mark.parametrize("program", ["import time; time.sleep(60)", "print('{', end='', flush=True)"])
def test_the_seconds_are_kept_whatever_the_processes_do(monkeypatch, program):
    popen = probe.subprocess.Popen
    monkeypatch.setattr(
        probe.subprocess, "Popen", lambda _, **options: popen([sys.executable, "-c", program], **options)
    )
    began = time.monotonic()
    with prober(SLOT) as ask:
        timed, start = ask(shapes(), 2.0)
    assert time.monotonic() - began < 30
    assert (start, list(timed.values())) == (0.0, [Timed(), Timed()])
