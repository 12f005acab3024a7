"""From a grid to what the launcher is given: jobs with their work, slots, retries."""

import shutil

import pytest
import yaml
from rich.console import Console

from bench_errors import InputError
from benchmark.config.grid import load_grid
from benchmark.launch import devices
from benchmark.launch import execute_grid as execute
from benchmark.launch.devices import Slot
from benchmark.launch.execute_grid import Launch, execute_grid
from benchmark.launch.stores import phantom_store
from benchmark.run_folder.folder import run_folders


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


@pytest.fixture
def finished(place, tmp_path, monkeypatch):
    """Executes the grid with other content, its workers replaced by marks that the runs are done."""

    def finish(jobs, *_):
        for job in jobs:
            job.folder.mark_trained()
            for test in job.folder.own_tests():
                test.mark_done()

    def executed(cases=4, stores=(), **axes):
        content = yaml.safe_load((place / "small.yaml").read_text())
        content["axes"] = {"train.crop": [16, 32], **axes}
        content["data"]["phantom"]["cases"] = cases
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
        grid = load_grid(str(tmp_path / "small.yaml"))
        return execute_grid(grid, tmp_path, dict(stores), Launch("cpu", track=False))

    monkeypatch.setattr(execute, "launch_here", finish)
    assert executed() == 0
    return executed


def test_a_phantom_study_is_not_made_otherwise_beneath_runs_that_were_begun_on_it(finished, tmp_path):
    before = contents(tmp_path / "small")
    for axes in ({}, {"seed": [1037, 1]}):
        with pytest.raises(
            InputError, match=r"makes phantom of cases: 5, .* 2 of its runs, .* begun on one of cases: 4, "
        ):
            finished(cases=5, **axes)
        assert contents(tmp_path / "small") == before
    assert finished(seed=[1037, 1]) == 0


def test_a_grid_does_not_go_on_beside_runs_of_other_data(finished, place, tmp_path):
    other = phantom_store("phantom", {"cases": 5, "size": 32}, tmp_path / "other", Console(quiet=True))
    before = contents(tmp_path / "small")
    with pytest.raises(InputError, match=r"2 runs of grid small, such as .*-s1037-.* begun with other data"):
        finished(stores={"phantom": other}, seed=[1037, 1])
    assert contents(tmp_path / "small") == before
    for folder in run_folders(tmp_path / "small"):
        content = folder.config()
        del content["identity"]  # as before edition 2
        folder.write_config(content)
    assert finished(stores={"phantom": other}, seed=[1037, 1]) == 0


def test_each_pretraining_of_a_network_is_checked(place, monkeypatch):
    content = yaml.safe_load((place / "small.yaml").read_text())
    content["axes"] = {"pretrain.train.crop": [16, 32]}
    content["base"] |= {"train": {"crop": 16}, "pretrain": {"objective": "baseline"}}
    (place / "pretrained.yaml").write_text(yaml.safe_dump(content))
    checked = []
    monkeypatch.setattr(execute, "check_sizes", lambda config, _: checked.append(config.pretraining))
    store = place / "store"
    prepared_elsewhere = phantom_store("phantom", {"cases": 4, "size": 32}, store, Console(quiet=True))
    execute.check_networks(load_grid(str(place / "pretrained.yaml")).configs, {"phantom": prepared_elsewhere})
    assert {16, 32} == {config.train.crop for config in checked if config}


def test_runs_that_are_all_done_need_no_data(finished, tmp_path):
    shutil.rmtree(tmp_path / "small" / "data")
    assert finished() == 0
    assert not (tmp_path / "small" / "data").exists()


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_gpus_ask_for_cuda(place, launched, monkeypatch, device):
    monkeypatch.setattr(devices, "chosen_device", {"cuda": "cuda", "auto": "cpu"}.__getitem__)
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["3", "5"])
    execute_grid(load_grid(str(place / "small.yaml")), place, {}, Launch(device, None, "1", 2, track=False))
    assert launched[0][1] == [Slot("cuda", 4, "5")] * 2
