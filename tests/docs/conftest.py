"""What the tests of the pages share: a folder to work in, with what takes long left to tests of its own."""

import sys

import pytest

from benchmark.training.run import Execution, execute


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, where `bench run` computes in this process and `bench report` draws no figures."""

    def launch(jobs, slots, track, console, retries):
        for job in jobs:
            execute(job.folder, Execution(job.store, "cpu", 1, track=track))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmark.launch.execute_grid.launch_here", launch)
    monkeypatch.setattr("benchmark.report.write.pictures", lambda section, brief: [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path
