"""The page of methods names all that can be run by its name, with its parameters and how to try it."""

import re
from pathlib import Path

import pytest
import torch
from docs_page import DOCS, block

import backbones
from backbones import BACKBONES
from benchmark.config.grid import load_grid
from benchmark.config.run_config import TrainConfig
from passion import OBJECTIVES

PAGE = "methods.md"


def rows():
    """The cells of each row, by the name that the row is of."""
    lines = [line.split(" | ") for line in (DOCS / PAGE).read_text().splitlines()]
    return {cells[0].strip("|` "): cells[1:] for cells in lines if cells[0].startswith("| `")}


@pytest.mark.parametrize("name", [*BACKBONES, *OBJECTIVES])
def test_every_method_stands_on_the_page(name):
    assert name in rows()


@pytest.mark.parametrize("name", [*BACKBONES])
def test_parameters_are_those_that_a_run_trains_at_its_default_crop(name):
    with torch.device("meta"):
        network = backbones.create(name, modalities=4, classes=4, crop=TrainConfig().crop)
    stated = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\b", rows()[name][2])]
    assert sum(stated) == sum(p.numel() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", [*rows()])
def test_what_the_page_says_to_try_can_be_run(name, tmp_path):
    tried = rows()[name][-1].strip("|` ")
    grid, settings = "smoke", tried.split(" --set ")
    if tried == "a grid of your own":
        grid, settings = str(tmp_path / "mine.yaml"), []
        Path(grid).write_text(block(PAGE, "yaml"))
    configs = load_grid(grid, settings).configs
    methods = {method.name for config in configs for method in (config.backbone, config.objective)}
    assert name.replace("<Name>", "DynUNet") in methods
