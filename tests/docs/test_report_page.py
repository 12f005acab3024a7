"""The page on reports, on recorded runs."""

from docs_page import commands, run
from recorded_runs import record

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
