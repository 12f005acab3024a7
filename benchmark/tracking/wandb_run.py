"""The W&B run of a run folder: ``open_run(folder, config, "online", files)``."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.run_folder.folder import RunFolder, is_of_study
from benchmark.tracking import server

TAG_LENGTH = 64
"""The longest tag that the service takes."""
ID_LENGTH = 64


def open_run(run_folder: Path, config: Mapping[str, Any], mode: str, files: Path) -> Any:
    """Open the W&B run; online it goes on where the server has it already.

    Args:
        run_folder: the run folder; the environments of its sessions become part of the W&B run's config.
        config: the content of its `config.yaml`.
        mode: `online` or `offline`.
        files: folder that receives W&B's `wandb/`.
    """
    import wandb

    choice = config["config"]
    tags = [choice["dataset"], choice["backbone"]["name"], choice["objective"]["name"], choice["profile"]]
    run = wandb.init(
        project=server.project(),
        dir=files,
        mode=mode,  # type: ignore[arg-type]
        id=run_id(config),
        resume="allow" if mode == "online" else None,
        group=config["grid"],
        job_type="trial" if is_of_study(run_folder) else "train",
        name=run_folder.name,
        tags=[tag[-TAG_LENGTH:] for tag in tags],
        config={
            **config,
            "environments": RunFolder(run_folder).environments(),
        },
        settings=wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_code=True,
            disable_git=True,
            symlink=False,
            reinit="finish_previous",  # a worker of a study has one run after the other
            finish_timeout_raises=True,
        ),
    )
    run.define_metric("epoch", hidden=True)
    run.define_metric("*", step_metric="epoch")
    return run


def run_id(config: Mapping[str, Any]) -> str:
    """Return the W&B run's id, hash and grid: two grids may have a run in common and each shows its own."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"{config['hash']}-{config['grid']}")[:ID_LENGTH]
