"""The pages of our own results show what the product printed."""

from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("headline", ["mr2468"]),
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
