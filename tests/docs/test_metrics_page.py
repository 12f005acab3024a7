"""The page on metrics: what its example prints, and a run under another policy."""

import re

import yaml
from docs_page import DOCS, block, commands, run
from only_test import only_test

from benchmark.evaluation.metrics import POLICIES
from benchmark.run_folder.folder import run_folders

PAGE = "metrics.md"
GRID = {
    "axes": {"objective": ["baseline"]},
    "base": {
        "dataset": "phantom",
        "profile": "ir2468",
        "backbone": {"name": "rfnet", "width": 2},
        "train": {"epochs": 1, "crop": 16},
    },
    "data": {"phantom": {"cases": 3, "size": 32}},
}


def test_the_example_prints_what_the_page_says(capsys):
    exec(compile(block(PAGE, "python"), PAGE, "exec"), {})
    printed = re.search(r"^prints\n\n```\n(.*?)^```", (DOCS / PAGE).read_text(), re.DOTALL | re.MULTILINE)
    assert capsys.readouterr().out == printed[1]


def test_the_table_of_policies_has_them_all():
    rows = re.findall(r"^\| `([\w-]+)`", (DOCS / PAGE).read_text(), re.MULTILINE)
    assert rows == list(POLICIES)


def test_the_commands_work_as_written(place):
    (place / "mine.yaml").write_text(yaml.safe_dump(GRID))
    for command in commands(PAGE):
        assert run(command) == 0
    (folder,) = run_folders(place / "runs" / "mine")
    rows = (only_test(folder) / "cases.csv").read_text().splitlines()[1:]
    assert {row.split(",")[-2] for row in rows} == {"brats"}
    assert "HD95 373.13 mm" in (place / "report" / "brats" / "report.md").read_text()
