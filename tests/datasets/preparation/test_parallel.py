"""As many cases at a time as this process may use cores, of however many the machine has."""

import os
import threading
import time

import pytest

from datasets.preparation.parallel import in_parallel


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_one_case_a_core_that_this_process_may_use():
    def job(item):
        time.sleep(0.02)
        return threading.current_thread()

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert len(set(in_parallel(job, range(6)))) == 1
    finally:
        os.sched_setaffinity(0, before)
