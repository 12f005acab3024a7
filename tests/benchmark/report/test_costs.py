"""What training costs, from what runs have recorded."""

import json
import math

from recorded_runs import record

from benchmark.report.data.collect import collect
from benchmark.report.data.scores import score
from benchmark.report.tables.costs import costs_tables


def costs(grid):
    collected = collect([grid])
    (study,) = collected.studies()
    return costs_tables(score(collected.cases, study, "dice"))


def say(folder, seconds, gib):
    """Let a run have taken so many seconds a step in its epochs, and so much memory."""
    times = [{"seconds": 9.0, "step": step, "peak_gib": gib} for step in seconds]
    lines = [{"epoch": i, "loss": {"total": 1.0}, "modality": {}, "timing": t} for i, t in enumerate(times)]
    (folder.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder.path / "model.json").write_text('{"parameters": 2500000, "gflops": 12.5}')


def test_medians_of_seconds_and_the_highest_memory(tmp_path):
    grid = tmp_path / "tiny"
    say(record(grid, "baseline"), [5.0, 1.0, 1.0], 2.0)
    say(record(grid, "baseline", seed=1038), [3.0, 3.0, 9.0], 4.0)
    say(record(grid, "passion"), [2.0], 1.0)
    say(record(grid, "baseline", backbone="mmformer"), [], 0.0)
    (table,) = costs(grid)
    rows = {
        (block.title, row.labels[0]): [cell.value for cell in row.cells]
        for block in table.blocks
        for row in block.rows
    }
    assert rows["RFNet", "baseline"] == [2.5, 12.5, 2.0, 4.0]
    assert rows["RFNet", "PASSION"] == [2.5, 12.5, 2.0, 1.0]
    assert rows["mmFormer", "baseline"][:2] == [2.5, 12.5]
    assert all(map(math.isnan, rows["mmFormer", "baseline"][2:]))


def test_runs_on_other_machines_have_rows_of_their_own(tmp_path):
    grid = tmp_path / "tiny"
    record(grid, "baseline")
    record(grid, "baseline", seed=1038).note_session("begun", environment={"device": "NVIDIA H100"})
    (table,) = costs(grid)
    assert [row.labels for row in table.rows] == [
        ("baseline", "A CPU"),
        ("baseline", "A CPU, then NVIDIA H100"),
    ]


def test_runs_that_say_nothing_make_no_table(tmp_path):
    grid = tmp_path / "tiny"
    folder = record(grid, "baseline")
    (folder.path / "log.jsonl").write_text("")
    (folder.path / "model.json").unlink(missing_ok=True)
    assert costs(grid) == []
