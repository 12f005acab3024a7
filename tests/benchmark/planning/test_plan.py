from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench_errors import InputError
from benchmark.commands.app import app
from benchmark.config.grid import load_grid
from benchmark.launch.execute_grid import run_folder
from benchmark.planning import plan
from benchmark.planning.plan import (
    BEST_COPIES,
    COPIES,
    METRICS,
    ROW_BYTES,
    WEIGHT_BYTES,
    plan_grid,
)
from benchmark.planning.show import parse_numbers
from benchmark.speed import measured, probe
from benchmark.training.build import build_backbone


def weights(grid):
    config = grid.configs[0]
    network = build_backbone(config, grid.datasets[config.dataset])
    return sum(p.numel() for p in network.parameters()) * WEIGHT_BYTES


def test_absent_runs_take_disk_and_others_are_counted_by_state(tmp_path):
    grid = load_grid("smoke")
    fresh = plan_grid(grid, tmp_path, {})
    assert fresh.states == {"absent": 2}
    rows = 15 * 4 * METRICS * ROW_BYTES  # of 1 test case, by the grid's own phantom study
    assert fresh.bytes == 2 * (COPIES * weights(grid) + rows)
    assert fresh.expected == ("phantom",)
    assert fresh.left == grid.configs
    folder = run_folder(grid, grid.configs[0], tmp_path)
    folder.write_config({})
    folder.mark_trained()
    begun = plan_grid(grid, tmp_path, {})
    assert begun.states == {"done": 1, "absent": 1}
    assert begun.bytes == COPIES * weights(grid) + rows
    assert begun.left == grid.configs[1:]


def test_the_best_weights_are_kept_too(tmp_path):
    last, best = load_grid("smoke"), load_grid("smoke", ["train.select=best"])
    more = plan_grid(best, tmp_path, {}).bytes - plan_grid(last, tmp_path, {}).bytes
    assert more == 2 * BEST_COPIES * weights(last)


def test_a_dataset_of_which_nothing_is_known_is_in_no_figure(tmp_path, timed):
    (tmp_path / "big.yaml").write_text("axes: {objective: [baseline]}\nbase: {dataset: brats2021}\n")
    grid = load_grid(str(tmp_path / "big.yaml"))
    found = plan_grid(grid, tmp_path, {})
    assert found.bytes == COPIES * weights(grid)
    assert found.stores == {"brats2021": None}
    result = CliRunner().invoke(app, ["plan", "--grid", str(tmp_path / "big.yaml")])
    assert "no store of brats2021 yet: its runs are in no figure" in result.output
    assert "hours" not in result.output


def test_a_network_that_cannot_be_built_is_named_and_no_obstacle(tmp_path, monkeypatch):
    def build(config, description):
        if config.backbone.width == 4:
            raise InputError("not of width 4")
        return build_backbone(config, description)

    monkeypatch.setattr(plan, "build_backbone", build)
    (tmp_path / "two.yaml").write_text("axes: {backbone: [{width: 2}, {width: 4}]}\n")
    found = plan_grid(load_grid(str(tmp_path / "two.yaml")), tmp_path, {})
    assert len(found.left) == 1
    assert found.refused == {"not of width 4": 1}


@pytest.fixture
def timed(monkeypatch, tmp_path):
    """Steps of 36 s, a window and the scores of a case of 18 s each, in no time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def alone(task, config, description, shape, *rest):
        if config.objective.name == "dwa" and task is probe.time_steps:
            raise MemoryError
        if task is probe.time_steps:
            return {"seconds": {k: [36.0] * n for k, n in rest[0].items()}, "peak_bytes": 2**30, "start": 0}
        case = {"segment": 18.0, "score": 18.0, "windows": 1, "voxels": 32**3, "peak_bytes": 2**31}
        return case

    monkeypatch.setattr(measured, "alone", alone)


def test_hours_and_wall_times(tmp_path, timed):
    """Two runs of 2 epochs of 4 steps and a test case: (8 + 1) x 36 s, 0.09 hours each."""
    runs = ["--runs", str(tmp_path / "runs"), "--workers", "2"]
    result = CliRunner().invoke(app, ["plan", "--grid", "smoke", "--gpus", "2,1,2", *runs])
    assert result.exit_code == 0, result.output
    assert "0.18 CPU-hours ± 0 % for 2 runs" in result.output
    rows = [[cell.strip() for cell in line.split("│")] for line in result.output.splitlines()]
    assert ["", "phantom rfnet passion", "1", "36 s", "36 s", "2.0 GiB", "0.09 ± 0 %", ""] in rows
    assert [row[1:4] for row in rows if "0:0" in str(row) or "0:1" in str(row)] == [
        ["2", "0:05:24 ± 0 %", "100 %"],
        ["1", "0:10:48 ± 0 %", "100 %"],
    ]
    assert not (tmp_path / "runs").exists()


def test_a_setting_that_cannot_run_is_named(tmp_path, timed):
    text = "axes: {objective: [dwa, baseline], seed: [1, 2]}\ndata: {phantom: {cases: 6, size: 32}}\n"
    (tmp_path / "three.yaml").write_text(text)
    result = CliRunner().invoke(app, ["plan", "--grid", str(tmp_path / "three.yaml")])
    assert (
        "phantom rfnet dwa: 2 runs are in no figure of time, cannot run here: out of memory" in result.output
    )
    assert "for 2 runs" in result.output


def test_without_a_probe_only_what_is_known_is_told(timed):
    command = ["plan", "--grid", "smoke", "--workers", "2"]
    fresh = CliRunner().invoke(app, [*command, "--no-probe"])
    assert "not timed yet, leave out --no-probe" in fresh.output
    assert "hours" not in fresh.output
    CliRunner().invoke(app, command)
    assert "CPU-hours" in CliRunner().invoke(app, [*command, "--no-probe"]).output


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"]])
def test_a_plan_writes_nothing(tmp_path, command, timed):
    runs = tmp_path / "runs"
    result = CliRunner().invoke(app, [*command, "--grid", "smoke", "--set", "seed=1", "--runs", str(runs)])
    assert result.exit_code == 0, result.output
    assert "2 runs of grid smoke" in result.output
    assert "wall time" in result.output
    assert not Path(runs).exists()


def test_a_dry_run_is_of_this_machine():
    command = ["run", "--grid", "smoke", "--dry-run", "--launcher", "slurm"]
    result = CliRunner().invoke(app, command)
    assert "it times this machine" in str(result.exception)


@pytest.mark.parametrize("text", ["", "0", "a", "1,,2", "-1", "1.5", "1,0"])
def test_numbers_of_gpus_are_checked(text):
    with pytest.raises(InputError, match="expected how many, each at least 1"):
        parse_numbers(text)


def test_no_probe_of_so_many_steps():
    result = CliRunner().invoke(app, ["plan", "--grid", "smoke", "--no-probe", "--probe-steps", "3"])
    assert isinstance(result.exception, InputError)


def test_settings_of_one_name_are_told_apart_by_what_differs(tmp_path, timed):
    text = "axes: {backbone: [{width: 2}, {width: 4}], objective: [passion, baseline]}\n"
    (tmp_path / "wide.yaml").write_text(text + "data: {phantom: {cases: 6, size: 32}}\n")
    output = CliRunner().invoke(app, ["plan", "--grid", str(tmp_path / "wide.yaml")]).output
    assert "phantom rfnet passion (backbone.width 2) " in output
    assert "phantom rfnet baseline (backbone.width 4) " in output


def test_a_store_that_no_run_uses_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no dataset brats2020, only phantom"):
        plan_grid(load_grid("smoke"), tmp_path, {"brats2020": tmp_path})
