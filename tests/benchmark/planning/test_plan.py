from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from bench_errors import InputError
from benchmark.commands.app import app
from benchmark.config.grid import load_grid
from benchmark.launch.execute_grid import run_folder
from benchmark.planning import show
from benchmark.planning.plan import ROW_BYTES, WEIGHT_BYTES, plan_grid
from benchmark.planning.probe import Point, Timed
from benchmark.planning.show import parse_numbers
from benchmark.training.build import build_backbone

COPIES = 1 + 2 * 4
"""Of the weights: those tested, and in two checkpoints those trained with AdamW's three moments."""


def weights(grid):
    config = grid.configs[0]
    network = build_backbone(config, grid.datasets[config.dataset])
    return sum(p.numel() for p in network.parameters()) * WEIGHT_BYTES


def test_absent_runs_take_disk_and_others_are_counted_by_state(tmp_path):
    grid = load_grid("smoke")
    fresh = plan_grid(grid, tmp_path, {})
    assert fresh.states == {"absent": 2}
    rows = 15 * 4 * 2 * ROW_BYTES  # of 2 metrics and 1 test case, by the grid's own phantom study
    assert fresh.bytes == 2 * (COPIES * weights(grid) + rows)
    assert list(fresh.expected) == ["phantom"]
    assert [run.config for run in fresh.left] == list(grid.configs)
    folder = run_folder(grid, grid.configs[0], tmp_path)
    folder.write_config({})
    folder.mark_trained()
    assert plan_grid(grid, tmp_path, {}).states == {"partial": 1, "absent": 1}
    test = folder.test(grid.configs[0].test_name)
    test.begin({})
    test.mark_done()
    begun = plan_grid(grid, tmp_path, {})
    assert begun.states == {"done": 1, "absent": 1}
    assert begun.bytes == COPIES * weights(grid) + rows
    assert [run.config for run in begun.left] == list(grid.configs[1:])


def test_a_training_is_counted_once_and_its_tests_each(tmp_path, timed):
    axes = "axes: {test.outside: [null, noise-2], seed: [1, 2]}\ndata: {phantom: {cases: 6, size: 32}}\n"
    (tmp_path / "two.yaml").write_text(axes)
    grid = load_grid(str(tmp_path / "two.yaml"))
    fresh = plan_grid(grid, tmp_path, {})
    rows = 15 * 4 * 2 * ROW_BYTES
    assert (fresh.states, fresh.runs, len(fresh.left)) == ({"absent": 4}, 2, 2)
    assert fresh.bytes == 2 * COPIES * weights(grid) + 4 * rows
    result = CliRunner().invoke(app, ["plan", "--grid", str(tmp_path / "two.yaml"), "--runs", str(tmp_path)])
    assert "2 runs with 4 tests of grid two" in result.output
    assert "hours for 2 runs" in result.output
    folder = run_folder(grid, grid.configs[0], tmp_path)
    folder.write_config({})
    folder.mark_trained()
    test = folder.test(grid.configs[0].test_name)
    test.begin({})
    test.mark_done()
    begun = plan_grid(grid, tmp_path, {})
    assert begun.states == {"done": 1, "partial": 1, "absent": 2}
    assert begun.bytes == COPIES * weights(grid) + 3 * rows
    assert sorted(len(run.points) for run in begun.left) == [1, 2]


@pytest.mark.parametrize(
    ("setting", "copies"),
    [
        ("train.select=best", 2),
        ("train.optimiser=sgd", -4),
        ("train.optimiser=radam", -2),
        ("train.amsgrad=false", -2),
        ("train.optimiser=adam", 0),
    ],
)
def test_checkpoints_hold_moments_and_the_best_weights(setting, copies, tmp_path):
    usual, other = load_grid("smoke"), load_grid("smoke", [setting])
    more = plan_grid(other, tmp_path, {}).bytes - plan_grid(usual, tmp_path, {}).bytes
    assert more == 2 * copies * weights(usual)


def test_a_dataset_of_which_nothing_is_known_is_in_no_figure(tmp_path, timed):
    (tmp_path / "big.yaml").write_text("axes: {objective: [baseline]}\nbase: {dataset: brats2021}\n")
    grid = load_grid(str(tmp_path / "big.yaml"))
    found = plan_grid(grid, tmp_path, {})
    assert found.bytes == COPIES * weights(grid)
    assert found.expected == {"brats2021": None}
    result = CliRunner().invoke(app, ["plan", "--grid", str(tmp_path / "big.yaml")])
    assert "no store of brats2021 yet: its runs are in no figure" in result.output
    assert "hours" not in result.output


def test_a_network_that_cannot_start_is_named_and_no_obstacle(tmp_path):
    text = "axes: {backbone: [{width: 2}, {width: 4}]}\ndata: {phantom: {cases: 6, size: 32}}\n"
    (tmp_path / "two.yaml").write_text(text)
    grid = load_grid(str(tmp_path / "two.yaml"))
    narrow = build_backbone(grid.configs[0], grid.datasets["phantom"])
    save_file(narrow.state_dict(), tmp_path / "narrow.safetensors")
    (tmp_path / "two.yaml").write_text(
        f"{text}base: {{train: {{init: {tmp_path / 'narrow.safetensors'}}}}}\n"
    )
    found = plan_grid(load_grid(str(tmp_path / "two.yaml")), tmp_path, {})
    assert [run.config.backbone.width for run in found.left] == [2]
    [(why, count)] = found.refused.items()
    assert "do not fit RFNet" in why
    assert count == 1


@pytest.fixture
def timed(monkeypatch):
    """A step of all modalities takes 72 s, of one 0 s; a window and the scores of a case 18 s each."""

    def probe(shapes, slot, seconds):
        found = {}
        for shape in shapes:
            times = [[72.0, 0.0], *[[18.0, 18.0]] * len(shape.points)]
            failed = shape.config.objective.name == "dwa"
            point = Point(shape.config.train.crop, times, 2**30)
            found[shape] = Timed([] if failed else [point], "out of memory" * failed)
        return found

    monkeypatch.setattr(show, "start", lambda slot: None)
    monkeypatch.setattr(show, "probe", probe)


def test_networks_that_start_otherwise_are_counted_apart(tmp_path):
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pth")
    for starts in ("other.pth, null", "null, other.pth"):
        text = f"axes: {{train.init: [{starts}], seed: [1, 2]}}\ndata: {{phantom: {{cases: 6, size: 32}}}}\n"
        (tmp_path / "starts.yaml").write_text(text.replace("other", str(tmp_path / "other")))
        plan = plan_grid(load_grid(str(tmp_path / "starts.yaml")), tmp_path, {})
        assert (sum(plan.refused.values()), len(plan.left)) == (2, 2)


def test_hours_and_wall_times(tmp_path, timed):
    """Two runs of 2 epochs of 4 steps of 3 modalities on average, and a test case: 8 x 48 + 36 s each."""
    runs = ["--runs", str(tmp_path / "runs"), "--workers", "2", "--set", "profile=mr2222"]
    result = CliRunner().invoke(app, ["plan", "--grid", "smoke", "--gpus", "2,1,2", *runs])
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.split("│")] for line in result.output.splitlines()]
    row = ["", "phantom rfnet passion", "1", "48 s", "36 s", "1.0 GiB", "0.12", "0.097 to 0.14", ""]
    assert row in rows
    assert "0.23 CPU-hours for 2 runs, likely 0.19 to 0.28" in result.output
    assert [row[1:4] for row in rows if "0:0" in str(row) or "0:1" in str(row)] == [
        ["2", "0:07:00", "0:05:50 to 0:08:24"],
        ["1", "0:14:00", "0:11:40 to 0:16:48"],
    ]
    assert not (tmp_path / "runs").exists()


def test_shapes_that_cannot_run_are_named(tmp_path, timed):
    text = "axes: {objective: [dwa, baseline], seed: [1, 2]}\ndata: {phantom: {cases: 6, size: 32}}\n"
    (tmp_path / "three.yaml").write_text(text)
    result = CliRunner().invoke(app, ["plan", "--grid", str(tmp_path / "three.yaml")])
    reason = "2 runs are in no figure of time, cannot run here: out of memory"
    assert f"phantom rfnet dwa: {reason}" in result.output
    assert "for 2 runs" in result.output


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"]])
def test_no_seconds_are_for_counting_alone(monkeypatch, command):
    monkeypatch.setattr(show, "start", None)
    monkeypatch.setattr(show, "probe", None)
    result = CliRunner().invoke(app, [*command, "--grid", "smoke", "--probe-seconds", "0"])
    assert result.exit_code == 0, result.output
    assert "2 runs of grid smoke" in result.output
    assert "hours" not in result.output


def test_seconds_to_probe_are_for_a_dry_run():
    result = CliRunner().invoke(app, ["run", "--grid", "smoke", "--probe-seconds", "3"])
    assert "--probe-seconds has no effect without --dry-run" in str(result.exception)


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


def test_a_store_that_no_run_uses_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no dataset brats2020, only phantom"):
        plan_grid(load_grid("smoke"), tmp_path, {"brats2020": tmp_path})
