"""Files from somebody else name code: what reads them imports and calls nothing of it."""

import json
from hashlib import sha256

import pytest
import torch
import yaml
from bench_program import bench
from recorded_runs import record
from safetensors.torch import save_file

from bench_errors import InputError
from benchmark.models.trained_model import load_trained
from benchmark.run_folder.model_folder import MODEL, MODEL_CONFIG


@pytest.fixture
def evil(tmp_path):
    """A section that makes a file, if the function that it names is called; and what it would make."""
    return {
        "name": "os:system",
        "arguments": {"command": f"touch {tmp_path / 'called'}"},
    }, tmp_path / "called"


@pytest.mark.parametrize("key", ["backbone", "objective"])
@pytest.mark.parametrize("kind", ["run folder", "model folder"])
def test_a_received_folder_runs_nothing(tmp_path, evil, key, kind):
    section, called = evil
    folder = record(tmp_path / "runs" / "received", "passion")
    content = folder.config()
    content["config"][key] = section
    path = folder.path if kind == "run folder" else tmp_path / "model"
    if kind == "run folder":
        folder.write_config(content)
        save_file({"weight": torch.zeros(1)}, path / "weights.safetensors")
    else:
        path.mkdir()
        save_file({"weight": torch.zeros(1)}, path / MODEL)
        content["weights"] = {"sha256": sha256((path / MODEL).read_bytes()).hexdigest()}
        (path / MODEL_CONFIG).write_text(json.dumps(content))
    with pytest.raises(InputError, match="--plugin os:system"):
        load_trained(str(path), tmp_path)
    assert not called.exists()


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run"), ("run",), ("status",)])
def test_a_received_grid_runs_nothing(tmp_path, evil, command):
    section, called = evil
    module = tmp_path / "beside.py"
    module.write_text(f"open({str(called)!r}, 'w')\n")
    for backbone in (section, "beside:Net"):
        grid = {"about": "received", "axes": {"objective": ["baseline"]}, "base": {"backbone": backbone}}
        (tmp_path / "received.yaml").write_text(yaml.safe_dump(grid))
        refused = bench(*command, "--grid", "received.yaml", cwd=tmp_path)
        assert refused.returncode == 2, refused.stderr
        assert "--plugin" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert not called.exists()
