"""Whether a run can be tracked online: ``why_offline()`` is empty, or says what speaks against it.

Online needs a key and a server that answers a query within `PROBE_SECONDS`. Which server and which key is
W&B's own business: its variables, its settings files, the user's netrc.
"""

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = "passion-bench"
PROBE_SECONDS = 2.0
OFFLINE = ("offline", "dryrun")
OF_USER = frozenset(os.environ)
"""Variables that were set before any run was tracked."""


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


def why_offline(settings: Any) -> str:
    """Say why nothing can be uploaded now; the empty string if it can."""
    from wandb.sdk.lib.wbauth import read_netrc_auth

    if not (settings.api_key or settings.identity_token_file or read_netrc_auth(host=settings.base_url)):
        return f"there is no key for {settings.base_url} (wandb login)"
    if not answers(settings.base_url):
        return f"{settings.base_url} does not answer"
    return ""


def address(settings: Any) -> str:
    """Return where runs go: server, entity if one is set, project."""
    parts = (settings.base_url, settings.entity, project())
    return "/".join(part.rstrip("/") for part in parts if part)


def project() -> str:
    """Return the project's name."""
    return os.environ.get("WANDB_PROJECT", PROJECT)


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
        except urllib.error.HTTPError as error:
            if error.code < 500:
                answered.set()
        except (OSError, ValueError):
            return
        else:
            answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()
