"""Cells that a spreadsheet would compute are written as text; numbers, and all other text, as they are."""

import csv
import io

import pytest

from benchmark.report.tables.csv_text import csv_text

FORMULAS = (
    '=HYPERLINK("http:x","y")', "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)", "\t=1+1", " =1",
    "\n=1+1", "-1e5x", "\uff1d1+1",
)  # fmt: skip


def cells(text):
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("cell", FORMULAS)
def test_formulas_are_text(cell):
    ((head,), (found,)) = cells(csv_text([cell], [[cell]]))
    assert head == found == "'" + cell


def test_a_cell_cannot_begin_another():
    assert csv_text(["a"], [["x\r=1+1"]]) == "a\nx =1+1\n"
    assert csv_text(["a"], [["\r=1+1"]]) == "a\n' =1+1\n"


def test_everything_else_stays():
    row = ["-3.25", "+1e-3", "-inf", "nan", "", "\u2013", "\u22120.1", "a=b", "a,b", 'c"d', "'=x"]
    assert cells(csv_text(["head"], [row, [-1.5, 2, None, True]])) == [
        ["head"], row, ["-1.5", "2", "", "True"],
    ]  # fmt: skip
