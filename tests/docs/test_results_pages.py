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
