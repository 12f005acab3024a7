"""The pages of our own results show what the product printed."""

import re
from pathlib import Path

import pytest

from backbones import BACKBONES
from benchmark.config.grid import load_grid
from benchmark.report.data.names import network_title

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("headline", ["mr2468"]),
        ("zoo", ["mr2468"]),
        ("questions", ["mr2468", "extreme90", "extreme95", "hospitals-*", "poor2468-*"]),
    ],
)
def test_their_tables_are_those_of_the_report(name, profiles):
    page = (RESULTS / name / "README.md").read_text()
    shown = {line for line in page.splitlines() if line.startswith("|")}
    for profile in profiles:
        [file] = (RESULTS / name / "tables").glob(f"phantom-{profile}-answer-dice.md")
        table = file.read_text().split("\n\n")[0]
        rows = table[table.index("| RFNet") :].splitlines()
        assert len(rows) > 2
        assert set(rows) <= shown


def test_the_second_phantom_shows_the_floor_as_the_report_printed_it():
    folder = RESULTS / "phantom2"
    page = (folder / "README.md").read_text()
    assert (folder / "tables" / "phantom2-complete-dice.md").read_text().split("\n\n")[0] in page


@pytest.mark.parametrize(
    ("grid", "runs"),
    [
        ("headline2", 283),
        ("headline-cpu", 53),
        (RESULTS / "phantom2" / "questions2.yaml", 145),
        (RESULTS / "phantom2" / "floor.yaml", 1),
    ],
)
def test_what_the_page_says_is_ready_is_that_large_and_has_the_floor(grid, runs):
    configs = load_grid(str(grid)).configs
    assert len(configs) == runs
    floors = {config.profile for config in configs if config.backbone.name == "gaussian"}
    assert floors == {config.profile for config in configs}
    if runs > 1:
        assert f"{runs} runs" in (RESULTS / "phantom2" / "README.md").read_text()


NETWORKS = set(BACKBONES) - {"gaussian"}
"""All but the floor, which is no network."""


def test_the_zoo_has_every_network():
    tables = RESULTS / "zoo" / "tables"
    page = (RESULTS / "zoo" / "README.md").read_text()
    for table in ("answer-dice", "costs"):
        text = (tables / f"phantom-mr2468-{table}.md").read_text().split("\n\n")[0]
        assert text in page
        assert {f"| {network_title(name)} |" for name in NETWORKS} <= set(
            re.findall(r"^\| [^|]+ \|", text, re.M)
        )
    assert {config.backbone.name for config in load_grid("zoo").configs} == NETWORKS
    assert {config.backbone.name for config in load_grid("recipes").configs} == NETWORKS - {"transunet"}
