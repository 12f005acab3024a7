"""What a command prints to be called next can be called as it stands."""

import shlex

import pytest
from bench_program import bench
from recorded_runs import record


@pytest.mark.parametrize("runs", ["runs", "all my runs"])
def test_the_report_of_an_evaluation(tmp_path, monkeypatch, runs):
    folder = record(tmp_path / runs / "mine", "baseline")
    monkeypatch.setattr("benchmark.models.evaluate_on.evaluate_run", lambda *_: folder.tests()[0])
    monkeypatch.setattr("benchmark.report.write.pictures", lambda *_: [])
    said = bench("evaluate", folder.path, "--dataset", "STORE", cwd=tmp_path).stdout
    program, *command = shlex.split(said.partition("; see: ")[2])
    assert program == "bench"
    report = bench(*command, cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "report" / "mine" / "report.md").exists()
