"""From a grid to what the launcher is given: jobs with their work, slots, retries."""

import pytest
import yaml

from benchmark.config.grid import load_grid
from benchmark.launch import devices
from benchmark.launch import execute_grid as execute
from benchmark.launch.devices import Slot
from benchmark.launch.execute_grid import Launch, execute_grid


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("execute")
    content = {
        "axes": {"train.epochs": [2, 5], "train.crop": [16, 32]},
        "base": {"backbone": {"width": 2}, "objective": "baseline", "profile": "ir2468"},
        "data": {"phantom": {"cases": 6, "size": 32, "seed": 0}},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


@pytest.fixture
def launched(monkeypatch):
    calls = []
    monkeypatch.setattr(execute, "launch_here", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(devices, "available_cores", lambda: 8)
    return calls


def test_jobs_carry_the_work_that_is_left(place, launched):
    grid = load_grid(str(place / "small.yaml"))
    assert execute_grid(grid, place, {}, Launch("cpu", 4, retries=3, track=False)) == 4
    jobs, slots, _, _, retries = launched[0]
    cases = jobs[0].folder.config()["data"]["cases"]["train"]
    assert [job.work for job in jobs] == [e * cases * c**3 for e in (2, 5) for c in (16, 32)]
    assert (slots, retries) == ([Slot("cpu", 2)] * 4, 3)
    jobs[1].folder.append_log({"epoch": 0})
    execute_grid(grid, place, {}, Launch("cpu", track=False))
    jobs, slots, _, _, retries = launched[1]
    assert jobs[1].work == cases * 32**3
    assert (slots, retries) == ([Slot("cpu", 2)] * 4, 1)


@pytest.mark.parametrize("content", [b"case,subset,region\n[one: two\n{\n", b"\xff\xfe\n\n"])
@pytest.mark.parametrize("file", ["config.yaml", "log.jsonl", "sessions.jsonl", "test.yaml", "cases.csv"])
def test_a_damaged_folder_is_named_and_the_others_go_on(place, launched, capsys, tmp_path, file, content):
    grid = load_grid(str(place / "small.yaml"))
    launch = Launch("cpu", track=False)
    execute_grid(grid, tmp_path, {"phantom": place / "small" / "data" / "phantom"}, launch)
    bad = launched[0][0][2].folder
    bad.append_log({"epoch": 0})
    path = bad.tests()[0].path / file if file in ("test.yaml", "cases.csv") else bad.path / file
    path.write_bytes(content)
    capsys.readouterr()
    assert execute_grid(grid, tmp_path, {"phantom": place / "small" / "data" / "phantom"}, launch) == 4
    assert [job.folder.path.name for job in launched[1][0]] == [
        job.folder.path.name for job in launched[0][0] if job.folder != bad
    ]
    said = capsys.readouterr().err
    assert f"failed {bad.path.name}: {path} is damaged" in said
    assert "or remove" in said or "remove the folder" in said
    for job in launched[0][0]:
        (job.folder.path / "config.yaml").write_bytes(content)
    stores = {"phantom": place / "small" / "data" / "phantom"}
    assert execute_grid(grid, tmp_path, stores, launch) == 4
    assert len(launched) == 2  # there was nothing left to launch


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_gpus_ask_for_cuda(place, launched, monkeypatch, device):
    monkeypatch.setattr(devices, "chosen_device", {"cuda": "cuda", "auto": "cpu"}.__getitem__)
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["3", "5"])
    execute_grid(load_grid(str(place / "small.yaml")), place, {}, Launch(device, None, "1", 2, track=False))
    assert launched[0][1] == [Slot("cuda", 4, "5")] * 2
