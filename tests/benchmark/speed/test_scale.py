"""The measurement of a large report: its synthetic runs are ones that a report takes."""

import pytest

from benchmark.report.data.collect import collect
from benchmark.speed import scale


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(scale, "CASES", scale.CASES[:4])
    monkeypatch.setattr(scale, "EPOCHS", 2)
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])


def test_runs_differ_in_method_and_seed(small, tmp_path):
    scale.write_runs(tmp_path, 43)
    collected = collect([tmp_path / "scale"])
    assert len(collected.cases) == 43 * 4 * 15 * 3 * 2
    assert [(run.method, run.config["seed"]) for run in collected.runs[:4]] == [
        *(("RFNet baseline", seed) for seed in scale.SEEDS),
        ("RFNet baseline (random drop)", 1037),
    ]
    assert len({(run.method, run.config["seed"]) for run in collected.runs}) == 43
    assert len(scale.RATES) * len(scale.NETWORKS) * len(scale.METHODS) * len(scale.SEEDS) >= 1000


def test_a_report_says_what_it_cost(small, tmp_path):
    scale.write_runs(tmp_path, 2)
    found = scale.report(tmp_path)
    assert found["files"] > 20
    assert all(value > 0 for value in found.values())
