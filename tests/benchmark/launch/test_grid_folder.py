"""Two grid files of one name: told apart by what is in them, wherever the folders are copied to."""

import shutil
from pathlib import Path

import pytest
from bench_program import bench

from bench_errors import InputError
from benchmark.commands.report import _wanted
from benchmark.config.grid import load_grid
from benchmark.launch.execute_grid import execute_grid
from benchmark.launch.grid_folder import check_owner, record_owner
from benchmark.run_folder.folder import grid_folder

TEXT = "axes: {seed: [1]}\nbase: {dataset: phantom}\n"


def grid_in(folder: Path, text: str = TEXT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "same.yaml").write_text(text)
    return load_grid(str(folder / "same.yaml"))


def test_a_grid_of_the_same_name_is_refused_and_told_what_to_do(tmp_path):
    runs = tmp_path / "runs"
    first = grid_in(tmp_path / "a")
    check_owner(first, runs)
    record_owner(first, runs)
    check_owner(grid_in(tmp_path / "a", TEXT.replace("1", "2")), runs)  # an edited file is the same grid
    with pytest.raises(InputError, match=r"holds the runs of .*/a/same.yaml, and .*/b/same.yaml .* rename"):
        execute_grid(grid_in(tmp_path / "b"), runs, {})
    result = bench("run", "--grid", "b/same.yaml", "--dry-run", cwd=tmp_path)
    assert result.returncode == 2
    assert "rename one, give another folder by --runs, or remove runs/same/grid.txt" in result.stderr


def test_a_copy_of_the_grid_and_one_that_was_moved_go_on(tmp_path):
    record_owner(grid_in(tmp_path / "a"), tmp_path / "runs")
    check_owner(grid_in(tmp_path / "b"), tmp_path / "runs")  # equal to the byte
    shutil.copytree(tmp_path, tmp_path / "moved")
    check_owner(grid_in(tmp_path / "moved/a", TEXT.replace("1", "3")), tmp_path / "moved/runs")
    (tmp_path / "a/same.yaml").unlink()
    check_owner(grid_in(tmp_path / "b", TEXT.replace("1", "3")), tmp_path / "runs")


def test_a_report_by_the_name_of_a_folder_takes_the_runs_of_its_grid_file(tmp_path, capsys):
    runs = tmp_path / "runs"
    record_owner(grid := grid_in(tmp_path / "a"), runs)
    named = {(config.folder, config.test_name) for config in grid.configs}
    assert (
        _wanted(["same"], [], runs) == _wanted([str(tmp_path / "a/same.yaml")], [], runs) == {"same": named}
    )
    (tmp_path / "a/same.yaml").write_text("axes: {sed: [1]}")
    assert _wanted(["same"], [], runs) == {}
    assert "warning: all runs in " in capsys.readouterr().err
    (tmp_path / "a/same.yaml").unlink()
    assert _wanted(["same"], [], runs) == {}


def test_a_report_by_the_name_of_a_folder_takes_settings(tmp_path):
    runs, settings = tmp_path / "runs", ["train.epochs=3"]
    record_owner(grid_in(tmp_path / "a"), runs)
    (config,) = load_grid(str(tmp_path / "a/same.yaml"), settings).configs
    assert _wanted(["same"], settings, runs) == {"same": {(config.folder, config.test_name)}}
    with pytest.raises(InputError, match="did you mean epochs"):
        _wanted(["same"], ["train.epoch=3"], runs)
    with pytest.raises(InputError, match="unknown grid 'other'"):
        _wanted(["other"], settings, runs)


@pytest.mark.parametrize("name", ["v1.2", "grids/v1.2.yaml", "runs/v1.2", "v1.2.yml"])
def test_a_grid_s_folder_is_found_by_name_and_by_file_whatever_dots_it_has(name):
    assert grid_folder(name, Path("runs")) == Path("runs/v1.2")
