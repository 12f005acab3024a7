"""`bench status` shows reasons, paths and long names as they are."""

import pytest
from bench_program import bench

from benchmark.config.grid import load_grid
from benchmark.launch import status
from benchmark.run_folder.folder import RunFolder


@pytest.fixture
def runs(tmp_path):
    """The folder of the runs of the grid `smoke`, of which the first has failed."""
    for config in load_grid("smoke").configs:
        RunFolder(tmp_path / "smoke" / config.folder).write_config({})
    first = RunFolder(tmp_path / "smoke" / load_grid("smoke").configs[0].folder)
    first.mark_failed("no space at [/data], [red]nothing[/red] was written [bold")
    return tmp_path


def test_brackets_are_no_markup(runs, capsys):
    status.print_status(load_grid("smoke"), runs)
    said = capsys.readouterr().out
    assert "no space at [/data], [red]nothing[/red] was written [bold" in said
    assert "1 failed" in said


def test_names_are_whole_in_a_narrow_terminal(runs, capsys, monkeypatch):
    monkeypatch.setattr(status, "output", lambda: status.Console(width=80, markup=False))
    grid = load_grid("smoke")
    status.print_status(grid, runs)
    said = capsys.readouterr().out
    first_column = "".join(line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│"))
    assert all(config.folder in first_column for config in grid.configs)


def test_a_damaged_reason_is_told(runs):
    failed = next(runs.glob("smoke/*/failed"))
    failed.write_text("")
    shown = bench("status", "--grid", "smoke", "--runs", runs)
    assert shown.returncode == 0, shown.stderr
    assert "its reason is not to be read" in shown.stdout
