"""What the user sees of a launch, read from run folders."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.launch import view
from benchmark.launch.view import RunProgress, duration, make_view, progress
from benchmark.launch.worker_command import Job
from benchmark.run_folder.folder import RunFolder


def job(path, epochs=0, cases=()):
    folder = RunFolder(path)
    folder.write_config({})
    for epoch in range(epochs):
        folder.append_log({"epoch": epoch, "loss": {"total": 2.0}, "timing": {"seconds": 1800.0}})
    if cases:
        folder.test("a").begin({})
        folder.test("a").cases.write_text("case,value\n" + "".join(f"{case},1\n" for case in cases))
    return Job(folder, Path("store"), 100, 4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (86400 * 2 + 3600 * 5, "2 d 5:00:00")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_progress_in_every_state(tmp_path):
    run = job(tmp_path / "run")
    assert progress(run) == RunProgress("waiting", "", "", "")
    with run.folder.lease():
        assert progress(run) == RunProgress("training", "epoch 0/100", "", "")
    run = job(tmp_path / "begun", epochs=40)
    assert progress(run) == RunProgress("waiting", "epoch 40/100", "2.000", "")
    with run.folder.lease():
        assert progress(run) == RunProgress("training", "epoch 40/100", "2.000", "1 d 6:00:00")
    run = job(tmp_path / "trained", epochs=100, cases=("a", "a", "b"))
    with run.folder.lease():
        assert progress(run) == RunProgress("testing", "case 2/4", "2.000", "")
    run.folder.mark_failed("no")
    assert progress(run).state == "failed"
    run.folder.mark_trained()
    run.folder.test("a").mark_done()
    assert progress(run).state == "done"


def test_the_live_table_shows_those_at_work_first_and_fits_the_terminal(tmp_path):
    jobs = [job(tmp_path / f"run{n}", epochs=n) for n in range(20)]
    console = Console(
        file=StringIO(), force_terminal=True, width=100, height=12, markup=False, highlight=False
    )
    jobs[0].folder.mark_trained()
    jobs[3].folder.mark_failed("no")
    with jobs[7].folder.lease(), make_view(jobs, console) as shown:
        shown.refresh()
        shown.say("run3: no [memory], retry 1 of 2")
    lines = console.file.getvalue().splitlines()
    rows = [line.split()[1] for line in lines if "│ run" in line][:6]
    assert rows == ["run7", "run3", "run1", "run2", "run4", "run5"]
    text = "\n".join(lines)
    assert "7/100" in text
    assert "and 14 more" in text
    assert "1 training, 1 failed, 17 waiting, 1 done" in text
    assert "run3: no [memory], retry 1 of 2" in text


def test_without_a_terminal_a_line_for_what_moves_on(tmp_path, monkeypatch):
    run, other = job(tmp_path / "run"), job(tmp_path / "other")
    console = Console(file=StringIO(), width=100, markup=False, highlight=False)
    with make_view([run, other], console) as shown:
        shown.refresh()
        with run.folder.lease():
            shown.refresh()
            run.folder.append_log({"epoch": 0, "loss": {"total": 2.0}, "timing": {"seconds": 1.0}})
            shown.refresh()
            monkeypatch.setattr(view, "QUIET_SECONDS", 0.0)
            shown.refresh()
        run.folder.mark_trained()
        other.folder.mark_failed("no [memory]")
    assert console.file.getvalue().splitlines() == [
        "run: training, epoch 0/100",
        "run: training, epoch 1/100, loss 2.000, 0:01:39 left",
        "run: done, loss 2.000",
        "other: failed, no [memory]",
    ]
