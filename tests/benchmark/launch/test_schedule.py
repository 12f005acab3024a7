"""Wall times of lists of runs, by hand."""

from pathlib import Path

import pytest

from benchmark.launch.schedule import wall_time
from benchmark.launch.worker_command import Job, longest_first
from benchmark.run_folder.folder import RunFolder


def job(name, work, teacher=None):
    return Job(RunFolder(Path(name)), Path(), 1, 1, (RunFolder(Path(teacher)),) if teacher else (), work)


@pytest.mark.parametrize(
    ("works", "slots", "expected"),
    [
        ([3, 5, 3, 4, 3], 1, 18),
        ([3, 5, 3, 4, 3], 2, 10),  # 5 and 3 beside 4, 3 and 3: not the 9 of a division
        ([3, 5, 3, 4, 3], 5, 5),
        ([3, 5, 3, 4, 3], 64, 5),
        ([1] * 9, 8, 2),
        ([], 3, 0),
    ],
)
def test_the_longest_run_first(works, slots, expected):
    assert wall_time([job(str(i), work) for i, work in enumerate(works)], slots) == expected


def test_a_student_waits_for_its_teacher():
    jobs = [job("student", 4, "teacher"), job("teacher", 2), job("other", 1)]
    assert wall_time(jobs, 3) == 6
    assert wall_time([jobs[0]], 3) == 4  # the teacher is done already


def test_a_chain_counts_as_a_whole_and_goes_in_order():
    chain = [job("last", 1, "middle"), job("middle", 1, "first"), job("first", 1), job("other", 2)]
    assert [each.folder.path.name for each in longest_first(chain)] == ["first", "middle", "other", "last"]
    assert wall_time(chain, 2) == 3
    assert wall_time(chain, 1) == 5
