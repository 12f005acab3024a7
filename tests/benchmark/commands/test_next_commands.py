"""What a command prints to be called next can be called as it stands."""

import shlex

import pytest
from bench_program import bench
from nifti_study import head, write_case, write_image
from recorded_runs import record
from yaml_studies import MSSEG, described


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


def test_the_check_of_a_study_that_cannot_be_prepared(tmp_path):
    description = described(tmp_path, MSSEG)
    study = tmp_path / "my study"
    one, two = (write_case(study, description, name, center="here") for name in ("one", "two"))
    one["label"].unlink()
    write_image(two["t1"], head("two", ["t1"], (13, 10, 8))[0]["t1"])
    options = ("--dataset", "mine.yaml", "--resample", "flair", "--out", "store")
    said = bench("data", "prepare", study, *options, cwd=tmp_path).stderr
    program, *command = shlex.split(said.partition("see all with: ")[2].partition(", and")[0])
    assert program == "bench"
    check = bench(*command, cwd=tmp_path)
    assert check.returncode == 2, check.stderr
    assert "mine: 2 cases" in check.stdout
    assert check.stdout.endswith("1 error, 1 note\n")
