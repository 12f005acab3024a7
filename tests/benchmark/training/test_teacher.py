"""A run that learns from another: done in order, given up with a reason where its teacher fails."""

import pytest
import torch
import yaml
from bench_program import bench

from benchmark.run_folder.checkpoint import load_weights
from benchmark.run_folder.folder import run_folders


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A finished grid of one student, whose teacher the grid does not name."""
    folder = tmp_path_factory.mktemp("taught")
    grid = folder / "taught.yaml"
    grid.write_text(
        yaml.safe_dump(
            {
                "axes": {"objective": ["kd"]},
                "base": {"backbone": {"width": 2}, "train": {"epochs": 1, "crop": 32}, "profile": "ir2468"},
                "data": {"phantom": {"cases": 6, "size": 32, "seed": 0}},
            }
        )
    )
    result = bench("run", "--grid", grid, "--runs", folder, "--device", "cpu", "--no-track")
    assert result.returncode == 0, result.stderr
    return grid, folder, result


@pytest.mark.long
def test_the_teacher_is_trained_first_and_named(taught):
    grid, folder, result = taught
    teacher, student = run_folders(folder / "taught")
    assert [teacher.state(), student.state()] == ["done", "done"]
    assert f"trains first what its runs need: {teacher.path.name}" in result.stderr
    assert teacher.path.name in bench("status", "--grid", grid, "--runs", folder).stdout
    begun = [f.sessions()[0]["time"] for f in (teacher, student)]
    assert (teacher.path / "done").stat().st_mtime <= (student.path / "sessions.jsonl").stat().st_mtime
    assert begun == sorted(begun)
    assert student.log()[0]["loss"]["kd"] > 0


@pytest.mark.long
def test_a_student_of_a_broken_teacher_fails_with_its_reason(taught, tmp_path):
    grid, folder, _ = taught
    runs = tmp_path / "taught"
    content = yaml.safe_load(grid.read_text())
    content["base"]["train"]["lr"] = 1e30
    broken = tmp_path / "broken.yaml"
    broken.write_text(yaml.safe_dump({k: v for k, v in content.items() if k != "data"}))
    store = folder / "taught" / "data" / "phantom"
    arguments = ["--grid", broken, "--runs", runs, "--store", f"phantom={store}", "--device", "cpu"]
    result = bench("run", *arguments, "--no-track")
    assert result.returncode == 1
    teacher, student = run_folders(runs / "broken")
    assert "the loss is nan" in teacher.reason()
    assert student.reason() == f"it needs {teacher.path.name}, which is failed ({teacher.reason()})"
    assert not (student.path / "log.jsonl").exists()


@pytest.mark.long
def test_a_run_starts_from_its_pretraining(tmp_path):
    grid = tmp_path / "pretrained.yaml"
    grid.write_text(
        "axes: {objective: [baseline]}\n"
        "base:\n"
        "  backbone: {name: m3ae, width: 2, image: [32, 32, 32]}\n"
        "  pretrain: {objective: mae, train: {epochs: 2, lr: 0.01, augment: false}}\n"
        "  train: {epochs: 1, crop: 32, lr: 1.0e-9}\n"  # so that it stays where it starts
        "data: {phantom: {cases: 6, size: 32, seed: 0}}\n"
    )
    result = bench("run", "--grid", grid, "--runs", tmp_path, "--device", "cpu", "--no-track")
    assert result.returncode == 0, result.stderr
    runs = {
        folder.config()["config"]["objective"]["name"]: folder for folder in run_folders(tmp_path / grid.stem)
    }
    first, second = (load_weights(runs[name]) for name in ("mae", "baseline"))
    assert runs["mae"].tests() == []
    assert len(runs["baseline"].tests()) == 1
    assert first["image"].equal(second["image"])  # which is fixed by then
    torch.testing.assert_close(first["encoder.levels.0.0.weight"], second["encoder.levels.0.0.weight"])
