"""The page on adding an objective: its example is checked, run and reported."""

import pytest
from docs_page import block, commands, run

from benchmark.run_folder.folder import run_folders
from passion.check import BATCHES

PAGE = "add-an-objective.md"


@pytest.mark.long
def test_the_page_works_as_written(place, capsys):
    (place / "weakest.py").write_text(block(PAGE, "python"))
    (place / "mine.yaml").write_text(block(PAGE, "yaml"))
    said = []
    for command in commands(PAGE):
        assert run(command) == 0
        said.append(capsys.readouterr().out)
    assert said[0].count("ok  ") == 4 + len(BATCHES)
    runs = run_folders(place / "runs" / "mine")
    assert [folder.state() for folder in runs] == ["done"] * 2
    shares = [
        [line["modality"][m]["share"] for m in line["modality"]]
        for folder in runs
        if "Weakest" in folder.path.name
        for line in folder.log()
    ]
    assert len(shares) == 2
    assert all(abs(sum(share) - 1) < 1e-6 for share in shares)
    report = (place / "report" / "mine" / "report.md").read_text()
    assert "RFNet + Weakest" in report
