"""The page on the first study, on a small folder laid out like BraTS 2020."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import yaml
from docs_page import block, commands, run
from nifti_study import write_study

from benchmark.config.grid import load_grid
from benchmark.run_folder.folder import run_folders
from datasets.studies.brats import BRATS2020

PAGE = "first-study.md"
NUMBERS = {"train": (2, 3, 4), "val": (5,), "test": (1,)}
"""Of the cases that are made, in the published split."""


@pytest.mark.long
def test_the_page_works_as_written(place, capsys):
    names = [f"BraTS20_Training_{n:03}" for part in NUMBERS.values() for n in part]
    write_study(place / "BraTS2020", BRATS2020, names, shape=(24, 20, 16))
    for modality in ("flair", "t2"):
        source = place / "BraTS2020" / names[0] / f"{names[0]}_{modality}.nii.gz"
        shutil.copy(source, place / f"{modality}.nii.gz")
    (place / "study.yaml").write_text(block(PAGE, "yaml"))
    assert len(load_grid("study.yaml").configs) == 6
    content = yaml.safe_load(block(PAGE, "yaml"))
    content["axes"]["seed"] = [1037]
    content["base"] |= {"backbone": {"name": "rfnet", "width": 2}, "train": {"epochs": 2, "crop": 16}}
    (place / "study.yaml").write_text(yaml.safe_dump(content))
    said = {}
    for command in commands(PAGE):
        if "RUN" in command:
            runs = "trial" if "trial" in command else "runs"
            command[command.index("RUN")] = run_folders(place / runs / "study")[0].path.name
        assert run(command) == 0
        said[command[0]] = capsys.readouterr()
    assert "case,flair,t1ce,t1,t2" in said["profile"].out
    assert "missing rates" in said["profile"].err
    assert "last of 1 epoch (" in said["show"].out
    assert (place / "mr2468.png").stat().st_size > 1000
    runs = run_folders(place / "runs" / "study")
    assert [folder.state() for folder in runs] == ["done", "done"]
    assert runs[0].config()["data"]["cases"] == {part: len(n) for part, n in NUMBERS.items()}
    assert [folder.epochs() for folder in run_folders(place / "trial" / "study")] == [1, 1]
    assert (place / "report" / "study" / "report.html").exists()
    found, first = nib.load(place / "seg.nii.gz"), nib.load(place / "flair.nii.gz")
    assert found.shape == first.shape
    assert np.array_equal(found.affine, first.affine)
