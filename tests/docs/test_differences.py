"""The page on the released code: the grid that is as near to it as it gets, small."""

import yaml
from docs_page import block, commands, run
from nifti_study import write_study

from benchmark.config.grid import load_grid
from benchmark.run_folder.folder import run_folders
from datasets.studies.brats import BRATS2020

PAGE = "differences.md"


def test_the_page_works_as_written(place):
    names = [f"BraTS20_Training_{n:03}" for n in (1, 2, 3, 4)]
    write_study(place / "BraTS2020", BRATS2020, names, shape=(24, 20, 16))
    (place / "as-released.yaml").write_text(block(PAGE, "yaml"))
    assert [c.train.augment for c in load_grid("as-released.yaml").configs] == ["released"] * 2
    content = yaml.safe_load(block(PAGE, "yaml"))
    content["base"]["backbone"]["width"] = 2
    content["base"]["train"] |= {"epochs": 1, "crop": 16}
    (place / "as-released.yaml").write_text(yaml.safe_dump(content))
    for command in commands(PAGE):
        assert run(command) == 0
    runs = run_folders(place / "runs" / "as-released")
    assert [folder.state() for folder in runs] == ["done"] * 2
    assert {folder.config()["preparation"]["box"] for folder in runs} == {"released"}
    assert (place / "report" / "as-released" / "report.html").exists()
