"""The page on faults: its commands, on a recorded run that has left a checkpoint."""

from docs_page import commands, run
from recorded_runs import record

from benchmark.config.grid import load_grid
from benchmark.run_folder.folder import RunFolder

PAGE = "faults.md"


def test_the_page_works_as_written(place, capsys):
    wanted = load_grid("smoke").configs[0].folder
    recorded = record(place / "runs" / "smoke", "baseline")
    folder = RunFolder(recorded.path.rename(recorded.path.with_name(wanted)))
    checkpoint = folder.path / "checkpoint.pt"
    checkpoint.write_bytes(b"left behind")
    there = []
    for command in commands(PAGE):
        command = [{"G": "smoke", "RUN": folder.path.name}.get(word, word) for word in command]
        assert run(command) == 0
        there.append(checkpoint.exists())
    assert there == [True, False, False]
    assert folder.state() == "done"
    assert (place / "run.tar.gz").stat().st_size > 100
    assert "nothing was removed" in capsys.readouterr().out
