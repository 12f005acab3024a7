"""The page on tracking: its commands, where no server can be reached."""

import pytest
from docs_page import commands, run

from bench_errors import InputError

PAGE = "tracking.md"
SMALL = ["--set", "train.epochs=1", "--set", "train.crop=16", "--set", "backbone.width=2"]


@pytest.mark.long
def test_the_page_works_as_written(place, monkeypatch, capsys):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_LOG_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(place / "none"))
    for command in commands(PAGE):
        if command[0] == "sync":
            with pytest.raises(InputError, match="can not be uploaded now"):
                run(command)
        else:
            assert run([*command, *SMALL]) == 0
    said = capsys.readouterr()
    assert "bench sync --grid smoke" in said.out + said.err
