"""Code of other packages is part of what decides weights, also of the run that another one starts from."""

from types import SimpleNamespace

import pytest

from bench_errors import InputError
from bench_registry import PLUGINS
from benchmark.config.run_config import RunConfig, digest
from benchmark.run_folder.folder import RunFolder
from benchmark.training.provenance import check_identity, identity, plugins
from benchmark.training.run import _weights_of
from datasets.batches.split import Split

GOAL = """
from passion.baseline import Baseline


class Goal(Baseline):
    pass
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The file of an objective that is a plugin, a module of its own in each test."""
    file = tmp_path / f"goal_of_{tmp_path.name}.py"
    file.write_text(GOAL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(PLUGINS, f"{file.stem}:Goal")
    return file


@pytest.fixture
def config(source):
    return RunConfig.model_validate({"backbone": "m3ae", "pretrain": {"objective": f"{source.stem}:Goal"}})


def test_a_run_names_the_code_of_its_pretraining(config, source):
    before = plugins(config)["plugins"]["pretraining"]
    assert before["origin"] == f"{source.stem}:Goal"
    source.write_text(source.read_text() + "# edited\n")
    assert plugins(config)["plugins"]["pretraining"]["sha256"] != before["sha256"]


def of(config):
    hashed = SimpleNamespace(hash="0", path="data/phantom")
    return SimpleNamespace(config=config, split=Split((), (), ()), store=hashed, table=hashed)


def test_the_code_of_a_pretraining_is_part_of_the_identity_of_that_run_alone(config):
    assert identity(of(config))["plugins"] == digest({})
    assert identity(of(config.pretraining))["plugins"] == digest(plugins(config.pretraining))


def test_a_run_does_not_go_on_with_other_code_of_its_pretraining(config, source, tmp_path):
    begun = {"hash": config.hash, "identity": identity(of(config)), **plugins(config)}
    source.write_text(source.read_text() + "# edited\n")
    with pytest.raises(InputError, match=r"was begun with source of the pretraining \w+, now it has \w+: re"):
        check_identity(begun, of(config), tmp_path)
    del begun["plugins"]  # as folders of older versions have it
    check_identity(begun, of(config), tmp_path)


def test_weights_of_code_that_was_edited_since_are_refused(config, source, tmp_path):
    ours = RunFolder(tmp_path / "runs" / config.folder)
    theirs = RunFolder(ours.path.with_name(config.pretraining.folder))
    for folder, run in ((ours, config), (theirs, config.pretraining)):
        identity = {"data": "d", "split": "s", "plugins": digest(plugins(run))}
        folder.write_config({"identity": identity})
    theirs.mark_trained()
    source.write_text(source.read_text() + "# edited\n")
    with pytest.raises(InputError, match=r"which has plugins \w+, this run \w+: remove that folder"):
        _weights_of(config.pretraining, ours)
