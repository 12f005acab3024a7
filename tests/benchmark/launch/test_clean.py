"""What `bench clean` finds, what it removes, and what it leaves alone."""

import pytest
import torch
import yaml

from bench_errors import InputError
from benchmark.config.grid import load_grid
from benchmark.launch.clean import clean, find_waste
from benchmark.run_folder.checkpoint import FRESH, save_checkpoint
from benchmark.run_folder.folder import RunFolder


@pytest.fixture
def grid(tmp_path):
    content = {
        "axes": {"seed": [1, 2, 3, 4]},
        "base": {"profile": "ir2468", "objective": "baseline", "backbone": {"width": 2}},
    }
    (tmp_path / "four.yaml").write_text(yaml.safe_dump(content))
    return load_grid(str(tmp_path / "four.yaml"))


@pytest.fixture
def runs(tmp_path, grid):
    """A done, a partial, a damaged and a running run of the grid, and one it does not have; with litter."""
    names = [config.folder for config in grid.configs] + ["phantom-rfnet-old-0123456789"]
    for name in names:
        folder = RunFolder(tmp_path / "runs" / "four" / name)
        folder.write_config({})
        for epoch in (1, 2):
            save_checkpoint(folder, {"epoch": epoch, "weights": torch.zeros(9)})
        (folder.path / ".cases.csv.ab12.partial").write_bytes(b"half")
        (folder.path / FRESH).write_bytes(b"whole")
    done, _, damaged, _, old = (RunFolder(tmp_path / "runs" / "four" / name) for name in names)
    done.mark_trained()
    old.mark_trained()
    (damaged.path / "checkpoint.pt").write_bytes(b"cut off")
    (tmp_path / "runs" / "four" / ".gone.partial").mkdir()
    (tmp_path / "runs" / "four" / ".gone.partial" / "config.yaml").touch()
    (tmp_path / "runs" / "four" / "data").mkdir()
    return tmp_path / "runs"


def files(runs):
    return {str(p.relative_to(runs / "four")): p.stat().st_size for p in runs.rglob("*") if p.is_file()}


def expected_waste(grid, before):
    done, partial, damaged, _ = (config.folder for config in grid.configs)
    of_rule = {
        "temporary": [
            f"{run}/{name}" for run in (done, partial, damaged) for name in (".cases.csv.ab12.partial", FRESH)
        ],
        "checkpoints": [f"{done}/checkpoint.pt"]
        + [f"{run}/checkpoint.previous.pt" for run in (done, partial)],
        "orphans": [name for name in before if name.startswith("phantom-rfnet-old")],
    }
    of_rule["temporary"].append(".gone.partial/config.yaml")
    return of_rule


@pytest.mark.parametrize("rules", [[], ["temporary"], ["checkpoints"], ["orphans"], ["orphans", "temporary"]])
def test_each_rule_removes_what_it_found_and_no_more(grid, runs, capsys, rules):
    running = RunFolder(runs / "four" / grid.configs[3].folder)
    with running.lease() as mine:
        assert mine
        before = files(runs)
        waste = expected_waste(grid, before)
        sizes = {rule: sum(before[name] for name in names) for rule, names in waste.items()}
        found = find_waste([runs / "four"], grid)
        assert {rule: sum(w.bytes for w in found if w.rule == rule) for rule in waste} == sizes
        clean(grid, runs, rules)
        said = capsys.readouterr().out
        gone = {name for rule in rules for name in waste[rule]}
        assert before.keys() - files(runs).keys() == gone
        assert running.path.name in said
        assert "works on it" in said
        assert ("nothing was removed" in said) == (not rules)
    assert (runs / "four" / "data").is_dir()
    assert (runs / "four" / "phantom-rfnet-old-0123456789").exists() == ("orphans" not in rules)


def test_what_a_process_takes_meanwhile_is_left_alone(grid, runs, monkeypatch):
    before = files(runs)
    done = RunFolder(runs / "four" / grid.configs[0].folder)
    with done.lease() as mine:
        assert mine
        monkeypatch.setattr(RunFolder, "holder", lambda self: None)
        clean(grid, runs, ["checkpoints"])
    assert f"{done.path.name}/checkpoint.pt" in files(runs)
    assert len(files(runs)) == len(before) - 2  # of the partial and of the running run, which nobody holds


def test_what_jobs_left_is_waste_once_every_run_is_done(tmp_path, grid):
    folders = [RunFolder(tmp_path / "runs" / "four" / config.folder) for config in grid.configs]
    log = tmp_path / "runs" / "four" / "slurm" / "17_0_log.out"
    for folder in folders:
        folder.write_config({})
    log.parent.mkdir()
    log.write_text("hello")
    clean(grid, tmp_path / "runs", ["jobs"])
    assert log.exists()
    for folder in folders:
        folder.mark_trained()
    clean(grid, tmp_path / "runs", ["jobs"])
    assert not log.exists()


def test_without_a_grid_there_are_no_orphans(grid, runs, capsys):
    old = "phantom-rfnet-old-0123456789/checkpoint.pt"
    with pytest.raises(InputError, match="say with --grid"):
        clean(None, runs, ["orphans"])
    assert old in files(runs)
    clean(None, runs, ["checkpoints", "temporary"])
    assert old not in files(runs)
    assert (runs / "four" / "phantom-rfnet-old-0123456789" / "done").exists()
    assert "orphan " not in capsys.readouterr().out


def test_an_unknown_rule_names_the_nearest(grid, runs):
    with pytest.raises(InputError, match="unknown rule 'orphan': did you mean orphans"):
        clean(grid, runs, ["orphan"])
