"""Where a run folder has its one test: ``single_test(folder) / "cases.csv"``."""

from pathlib import Path

from benchmark.run_folder.tests import tests_of


def single_test(folder):
    (test,) = tests_of(folder if isinstance(folder, Path) else folder.path)
    return test.path
