from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench_errors import InputError
from benchmark.build import build_backbone
from benchmark.cli import app
from benchmark.execute import run_folder
from benchmark.grid import load_grid
from benchmark.plan import COPIES, WEIGHT_BYTES, plan_grid


def weights(grid):
    config = grid.configs[0]
    network = build_backbone(config, grid.datasets[config.dataset])
    return sum(p.numel() for p in network.parameters()) * WEIGHT_BYTES


def test_absent_runs_take_disk_and_others_are_counted_by_state(tmp_path):
    grid = load_grid("smoke")
    fresh = plan_grid(grid, tmp_path, {})
    assert fresh.states == {"absent": 2}
    assert fresh.bytes == 2 * COPIES * weights(grid)
    assert fresh.without_store == ("phantom",)
    folder = run_folder(grid, grid.configs[0], tmp_path)
    folder.write_config({})
    folder.mark_done()
    begun = plan_grid(grid, tmp_path, {})
    assert begun.states == {"done": 1, "absent": 1}
    assert begun.bytes == COPIES * weights(grid)


def test_the_best_weights_are_kept_too(tmp_path):
    grid = load_grid("smoke", ["test.select=best"])
    assert plan_grid(grid, tmp_path, {}).bytes == 2 * (COPIES + 1) * weights(grid)


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"]])
def test_a_plan_writes_nothing(tmp_path, command):
    runs = tmp_path / "runs"
    result = CliRunner().invoke(app, [*command, "--grid", "smoke", "--set", "seed=1", "--runs", str(runs)])
    assert result.exit_code == 0, result.output
    assert "2 runs of grid smoke" in result.output
    assert not Path(runs).exists()


def test_a_store_that_no_run_uses_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no dataset brats2020, only phantom"):
        plan_grid(load_grid("smoke"), tmp_path, {"brats2020": tmp_path})
