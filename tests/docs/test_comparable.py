"""The page on comparability: its commands, on recorded runs and a small store, and what is refused."""

import pytest
from docs_page import commands, run
from nifti_study import write_study
from recorded_runs import POLICY, record

from bench_errors import InputError
from datasets.preparation.prepare import prepare
from datasets.studies.brats import BRATS2020

PAGE = "comparable.md"
AVAILABILITY = {"profile": "mr2468", "hash": "ab1e", "nominal": None, "realised": {"t1": 0.5}}
DATA = {
    "hash": "d474",
    "split": "auto",
    "cases": {"train": 21, "val": 3, "test": 2},
    "availability": AVAILABILITY,
}


def test_the_page_works_as_written(place, capsys):
    names = [f"BraTS20_Training_{n:03}" for n in range(1, 5)]
    write_study(place / "BraTS2020", BRATS2020, names)
    prepare(place / "BraTS2020", BRATS2020, place / "data" / "brats2020")
    folder = record(place / "runs" / "first", "baseline")
    record(place / "runs" / "second", "passion", strength=0.1)
    for seed in (1, 2):
        record(place / "runs" / "mine", "baseline", seed=seed)
        record(place / "runs" / "mine", "passion", seed=seed, strength=0.1 * seed)
    for command in commands(PAGE):
        if "RUN" in command:
            command[command.index("RUN")] = folder.path.name
        assert run(command) == 0
    said = capsys.readouterr().out
    assert "d474" in said
    assert "RFNet + PASSION" in (place / "report" / "both" / "report.md").read_text()


@pytest.mark.parametrize(
    ("split_by", "change"),
    [
        ("policy", {"metrics": {**POLICY, "policy": "brats"}}),
        ("data", {"data": {**DATA, "hash": "0ther"}}),
        ("availability", {"data": {**DATA, "availability": {**AVAILABILITY, "hash": "0ther"}}}),
    ],
)
def test_what_the_page_says_is_refused(place, split_by, change):
    record(place / "runs" / "first", "baseline", data=DATA)
    record(place / "runs" / "second", "passion", **{"data": DATA, **change})
    command = ["report", "--grid", "first", "--grid", "second", "--out", "report"]
    with pytest.raises(InputError, match=f"--split-by {split_by}"):
        run(command)
    assert run([*command, "--split-by", split_by]) == 0
