"""The page on fine-tuning: a network of one phantom study, brought to two cases of another."""

import pytest
import yaml
from docs_page import blocks, commands, run

from benchmark.config.grid import load_grid
from benchmark.run_folder.folder import run_folders
from datasets.phantom.study import write_study

PAGE = "fine-tune.md"
TINY = {"backbone": {"name": "rfnet", "width": 2}, "train": {"epochs": 1, "crop": 16}}


@pytest.mark.long
def test_the_page_works_as_written(place, capsys):
    write_study(place / "site", 2, (32, 32, 32), seed=5)
    grid = {"axes": {"seed": [1]}, "data": {"phantom": {"cases": 4, "size": 32}}}
    grid["base"] = {"dataset": "phantom", "profile": "complete", **TINY}
    (place / "others.yaml").write_text(yaml.safe_dump(grid))
    assert run(["run", "--grid", "others.yaml"]) == 0
    assert (
        run(["weights", "export", str(run_folders(place / "runs" / "others")[0].path), "--out", "model"]) == 0
    )
    study, grid = blocks(PAGE, "yaml")
    (place / "site.yaml").write_text(study)
    (place / "fine-tune.yaml").write_text(grid)
    assert len(load_grid("fine-tune.yaml").configs) == 10
    content = yaml.safe_load(grid)
    content["axes"]["split"] = ["leave0of2", "leave1of2"]
    train = {**content["base"]["train"], "epochs": 1, "steps_per_epoch": 1, "crop": 16}
    content["base"] |= {**TINY, "train": train}
    (place / "fine-tune.yaml").write_text(yaml.safe_dump(content))
    said = []
    for command in commands(PAGE):
        runs = run_folders(place / "runs" / "fine-tune")
        tuned = [r.path.name for r in runs if r.config()["config"]["train"].get("init")]
        command = [
            tuned[int(word[3:])] if word.startswith("RUN") and word[3:].isdigit() else word
            for word in command
        ]
        assert run(command) == 0
        said.append(capsys.readouterr())
    assert (len(runs), len(tuned)) == (4, 2)
    assert all(folder.state() == "done" for folder in runs)
    assert "2 of 2 cases segmented" in said[-2].out
    assert "each network by itself, on 1 + 1 test cases with flair+t1ce+t1+t2: Dice WT" in said[-2].out
    assert "init" in (place / "report" / "fine-tune" / "report.md").read_text()
    assert "evaluated" in (place / "report" / "before" / "report.md").read_text()
