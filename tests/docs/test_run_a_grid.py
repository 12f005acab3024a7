"""The page on grids: its grid on a phantom study, small."""

import pytest
import yaml
from docs_page import block, commands, run

from benchmark.run_folder.folder import run_folders

PAGE = "run-a-grid.md"


@pytest.mark.long
def test_the_page_works_as_written(place, capsys):
    grid = yaml.safe_load(block(PAGE, "yaml"))
    grid["axes"] |= {"profile": ["mr2468"], "seed": [1037]}
    train = {"epochs": 1, "crop": 16}
    grid["base"] |= {"dataset": "phantom", "backbone": {"name": "rfnet", "width": 2}, "train": train}
    (place / "mine.yaml").write_text(yaml.safe_dump({**grid, "data": {"phantom": {"cases": 5, "size": 32}}}))
    for command in commands(PAGE):
        assert run(command) == 0
    assert [folder.state() for folder in run_folders(place / "runs" / "mine")] == ["done"] * 3
    assert "3 done" in capsys.readouterr().out
    assert "RFNet + PASSION" in (place / "report" / "mine" / "report.md").read_text()
