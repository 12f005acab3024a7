"""The page on reports, on recorded runs."""

import re

from docs_page import DOCS, commands, run
from recorded_runs import record

from benchmark.report.tables.reported import FOLDER, reported

PAGE = "report.md"


def test_the_page_works_as_written(place):
    shown = record(place / "runs" / "mine", "baseline")
    record(place / "runs" / "mine", "passion")
    record(place / "runs" / "other", "baseline", strength=0.1)
    for command in commands(PAGE):
        if "RUN" in command:
            command[command.index("RUN")] = str(shown.path)
        assert run(command) == 0
    for report in ("mine", "both"):
        assert "RFNet" in (place / "report" / report / "report.md").read_text()
    assert (place / "differences.csv").read_text().count("\n") > 100


def test_the_page_names_every_published_method():
    def methods(dataset, metric):
        return ", ".join(dict.fromkeys(row.method for row in reported(dataset, metric)))

    shipped = [path.stem for path in sorted(FOLDER.glob("*.csv"))]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) ?\|$", (DOCS / PAGE).read_text(), re.MULTILINE)
    expected = [(d, methods(d, "dice"), methods(d, "hd95")) for d in shipped]
    assert [(d, dice, dice if hd95 == "the same" else hd95) for d, dice, hd95 in rows] == expected
