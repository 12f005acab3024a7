"""What the board keeps of a training: a run folder made of what was checked, without weights and predictions.

    keep(checked, Path("board/runs"), archive_hash)

`bench report` reads it like any other. `accepted.json` beside it says what was handed in and how far it was
checked.
"""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from benchmark.board.checked import Checked
from benchmark.board.entries import RECORD, RUNS, Accepted
from benchmark.run_folder.case_rows import write_rows
from benchmark.run_folder.files import append_line, now, write_atomically
from benchmark.run_folder.folder import WEIGHTS, RunFolder
from benchmark.training.provenance import training_conditions
from benchmark.training.seen_cases import SPLIT, prints_of_parts


def keep(checked: Checked, runs: Path, archive: Path) -> RunFolder:
    """Write the run folder of a checked training below `runs`, and return it."""
    inputs = checked.inputs
    folder = RunFolder(runs / inputs.config.folder)
    folder.write_config(training_conditions(inputs, RUNS))
    parts = prints_of_parts(inputs.store, inputs.split)
    write_atomically(folder.path / SPLIT, json.dumps(parts).encode())
    write_atomically(folder.path / "availability.csv", inputs.table.to_csv().encode())
    for environment in checked.environments:
        append_line(folder.path / "sessions.jsonl", {"event": "computing", "environment": environment})
    for line in checked.log:
        folder.append_log(line)
    for checked_test in checked.tests:
        test = folder.test(checked_test.name)
        test.begin(checked_test.settings)
        write_rows(test.cases, checked_test.rows)
        test.mark_done()
    folder.mark_trained()
    accepted = Accepted(
        sha256(archive.read_bytes()).hexdigest(),
        checked.hashes.get(WEIGHTS, ""),
        tuple(test.name for test in checked.tests if test.recomputed),
        now(),
    )
    write_atomically(folder.path / RECORD, json.dumps(asdict(accepted), indent=1).encode())
    return folder
