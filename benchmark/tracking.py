"""A run's mirror in Weights & Biases; the local files stay the truth.

    tracker = tracking.start(folder, config, "auto")    # config: the content of config.yaml
    tracker.log_epoch(line)                             # a line of log.jsonl
    tracker.finish(folder / "cases.csv")

Online only with a key and a server that answers, else offline under the run folder (`wandb sync` uploads it);
`WANDB_MODE=disabled` is obeyed. Whatever goes wrong costs one warning and at most ten seconds, never the run.
"""

import json
import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

PROJECT = "passion-bench"
PROBE_SECONDS = 2.0
INIT_SECONDS = 3.0
FINISH_SECONDS = 4.0
TAG_LENGTH = 64
"""The longest tag that the service takes."""


class Tracker:
    """Tracks nothing; what `start` returns when tracking is off."""

    def log_epoch(self, line: Mapping[str, Any]) -> None:
        """Log one line of `log.jsonl`, its nested names joined by slashes (`modality/flair/beta`)."""

    def finish(self, cases: Path | None = None) -> None:
        """Log the means over the cases of a `cases.csv` as `test/<region>/<subset>/<metric>`, and close."""


class WandbTracker(Tracker):
    """Tracks to an open W&B run; the first error is warned of and ends the tracking."""

    def __init__(self, run: Any):
        self._run = run

    def log_epoch(self, line: Mapping[str, Any]) -> None:
        """As `Tracker.log_epoch`; curves stand over our own `epoch`, since offline runs lose their step."""
        if self._run is None:
            return
        try:
            self._run.log(flat(line))
        except Exception as error:
            self._give_up(error)

    def finish(self, cases: Path | None = None) -> None:
        """As `Tracker.finish`; waits at most `FINISH_SECONDS` for what is not yet uploaded."""
        if self._run is None:
            return
        try:
            if cases:
                self._run.summary.update(summary_of(cases))
            self._run.finish()
        except TimeoutError:
            _warn(f"not all is uploaded, do it later with: wandb sync {Path(self._run.dir).parent}")
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _warn("tracking ends here, the run goes on", error)
        self._run = None


def start(run_folder: Path, config: Mapping[str, Any], mode: str) -> Tracker:
    """Open the W&B run of a run folder.

    Args:
        run_folder: receives W&B's files, in `wandb/`; its `environment.json` is logged too.
        config: the content of its `config.yaml`.
        mode: `auto`, or `off` for no tracking.

    Raises `ValueError` for another mode, and nothing else.
    """
    if mode not in ("auto", "off"):
        raise ValueError(f"unknown tracking mode {mode!r}")
    if mode == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return Tracker()
    try:
        return _start(run_folder, config)
    except Exception as error:
        _warn("this run is not tracked", error)
        return Tracker()


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings, named by their path: ``{"loss/total": 1.0}``."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves |= flat(value, f"{name}/") if isinstance(value, Mapping) else {name: value}
    return leaves


def summary_of(cases: Path) -> dict[str, float]:
    """Return the mean over the cases of a `cases.csv` as ``{"test/WT/flair+t1ce/dice": 0.8, ...}``."""
    import pandas as pd

    rows = pd.read_csv(cases)
    names = "test/" + rows["region"] + "/" + rows["subset"] + "/" + rows["metric"]
    return {str(name): float(mean) for name, mean in rows["value"].groupby(names).mean().items()}


def _start(run_folder: Path, config: Mapping[str, Any]) -> Tracker:
    _keep_files_in(run_folder / "wandb")
    import wandb

    settings = wandb.setup().settings
    if settings.mode == "disabled":
        return Tracker()
    online = settings.mode not in ("offline", "dryrun") and _has_key(settings)
    if online and not _answers(settings.base_url):
        _warn(f"{settings.base_url} does not answer, so this run is tracked offline")
        online = False
    if online:
        try:
            return WandbTracker(_open(run_folder, config, "online"))
        except Exception as error:
            _warn("this run is tracked offline", error)
            wandb.teardown()  # its service still holds the run's id
    return WandbTracker(_open(run_folder, config, "offline"))


def _open(run_folder: Path, config: Mapping[str, Any], mode: str) -> Any:
    import wandb

    choice = config["config"]
    tags = [choice["dataset"], choice["backbone"]["name"], choice["objective"]["name"], choice["profile"]]
    environment = run_folder / "environment.json"
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        dir=run_folder,
        mode=mode,  # type: ignore[arg-type]
        id=config["hash"],
        resume="allow" if mode == "online" else None,
        group=config["grid"],
        job_type="train",
        name=config["name"],
        tags=[tag[-TAG_LENGTH:] for tag in tags],
        config={
            **config,
            "environment": json.loads(environment.read_text()) if environment.exists() else {},
        },
        settings=wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_code=True,
            disable_git=True,
            symlink=False,
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        ),
    )
    run.define_metric("epoch", hidden=True)
    run.define_metric("*", step_metric="epoch")
    return run


def _keep_files_in(folder: Path) -> None:
    """Point W&B's variables to `folder` and quieten it, where the user has not set them.

    `WANDB_CONFIG_DIR` stays: a run writes nothing there, and the user's own server is read from it. Error
    reports are off because their upload holds the process for ten seconds when the server hangs.
    """
    for variable, name in (
        ("WANDB_DATA_DIR", "data"),
        ("WANDB_CACHE_DIR", "cache"),
        ("WANDB_ARTIFACT_DIR", "artifacts"),
    ):
        os.environ.setdefault(variable, str(folder.absolute() / name))
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")


def _has_key(settings: Any) -> bool:
    from wandb.sdk.lib.wbauth import read_netrc_auth

    return bool(settings.api_key or settings.identity_token_file or read_netrc_auth(host=settings.base_url))


def _answers(base_url: str) -> bool:
    """Say whether the server answers a query within `PROBE_SECONDS`, name look-up included."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(
            f"{base_url.rstrip('/')}/graphql",
            data=b'{"query": "{ serverInfo { cliVersionInfo } }"}',
            headers={"Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError as error:
            if error.code < 500:
                answered.set()
        except (OSError, ValueError):
            return
        else:
            answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _warn(consequence: str, error: Exception | None = None) -> None:
    cause = f" ({' '.join(str(error).split())[:200] or type(error).__name__})" if error else ""
    log.warning("W&B: %s%s", consequence, cause)
