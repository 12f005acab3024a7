"""Several tests of one training: settings of a test never train again."""

import pytest
import yaml
from bench_program import bench
from recorded_runs import merged

from benchmark.run_folder.folder import run_folders

GRID = {
    "axes": {"objective": ["baseline"], "test.outside": [None, "noise-2"]},
    "base": {
        "profile": "ir2468",
        "backbone": {"width": 2},
        "train": {"epochs": 1, "crop": 32},
    },
    "data": {"phantom": {"cases": 4, "size": 32}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


def run(folder, grid):
    (folder / "mine.yaml").write_text(yaml.safe_dump(grid))
    command = ["run", "--grid", "mine.yaml", "--device", "cpu", "--workers", 1, "--no-track"]
    result = bench(*command, cwd=folder)
    assert result.returncode == 0, result.stderr
    return run_folders(folder / "runs" / "mine")


@pytest.mark.long
def test_a_grid_over_test_settings_trains_each_network_once(folder):
    runs = run(folder, GRID)
    (one,) = runs
    assert [test.settings()["test"].get("outside") for test in one.tests()] == [None, "noise-2"]
    assert [line["event"] for line in one.sessions()] == ["begun", "computing", "done"]
    first, second = (test.cases.read_bytes() for test in one.tests())
    assert first != second
    weights = (one.path / "weights.safetensors").read_bytes()
    more = run(folder, merged(GRID, {"axes": {"test.outside": [None, "noise-2", "slab-3"]}}))
    assert [(again.path / "weights.safetensors").read_bytes() for again in more] == [weights]
    assert len(one.tests()) == 3
    status = bench("status", "--grid", "mine.yaml", cwd=folder)
    assert "3 done" in status.stdout
    assert one.tests()[0].cases.read_bytes() == first


@pytest.mark.long
def test_an_evaluation_is_one_more_test_and_stands_in_the_report(folder):
    (one,) = run(folder, GRID)
    store = folder / "runs" / "mine" / "data" / "phantom"
    result = bench("evaluate", one.path, "--dataset", store, "--outside", "lowres-2", cwd=folder)
    assert result.returncode == 0, result.stderr
    (test,) = (test for test in one.tests() if "evaluated" in test.settings())
    assert (test.done, test.settings()["training"]) == (True, one.config()["identity"]["training"])
    result = bench("report", "--grid", "mine.yaml", "--out", "report", "--formats", "png", cwd=folder)
    assert result.returncode == 0, result.stderr
    text = (folder / "report" / "report.md").read_text()
    assert "outside=noise-2" in text
    assert "outside=lowres-2" in text
    run(folder, merged(GRID, {"axes": {"test.outside": ["slab-3"]}}))
    result = bench("report", "--grid", "mine.yaml", "--out", "report", "--overwrite", cwd=folder)
    assert result.returncode == 0, result.stderr
    text = (folder / "report" / "report.md").read_text()
    assert f"{one.path.name}/{one.tests()[1].path.name}: its grid does not have it any more" in text
