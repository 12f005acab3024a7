"""The mirror to Weights & Biases; the local files stay the truth, and no trouble here ever fails a run.

    tracker = start(folder.path, content, "auto")       # content: what config.yaml holds
    tracker.log_epoch(line)                             # a line of log.jsonl
    tracker.finish(folder.path / "cases.csv")

Online only with a key and a server that answers within two seconds, else offline; `WANDB_MODE` is obeyed.
"""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
PROBE_SECONDS = 2.0
INIT_SECONDS = 4.0
FINISH_SECONDS = 4.0


class Tracker:
    """Tracks nothing: what a run uses when tracking is off or impossible."""

    def log_epoch(self, line: dict[str, Any]) -> None:
        """Mirror one line of the epoch log."""

    def finish(self, cases: Path) -> None:
        """Mirror the mean scores in `cases` (the run's cases.csv) and close."""


class WandbTracker(Tracker):
    """Mirrors to one W&B run."""

    def __init__(self, run: Any):
        self._run = run

    def log_epoch(self, line: dict[str, Any]) -> None:
        """Log the line's numbers under grouped names, with our own epoch as the step axis."""
        _guarded(lambda: self._run.log(flat(line)))

    def finish(self, cases: Path) -> None:
        """Write `test/<region>/<subset>/<metric>` means, and the mean over subsets, into the summary."""
        _guarded(lambda: self._run.summary.update(mean_scores(cases)))
        _guarded(self._run.finish)


def start(folder: Path, content: dict[str, Any], mode: Literal["auto", "off"]) -> Tracker:
    """Begin to mirror a run.

    Args:
        folder: the run folder; the tracker's files go to its `wandb`.
        content: of config.yaml.
        mode: `auto`, or `off` for no tracking.
    """
    wanted = os.environ.get("WANDB_MODE", "")
    if mode == "off" or wanted == "disabled":
        return Tracker()
    for name in ("DATA", "CACHE", "ARTIFACT", "CONFIG"):
        os.environ.setdefault(f"WANDB_{name}_DIR", str(folder / "wandb" / name.lower()))
    tracker = _guarded(lambda: WandbTracker(_init(folder, content, wanted)))
    return tracker or Tracker()


def _init(folder: Path, content: dict[str, Any], wanted: str) -> Any:
    import wandb

    online = wanted != "offline" and _server_answers()
    settings = wandb.Settings(
        init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS, silent=True, console="off", disable_git=True
    )
    config = content["config"]
    run = wandb.init(
        project="passion-bench",
        id=content["hash"],
        name=content["name"],
        group=content["grid"],
        job_type="run",
        tags=[config["dataset"], config["backbone"]["name"], config["objective"]["name"], config["profile"]],
        config={key: value for key, value in content.items() if key not in ("hash", "name", "grid")},
        dir=folder,
        mode="online" if online else "offline",
        resume="allow" if online else None,
        settings=settings,
    )
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")
    return run


def flat(line: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten a log line: ``{"loss": {"kl": 1}}`` becomes ``{"loss/kl": 1}``."""
    result: dict[str, float] = {}
    for key, value in line.items():
        name = f"{prefix}{key}"
        result |= flat(value, f"{name}/") if isinstance(value, dict) else {name: value}
    return result


def mean_scores(cases: Path) -> dict[str, float]:
    """Return the means over cases, and over the subsets too, from a cases.csv."""
    import pandas as pd

    rows = pd.read_csv(cases)
    means = rows.groupby(["region", "subset", "metric"], as_index=False).value.mean()
    over_subsets = means.groupby(["region", "metric"], as_index=False).value.mean().assign(subset="mean")
    scores = pd.concat([means, over_subsets])
    names = "test/" + scores.region + "/" + scores.subset + "/" + scores.metric
    return dict(zip(names, scores.value.astype(float), strict=True))


def _server_answers() -> bool:
    """Whether the user is logged in, and the server takes a connection within two seconds."""
    import wandb

    if not wandb.login(prompt=False, verify=False):
        return False
    url = urlsplit(wandb.setup().settings.base_url)
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        socket.create_connection((url.hostname or "", port), PROBE_SECONDS).close()
    except OSError:
        print(
            f"W&B server {url.hostname} does not answer: logging offline, 'wandb sync' uploads it",
            file=sys.stderr,
        )
        return False
    return True


def _guarded(action: Callable[[], T]) -> T | None:
    """Run `action`; any exception of the tracker becomes one line."""
    try:
        return action()
    except Exception as error:
        print(f"W&B: {type(error).__name__}: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        return None
