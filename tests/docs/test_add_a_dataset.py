"""The page on adding a dataset: its example, as a small study of two hospitals."""

import re

import yaml
from docs_page import DOCS, blocks, commands, run
from nifti_study import write_case

from benchmark.config.grid import load_grid
from benchmark.run_folder.folder import run_folders
from datasets.batches.split import PARTS, named_splits, published_cases, split
from datasets.studies.from_yaml import read_description
from datasets.studies.names import DATASETS

PAGE = "add-a-dataset.md"


def test_the_page_works_as_written(place, capsys):
    study, grid = blocks(PAGE, "yaml")
    (place / "stroke.yaml").write_text(study)
    (place / "strokes.yaml").write_text(grid)
    description = read_description(place / "stroke.yaml")
    for site, name in (("basel", "p001-a"), ("basel", "p001-b"), ("basel", "p002-a"), ("bern", "p003-a")):
        write_case(place / "strokes", description, name, shape=(24, 20, 16), site=site)
    assert len(load_grid("strokes.yaml").configs) == 4
    content = yaml.safe_load(grid)
    content["axes"]["objective"] = ["baseline"]
    content["base"] |= {"backbone": {"name": "rfnet", "width": 2}, "train": {"epochs": 1, "crop": 16}}
    (place / "strokes.yaml").write_text(yaml.safe_dump(content))
    said = []
    for command in commands(PAGE):
        if "RUN" in command:
            command[command.index("RUN")] = run_folders(place / "runs" / "strokes")[0].path.name
        assert run(command) == 0
        said.append(capsys.readouterr().out)
    assert "stroke: 4 cases of 3 patients" in said[0]
    assert said[2].startswith("case,adc,dwi\n")
    runs = run_folders(place / "runs" / "strokes")
    assert [folder.state() for folder in runs] == ["done"] * 2
    assert sum(folder.config()["data"]["cases"]["test"] for folder in runs) == 4
    assert "4 of 4 cases segmented" in said[-1]
    assert "| lesion" in (place / "report" / "strokes" / "report.md").read_text()


def test_the_page_has_every_published_split():
    rows = re.findall(
        r"^\| (`\w.*`) \| `(\w+)` \| (\d+ / \d+ / \d+) \|", (DOCS / PAGE).read_text(), re.MULTILINE
    )
    said = {(name, dataset): sizes for names, dataset, sizes in rows for name in re.findall(r"\w+", names)}
    assert set(named_splits().items()) == {key for key in said if key[0] != "auto"}
    for (name, dataset), sizes in said.items():
        parts = split(published_cases(dataset)[0], DATASETS.get(dataset), name, seed=0)
        assert " / ".join(str(len(getattr(parts, part))) for part in PARTS) == sizes
