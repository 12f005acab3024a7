"""A launcher marks as failed only what no other process executes or has finished."""

import signal

import pytest

from benchmark.launch.local import Job, _fail_untaught, _note_death
from benchmark.record import RunFolder


@pytest.fixture
def job(tmp_path):
    folder, teacher = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "teacher")
    for made in (folder, teacher):
        made.write_config({})
    teacher.mark_failed("disk full")
    return Job(folder, tmp_path, epochs=1, test_cases=1, teacher=teacher)


MARKS = {
    "killed": lambda job: _note_death(job, -signal.SIGKILL),
    "exit": lambda job: _note_death(job, 1),
    "untaught": lambda job: _fail_untaught([job], []),
}


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
def test_a_death_is_noted_unless_another_process_has_the_run(job, mark):
    with job.folder.lease() as mine:
        assert mine
        mark(job)
        assert job.folder.state() == "running"
    assert (job.folder.state(), job.folder.reason()) == ("partial", "")
    mark(job)
    assert job.folder.state() == "failed"
    assert job.folder.reason()
    job.folder.mark_done()
    mark(job)
    assert (job.folder.state(), job.folder.reason()) == ("done", "")
