"""The W&B run of a run folder, and whether it can be online.

    settings = settings_for(folder / "wandb", limits)
    run = open_run(folder, config, "offline" if why_offline(settings) else "online", folder)

Online needs a key and a server that answers a query within `PROBE_SECONDS`. Which server and which key is
W&B's own business: its variables, its settings files, the user's netrc.
"""

import os
import re
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.run_folder.folder import RunFolder, is_of_study

PROJECT = "passion-bench"
PROBE_SECONDS = 2.0
LENGTH = 64
"""The longest tag that the service takes, and the longest id."""
OF_USER = frozenset(os.environ)
"""Variables that were set before any run was tracked."""
STEERING = ("WANDB_MODE", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_API_KEY")


def settings_for(folder: Path, limits: Mapping[str, int]) -> Any:
    """Return W&B's settings, and let it keep its files in `folder`, the `limits` (its variables) and quiet.

    Variables that the user has set stay. `WANDB_CONFIG_DIR` always does: a run writes nothing there, and the
    user's own server is read from it. Error reports are off because their upload holds the process for ten
    seconds when the server hangs.
    """
    ours: dict[str, object] = {
        "WANDB_DATA_DIR": folder.absolute() / "data",
        "WANDB_CACHE_DIR": folder.absolute() / "cache",
        "WANDB_ARTIFACT_DIR": folder.absolute() / "artifacts",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        **limits,
    }
    os.environ.update({name: str(value) for name, value in ours.items() if name not in OF_USER})
    import wandb

    return wandb.setup().settings


def forget_settings() -> None:
    """End W&B's service, which may hold a run's id, and go offline in this process for good.

    Variables that W&B refuses, such as a server without `http://`, would keep it from offline runs too.
    """
    import wandb

    wandb.teardown()
    for name in STEERING:
        os.environ.pop(name, None)
    os.environ["WANDB_MODE"] = "offline"


def why_offline(settings: Any) -> str:
    """Say why nothing can be uploaded now; the empty string if it can."""
    from wandb.sdk.lib.wbauth import read_netrc_auth

    if not (settings.api_key or settings.identity_token_file or read_netrc_auth(host=settings.base_url)):
        return f"there is no key for {settings.base_url} (wandb login)"
    return "" if answers(settings.base_url) else f"{settings.base_url} does not answer"


def address(settings: Any) -> str:
    """Return where runs go: server, entity if one is set, project."""
    parts = (settings.base_url, settings.entity, os.environ.get("WANDB_PROJECT", PROJECT))
    return "/".join(part.rstrip("/") for part in parts if part)


def answers(base_url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Say whether the server answers a query in that time, name look-up included."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(
            f"{base_url.rstrip('/')}/graphql",
            data=b'{"query": "{ serverInfo { cliVersionInfo } }"}',
            headers={"Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=seconds).close()
        except (OSError, ValueError) as error:
            if getattr(error, "code", 500) >= 500:  # below: it answers that it wants a key
                return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def open_run(run_folder: Path, config: Mapping[str, Any], mode: str, files: Path) -> Any:
    """Open the W&B run of a run folder; online it goes on where the server has it already.

    Args:
        run_folder: the run folder; the environments of its sessions become part of the W&B run's config.
        config: the content of its `config.yaml`.
        mode: `online` or `offline`.
        files: folder that receives W&B's `wandb/`.
    """
    choice, folder = config["config"], RunFolder(run_folder)
    tags = [choice["dataset"], choice["backbone"]["name"], choice["objective"]["name"], choice["profile"]]
    run = init(
        mode,
        files,
        id=run_id(config),
        group=config["grid"],
        job_type="trial" if is_of_study(run_folder) else "train",
        name=run_folder.name,
        tags=[tag[-LENGTH:] for tag in tags],
        config={**config, "environments": folder.environments(), **_tried(folder)},
    )
    run.define_metric("epoch", hidden=True)
    run.define_metric("*", step_metric="epoch")
    return run


def _tried(folder: RunFolder) -> dict[str, Any]:
    """What a trial of a study tries, nested by its keys, for the axes of parallel coordinates."""
    params: dict[str, Any] = {}
    for key, value in folder.trial().get("params", {}).items():
        *path, last = key.split(".")
        part = params
        for name in path:
            part = part.setdefault(name, {})
        part[last] = value
    return {"params": params} if params else {}


def init(mode: str, files: Path, **facts: Any) -> Any:
    """Open a W&B run of our project in our way; with an id that the server knows, it goes on.

    Args:
        mode: `online` or `offline`.
        files: folder that receives W&B's `wandb/`.
        facts: what `wandb.init` takes besides.
    """
    import wandb

    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        dir=files,
        mode=mode,  # type: ignore[arg-type]
        resume="allow" if mode == "online" else None,
        **facts,
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


def run_id(config: Mapping[str, Any]) -> str:
    """Return the W&B run's id, hash and grid: two grids may have a run in common and each shows its own."""
    return plain(f"{config['hash']}-{config['grid']}")[:LENGTH]


def plain(text: str) -> str:
    """Return `text` with a dash for whatever W&B refuses in an id or a name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)
