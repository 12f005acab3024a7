"""The page on metrics: what its example prints, and a run under another policy."""

import re

import yaml
from docs_page import DOCS, block, commands, run
from lone_test_folder import single_test

from benchmark.evaluation.metrics import METRICS, POLICIES
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


def test_the_tables_of_metrics_and_policies_have_them_all():
    text = (DOCS / PAGE).read_text()
    assert re.findall(r"^\| `([\w-]+)`", text, re.MULTILINE) == [*METRICS, *POLICIES]
    for metric in METRICS.values():
        direction = "higher" if metric.higher_is_better else "lower"
        row = rf"^\| `{metric.name}` .* \| {direction} \| {metric.unit or '%'} \|"
        assert re.search(row, text, re.MULTILINE)


def test_the_commands_work_as_written(place):
    (place / "mine.yaml").write_text(yaml.safe_dump(GRID))
    for command in commands(PAGE):
        assert run(command) == 0
    (folder,) = run_folders(place / "runs" / "mine")
    rows = (single_test(folder) / "cases.csv").read_text().splitlines()[1:]
    assert {row.split(",")[-2] for row in rows} == {"brats-2022"}
    assert "373.13 mm where exactly one is" in (place / "report" / "brats" / "report.md").read_text()
